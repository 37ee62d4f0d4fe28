"""Inputs as a sender could write them: JSON texts with well-formed and hostile fields. Shared by tests and `make fuzz`."""

import json
import random
from collections.abc import Sequence
from typing import Protocol

from hypothesis import strategies as st

from tests.fuzz.drawing import drawn
from tests.unit.strategies import ANY_TEXT

FIELDS = (
    "key",
    "consumer",
    "entity",
    "lane",
    "job",
    "urgent",
    "due_at",
    "occurred_at",
    "payload",
    "traceparent",
)
DEEP = 99  # nesting levels around which the doors start to refuse


def quoted(text: str) -> str:
    """Return the text as JSON, with NUL and lone surrogates escaped."""
    return json.dumps(text)


def _repeated(text: str, sizes: Sequence[int]) -> st.SearchStrategy[str]:
    return st.sampled_from([text * size for size in sizes])


SPECIAL = [
    "",
    " ",
    "\x00",
    "\ud800",
    "\udc00x",
    "\U0001f600",
    "e\u0301",
    "\u202e",
    "\u2028",
    "\x1b[2J",
    "\ufeff",
    "null",
    "true",
    "0",
    "'",
    '"',
    "\\",
    "\\u0000",
    "a\x00b",
    "</item>",
    "<history>",
    "=1+1",
    "@channel",
    "%s",
    "{}",
    "'; drop table lanes.item; --",
    "\r\n",
    "\t",
    "e" * 512,
]
TEXTS = (
    ANY_TEXT
    | st.sampled_from(SPECIAL)
    | _repeated("k", [511, 512, 513, 2_000])
    | _repeated("\U0001f600", [512, 513])
)
GOOD_TEXTS = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=12)
NUMBERS = (
    st.integers().map(str)
    | st.integers(-(2**70), 2**70).map(str)
    | st.floats(allow_nan=False, allow_infinity=False).map(repr)
    | st.sampled_from(
        [
            "0",
            "-0",
            "-0.0",
            "1.0",
            "1e2",
            "1E+2",
            "1e-400",
            "0.1",
            "1.10",
            "0.12345678901234567890123",
            "1e307",
            "1e308",
            "1.5e308",
            "-1e309",
            "1e400",
            "1e131072",
            "9007199254740993",
            "NaN",
            "Infinity",
            "-Infinity",
            "1" * 300,
            "1" * 309,
            "1" * 400,
            "1" * 5_000,
            "01",
            "+1",
            "1.",
            ".5",
            "0x10",
            "1_000",
        ]
    )
)
LEAVES = st.sampled_from(["null", "true", "false"]) | NUMBERS | TEXTS.map(quoted)


def listed(parts: Sequence[str]) -> str:
    """Return the JSON list of these JSON texts."""
    return f"[{','.join(parts)}]"


def mapped(pairs: Sequence[tuple[str, str]]) -> str:
    """Return the JSON object of these names and JSON values; repeated names stay repeated."""
    return "{" + ",".join(f"{quoted(name)}:{value}" for name, value in pairs) + "}"


