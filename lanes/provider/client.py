"""One call: asked once, without the SDK's own retries, because our policy decides what is asked again."""

from typing import Any

from anthropic import AsyncAnthropic
from anthropic.types import Message

from lanes.outcome import Response
from lanes.prices import Usage
from lanes.provider.errors import TRANSPORT, failed

CALL_TIMEOUT_S = 60.0


def connect(*, api_key: str, base_url: str | None = None, timeout_s: float = CALL_TIMEOUT_S) -> AsyncAnthropic:
    """A client that never retries by itself: a repeated create would be a second paid batch."""
    return AsyncAnthropic(api_key=api_key, base_url=base_url, max_retries=0, timeout=timeout_s)


async def ask(client: AsyncAnthropic, params: dict[str, Any]) -> Response:
    """The provider's response to one Messages request.

    Raises:
        CallFailed: there was none; its `action` says what to do.
    """
    try:
        message = await client.messages.create(**params)
    except TRANSPORT as error:
        raise failed(error) from error
    return response(message)


def response(message: Message) -> Response:
    """What we keep of a message."""
    return read_response(message.model_dump(mode="json"), request_id=message._request_id)


def read_response(message: dict[str, Any], *, request_id: str | None = None) -> Response:
    """What we keep of a message's JSON."""
    used = message["usage"]
    written = used.get("cache_creation_input_tokens") or 0
    hour = (used.get("cache_creation") or {}).get("ephemeral_1h_input_tokens") or 0
    return Response(
        message_id=message["id"],
        model=message["model"],
        text="".join(block.get("text") or "" for block in message["content"] if block["type"] == "text"),
        stop_reason=message.get("stop_reason"),
        usage=Usage(
            input=used["input_tokens"],
            output=used["output_tokens"],
            cache_read=used.get("cache_read_input_tokens") or 0,
            cache_write_5m=written - hour,
            cache_write_1h=hour,
        ),
        request_id=request_id,
    )
