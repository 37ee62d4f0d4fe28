"""Validation of the provider's messages, at one boundary: all other code trusts the types and sizes of a `Response`."""

from typing import Any

from lanes.settling.outcome import Response
from lanes.text import plain
from lanes.workload.prices import Usage

# Of one answer or one line of results: more than the longest answer of any model.
MOST_BYTES = 8 * 1024 * 1024
# Of one kind in one message: a hundred times the longest prompt that a model accepts.
MOST_TOKENS = 100_000_000
LONGEST_NAME = 256  # characters of the id of a message or a batch, and of a model
USUAL = ("standard", "batch", "not_available")  # values of service_tier, inference_geo and speed
LONGEST_SAID = 500  # stored characters of an error's text


class UnreadableBill(ValueError):
    """A message without a readable usage, which gives its cost, or without a readable id, by which it is recorded."""


def read_response(message: Any, *, request_id: str | None = None, call: str = "") -> Response:
    """Return the response in a message's JSON; `call` names the call, or the request of a batch, that the message answers.

    Every message with a readable id and usage is a response, because it is billed. If its answer cannot be read, `fault` gives
    the reason.

    Raises:
        UnreadableBill: the message is not an object, or its id or usage is missing or invalid.
    """
    if not isinstance(message, dict):
        raise UnreadableBill(f"the message is {_kind(message)}")
    message_id = readable_name(message.get("id"))
    if message_id is None:
        raise UnreadableBill(
            f"the message's id is {_kind(message.get('id'))}, and no name of 1 to {LONGEST_NAME} characters"
        )
    usage = _usage(message.get("usage"))
    text, fault = _answer(message)
    stop_reason = message.get("stop_reason")
    return Response(
        message_id=message_id,
        model=readable_name(message.get("model")),
        text=text,
        stop_reason=stop_reason if isinstance(stop_reason, str) else None,
        usage=usage,
        request_id=readable_name(request_id),
        fault=fault,
        call=call,
        tier=_unusual(message["usage"].get("service_tier")),
        geo=_unusual(message["usage"].get("inference_geo")),
        speed=_unusual(message["usage"].get("speed")),
    )


def readable_name(value: Any) -> str | None:
    """Return the value if it is a valid provider name, one line of up to `LONGEST_NAME` printable characters, else None."""
    if isinstance(value, str) and 1 <= len(value) <= LONGEST_NAME and value.isprintable():
        return value
    return None


def _unusual(value: Any) -> str | None:
    """Return the value of a serving detail (tier, geo or speed), None if it is a usual or unreadable one."""
    name = readable_name(value)
    return None if name in USUAL else name


def quote_text(value: Any) -> str:
    """Return a text of the provider as one line that is safe to store, log and show."""
    return plain(value, most=LONGEST_SAID) if isinstance(value, str) else _kind(value)


def _usage(usage: Any) -> Usage:
    if not isinstance(usage, dict):
        raise UnreadableBill(f"the message's usage is {_kind(usage)}")
    written, detail = _tokens(usage, "cache_creation_input_tokens"), usage.get("cache_creation")
    if not isinstance(detail, dict | None):
        raise UnreadableBill(f"usage.cache_creation is {_kind(detail)}")
    hour = _tokens(detail or {}, "ephemeral_1h_input_tokens")
    if hour > written:
        raise UnreadableBill(
            f"usage names {hour:,} tokens cached for an hour, and {written:,} cached in all"
        )
    return Usage(
        input=_tokens(usage, "input_tokens", required=True),
        output=_tokens(usage, "output_tokens", required=True),
        cache_read=_tokens(usage, "cache_read_input_tokens"),
        cache_write_5m=written - hour,
        cache_write_1h=hour,
    )


def _tokens(usage: dict[str, Any], name: str, *, required: bool = False) -> int:
    """Return a count of tokens; a missing or null count is 0 unless `required`, as the API documents."""
    value = usage.get(name)
    if value is None and not required:
        return 0
    if type(value) is not int or not 0 <= value <= MOST_TOKENS:
        shown = f"{value:,}" if type(value) is int and abs(value) < 10**18 else _kind(value)
        raise UnreadableBill(
            f"usage.{name} is {shown}, and no whole number from 0 to {MOST_TOKENS:,}"
        )
    return value


def _answer(message: dict[str, Any]) -> tuple[str, str | None]:
    """Return the message's text, and the reason if its answer cannot be read."""
    kind = message.get("type", "message")
    stop_reason = message.get("stop_reason")
    content = message.get("content")
    if kind != "message":
        return "", f"the answer is no message: its type is {_kind(kind)}"
    if not isinstance(stop_reason, str | None):
        return "", f"the answer's stop_reason is {_kind(stop_reason)}"
    if not isinstance(content, list):
        return "", f"the answer's content is {_kind(content)}"
    texts: list[str] = []
    for block in content:
        kind = block.get("type") if isinstance(block, dict) else block
        if not isinstance(block, dict) or not isinstance(kind, str):
            return "", f"the answer holds a block whose type is {_kind(kind)}"
        if kind == "text":
            text = block.get("text")
            if not isinstance(text, str):
                return "", f"the answer holds a text that is {_kind(text)}"
            texts.append(text)
    return "".join(texts), None


def _kind(value: Any) -> str:
    """Return a description of the value's type; the value itself is not quoted, because the provider may send anything."""
    match value:
        case None:
            return "missing or null"
        case bool():
            return "true or false"
        case str():
            return f"a text of {len(value):,} characters"
        case int():
            return "a whole number"
        case float():
            return "a number with decimals"
        case list():
            return "a list"
        case dict():
            return "an object"
        case _:
            return f"of the type {type(value).__name__}"