def _around(each: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    named = st.lists(st.tuples(GOOD_TEXTS | TEXTS, each), max_size=3)
    return st.lists(each, max_size=3).map(listed) | named.map(mapped)


def _nested(levels: int, inner: str) -> str:
    return (
        '{"a":[' * (levels // 2)
        + ("[" if levels % 2 else "")
        + inner
        + ("]" if levels % 2 else "")
        + "]}" * (levels // 2)
    )


DEEPLY = st.builds(
    _nested,
    st.sampled_from([2, DEEP - 2, DEEP - 1, DEEP, DEEP + 1, DEEP + 2, 400, 1_200, 3_000]),
    NUMBERS,
)
ANYTHING = st.recursive(LEAVES, _around, max_leaves=5) | DEEPLY
LARGE = _repeated("x", [900, 1_000, 1_008, 1_009, 1_010, 1_012, 1_013, 1_024, 1_100, 5_000])
LETTERS = st.builds(lambda text: mapped([("text", quoted(text))]), GOOD_TEXTS | TEXTS | LARGE)
PAYLOADS = st.lists(st.tuples(GOOD_TEXTS | TEXTS, ANYTHING), max_size=3).map(mapped) | LETTERS
MOMENTS = st.datetimes().map(lambda moment: moment.isoformat()) | st.sampled_from(
    [
        "2026-11-24T13:00:00Z",
        "2026-11-24 13:00+02",
        "2026-11-24",
        "20261124T130000Z",
        "2026-W48-2",
        "2026-11-24T24:00:00Z",
        "2026-11-24T23:59:60Z",
        "2026-02-30",
        "2026-11-24T13:00:00.123456789Z",
        "2026-11-24T13:00:00,5Z",
        "2026-11-24t13:00:00z",
        "2026-11-24T13:00:00+15:59",
        "2026-11-24T13:00:00+16:00",
        "2026-11-24T13:00:00-23:59",
        "2026-11-24T13:00:00+0200",
        "2026-11-24T13:00:00 Europe/Berlin",
        "infinity",
        "-infinity",
        "now",
        "today",
        "tomorrow",
        "epoch",
        "allballs",
        "",
        "0001-06-01 00:00:00+00",
        "0002-01-01T00:00:00Z",
        "0002-01-01T00:00:00+01:00",
        "9998-12-31T23:59:59Z",
        "9999-01-01T00:00:00Z",
        "10000-01-01",
        "2026-11-24 BC",
        "1764579600",
        " 2026-11-24",
        "2026-11-24T13:00:00+00:53:28",
        "24.11.2026",
        "11/24/2026",
        "2026-11-24T13",
        "2026-11-24T13Z",
        "2026-11-24T13:00:00.1Z",
        "2026-11-24X13:00:00Z",
        "2026-328",
        "2026-11-24T13:00:00\u2212 01:00",
        "\u0662\u0660\u0662\u0666-11-24",
    ]
)
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TRACEPARENTS = [
    PARENT,
    PARENT.upper(),
    f"{PARENT}-more",
    f"{PARENT}\n",
    f"cc{PARENT[2:]}-more",
    f"ff{PARENT[2:]}",
    f"00-{'0' * 32}{PARENT[35:]}",
    f"{PARENT[:36]}{'0' * 16}-01",
]
ODD_TIMES = (MOMENTS | TEXTS).map(quoted) | ANYTHING
NAMES = (GOOD_TEXTS | TEXTS).map(quoted) | ANYTHING
VALUES: dict[str, st.SearchStrategy[str]] = {
    "key": NAMES | st.integers(0, 10**6).map(str),
    "consumer": NAMES,
    "entity": NAMES,
    "job": NAMES,
    "lane": st.sampled_from(
        ['"realtime"', '"batch"', '"Realtime"', '"express"', '["batch"]', '""', "null"]
    )
    | ANYTHING,
    "urgent": st.sampled_from(["true", "false", "null", '"true"', '"yes"', "1", "0", '"off"'])
    | ANYTHING,
    "due_at": ODD_TIMES,
    "occurred_at": ODD_TIMES,
    "payload": PAYLOADS | ANYTHING,
    # The doors in Python drop a trace hint that cannot be stored, whereas SQL rejects its JSON.
    "traceparent": (st.sampled_from(TRACEPARENTS) | GOOD_TEXTS).map(quoted)
    | st.sampled_from(["7", "true", "null", "[]"]),
}
GOOD_PAYLOADS = st.builds(lambda text: mapped([("text", quoted(text))]), GOOD_TEXTS)
NO_FIELDS = ["colour", "Key", "due", "workload", "place", "nameless", "\x1b[31m", "x" * 60]
UNKNOWN = st.tuples(st.sampled_from(NO_FIELDS) | TEXTS, LEAVES)


FRAGMENTS = {**VALUES, "good payload": GOOD_PAYLOADS, "anything": ANYTHING}


class Choices(Protocol):
    """The choices that make one input: drawn by Hypothesis, or random among fragments that it has drawn before."""

    def number(self, low: int, high: int) -> int: ...
    def fragment(self, of: str) -> str: ...
    def unknown(self) -> tuple[str, str]: ...


def made(by: Choices) -> str:
    """Return one input: mostly an object with a payload and one to three arbitrary fields, rarely any other JSON value."""
    kind = by.number(0, 19)
    if kind == 0:
        return by.fragment("anything")
    odd = [
        FIELDS[by.number(0, len(FIELDS) - 1)] for _ in range(by.number(1, 3))
    ]  # a name may be repeated
    pairs = [(name, by.fragment(name)) for name in odd]
    if "payload" not in odd and kind != 1:
        pairs.append(("payload", by.fragment("payload" if kind < 6 else "good payload")))
    if kind <= 3:
        pairs += [by.unknown() for _ in range(by.number(1, 7))]
    return mapped(pairs)


class Drawn:
    """Choices drawn by Hypothesis, so that a failing input shrinks."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw

    def number(self, low: int, high: int) -> int:
        return self._draw(st.integers(low, high))

    def fragment(self, of: str) -> str:
        return self._draw(FRAGMENTS[of])

    def unknown(self) -> tuple[str, str]:
        return self._draw(UNKNOWN)


class RandomMix:
    """Random choices among fragments that Hypothesis drew: a hundred times as many inputs a second."""

    def __init__(self, seed: int, chance: random.Random, *, fragments: int) -> None:
        self._random = chance
        self._drawn = {name: drawn(some, fragments, seed) for name, some in FRAGMENTS.items()}
        self._unknown = drawn(UNKNOWN, fragments, seed)

    def number(self, low: int, high: int) -> int:
        return self._random.randint(low, high)

    def fragment(self, of: str) -> str:
        return self._random.choice(self._drawn[of])

    def unknown(self) -> tuple[str, str]:
        return self._random.choice(self._unknown)


@st.composite
def inputs(draw: st.DrawFn) -> str:
    """Draw one input."""
    return made(Drawn(draw))
