"""Broken answers of the provider: each kind of malformed message by name, and Hypothesis strategies that draw them.

A `FieldKind` spoils one field of a message, in a line of results or in the answer to a real-time call. `is_billed` says whether
the cost can still be read: if so, it is in the ledger; otherwise the attempts are `unknown` with a bound.
"""

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from lanes.provider.message import MOST_TOKENS
from tests.unit.strategies import any_json

MODEL = "claude-haiku-5-5"
USAGE = {
    "input_tokens": 50,
    "output_tokens": 20,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 0,
    "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
}
GONE = object()  # the field is absent
DEEP = "@deep@"  # stands for 100,000 nested lists, which no JSON writer produces
DEPTH = 100_000

VALUES: Mapping[str, Any] = {
    "missing": GONE,
    "null": None,
    "true": True,
    "negative": -1,
    "-2^31": -(2**31),
    "2^31": 2**31,
    "2^31-1": 2**31 - 1,
    "2^63": 2**63,
    "400 digits": 10**400,
    "1.5": 1.5,
    "5.0": 5.0,
    "1e308": 1e308,
    "NaN": float("nan"),
    "Infinity": float("inf"),
    "empty text": "",
    "digits": "5",
    "text": "x",
    "NUL": "a\x00b",
    "half a surrogate pair": "a\ud800b",
    "control characters": "\x1b[31mred\r\n\x07",
    "long text": "x" * 100_000,
    "list": [1],
    "empty list": [],
    "object": {"a": 1},
    "deep": DEEP,
}
NUMBERS = tuple(VALUES)
NO_TEXTS = tuple(
    name for name, value in VALUES.items() if not isinstance(value, str) or value == DEEP
)
ODD_NAMES = (
    *NO_TEXTS,
    "empty text",
    "NUL",
    "half a surrogate pair",
    "control characters",
    "long text",
)
COUNTS = tuple(
    name for name in NUMBERS if name not in ("missing", "null")
)  # both are documented for the counts of cached tokens

Path = tuple[str | int, ...]
FIELDS: Mapping[
    str, tuple[Path, tuple[str, ...], bool]
] = {  # its path, its wrong values, and whether the cost can be read
    "usage": (("usage",), (*NO_TEXTS, "text"), False),
    "input_tokens": (("usage", "input_tokens"), NUMBERS, False),
    "output_tokens": (("usage", "output_tokens"), NUMBERS, False),
    "cache_creation_input_tokens": (("usage", "cache_creation_input_tokens"), COUNTS, False),
    "cache_read_input_tokens": (("usage", "cache_read_input_tokens"), COUNTS, False),
    "cache_creation": (
        ("usage", "cache_creation"),
        (*(n for n in COUNTS if n != "object"), "text"),
        False,
    ),
    "ephemeral_1h_input_tokens": (
        ("usage", "cache_creation", "ephemeral_1h_input_tokens"),
        COUNTS,
        False,
    ),
    "id": (("id",), ODD_NAMES, False),
    "model": (("model",), (*ODD_NAMES, "text"), True),
    "type": (("type",), tuple(n for n in VALUES if n != "missing"), True),
    "content": (("content",), tuple(n for n in VALUES if n != "empty list"), True),
    "block": (("content", 0), tuple(n for n in VALUES if n != "missing"), True),
    "block type": (("content", 0, "type"), NO_TEXTS, True),
    "text": (("content", 0, "text"), NO_TEXTS, True),
    "stop_reason": (
        ("stop_reason",),
        tuple(n for n in NO_TEXTS if n not in ("missing", "null")),
        True,
    ),
}
RIGHT_ANSWER = ("model",)  # fields whose fault does not change the answer


@dataclass(frozen=True)
class FieldKind:
    """One field of a message with a wrong value."""

    field: str
    value: str

    @property
    def name(self) -> str:
        """Return the name of the kind in test ids."""
        return f"{self.field}: {self.value}"

    @property
    def is_billed(self) -> bool:
        """Return whether the cost of the message can be read; a message that no JSON reader accepts has no readable cost."""
        return FIELDS[self.field][2] and self.value != "deep"

    @property
    def is_answered(self) -> bool:
        """Return whether the answer is valid despite the fault."""
        return self.is_billed and self.field in RIGHT_ANSWER

    def spoil(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Return a copy of the message with this field spoiled."""
        spoiled = copy.deepcopy(dict(message))
        spoiled["usage"] = copy.deepcopy(USAGE) | spoiled.get("usage", {})
        if self.field == "ephemeral_1h_input_tokens" and not isinstance(
            spoiled["usage"].get("cache_creation"), dict
        ):
            spoiled["usage"]["cache_creation"] = {}
        *path, last = FIELDS[self.field][0]
        place: Any = spoiled
        for step in path:
            place = place[step]
        value = VALUES[self.value]
        if value is GONE:
            place.pop(last, None)
        else:
            place[last] = value
        return spoiled


KINDS = {
    kind.name: kind
    for kind in (
        FieldKind(field, value) for field, (_, values, _) in FIELDS.items() for value in values
    )
}


def message(
    message_id: str = "msg_1", text: str = '{"category": "a"}', **more: Any
) -> dict[str, Any]:
    """Return a message as the provider sends it."""
    return {
        "id": message_id,
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": copy.deepcopy(USAGE),
        **more,
    }


def succeeded(custom_id: str, said: Any) -> dict[str, Any]:
    """Return the line of a request that was answered with this message."""
    return {"custom_id": custom_id, "result": {"type": "succeeded", "message": said}}


def written(said: Any) -> bytes:
    """Return a message or a line as JSON, without a line ending."""
    return json.dumps(said).encode().replace(json.dumps(DEEP).encode(), b"[" * DEPTH + b"]" * DEPTH)


def spoiled_line(line: Mapping[str, Any], kind: FieldKind) -> bytes:
    """Return the line of an answered request with its message spoiled."""
    return written(succeeded(line["custom_id"], kind.spoil(line["result"]["message"])))


# -- strategies for Hypothesis

VIEW_FIELDS = (
    "created_at",
    "expires_at",
    "ended_at",
    "archived_at",
    "cancel_initiated_at",
    "request_counts",
    "type",
)

odd_values = st.sampled_from([value for value in VALUES.values() if value is not GONE]) | any_json()
kinds = st.sampled_from([*KINDS.values()])
counts = st.integers(0, 2_000) | st.sampled_from([0, MOST_TOKENS, MOST_TOKENS + 1, -1])


@st.composite
def usages(draw: st.DrawFn) -> Any:
    """Draw usage that is right, slightly wrong, or arbitrary."""
    used: dict[str, Any] = {
        name: draw(counts) for name in ("input_tokens", "output_tokens") if draw(st.integers(0, 9))
    }
    for name in ("cache_creation_input_tokens", "cache_read_input_tokens"):
        if draw(st.booleans()):
            used[name] = draw(st.none() | counts)
    if draw(st.booleans()):
        used["cache_creation"] = draw(
            st.none()
            | st.fixed_dictionaries({}, optional={"ephemeral_1h_input_tokens": st.none() | counts})
        )
    return draw(st.just(used) | st.just(used) | odd_values)


@st.composite
def messages(draw: st.DrawFn, names: st.SearchStrategy[str] = st.just("msg_1")) -> Any:  # noqa: B008
    """Draw a message: right, with odd fields, of a known kind, or no message at all."""
    said = message(
        draw(names),
        draw(st.sampled_from(['{"category": "a"}', '{"category": "z"}', "", "null", "{"])),
    )
    match draw(st.integers(0, 9)):
        case 0 | 1:
            return said
        case 2 | 3 | 4:
            return draw(kinds).spoil(said)
        case 5 | 6:
            return said | {"usage": draw(usages())}
        case 7 | 8:
            odd = draw(
                st.dictionaries(
                    st.sampled_from([*said, "extra"]), odd_values, min_size=1, max_size=3
                )
            )
            return said | odd
        case _:
            return draw(odd_values)


@st.composite
def lines(
    draw: st.DrawFn,
    custom_id: str,
    names: st.SearchStrategy[str] = st.just("msg_1"),  # noqa: B008
) -> bytes:
    """Draw a line of the results for a request: mostly with a message, otherwise with another kind of result."""
    said = draw(messages(names))
    result: Any = {"type": "succeeded", "message": said}
    match draw(st.integers(0, 11)):
        case 0:
            result = {"type": "errored", "error": draw(odd_values)}
        case 1:
            result = {
                "type": "errored",
                "error": {"type": "error", "error": {"type": draw(odd_values), "message": "no"}},
            }
        case 2:
            result = {"type": draw(st.sampled_from(["canceled", "expired"]))}
        case 3:
            result |= {"type": draw(odd_values)}
        case 4:
            result = draw(odd_values)
        case _:
            pass
    line = written({"custom_id": custom_id, "result": result})
    return line[: draw(st.integers(0, len(line)))] if draw(st.integers(0, 19)) == 0 else line


@st.composite
def views(
    draw: st.DrawFn, view: Mapping[str, Any], fields: tuple[str, ...] = VIEW_FIELDS
) -> dict[str, Any]:
    """Draw the view of a batch with any of these fields odd: times, and the counts of its requests."""
    odd_times = st.sampled_from(
        ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59Z", "2026-11-24T12:00:00", "noon"]
    )
    said = dict(view)
    for name in draw(st.sets(st.sampled_from(fields))):
        said[name] = draw(odd_values | odd_times)
    if draw(st.booleans()) and isinstance(said.get("request_counts"), dict):
        names = [*said["request_counts"]]
        odd = draw(st.dictionaries(st.sampled_from(names), odd_values | counts)) if names else {}
        said["request_counts"] = said["request_counts"] | odd
    return said
