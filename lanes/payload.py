"""How large a payload is: its characters estimate a cost, its bytes in a call bound one, and about its bytes bound memory."""

import json
from collections.abc import Mapping
from typing import Any

PER_VALUE = 8  # what a number, a comma or a bracket about takes
DEEPEST = 100  # levels; no door takes more
MOST_WEIGHED = 8 * 1024**2  # a chunk is full then
OPENING = "<\uff1c\ufe64"  # brackets that may begin a fence: each may be written as `&lt;`
PER_BRACKET = 3  # bytes that this adds


def characters(payload: Any) -> int:
    """Of the payload as JSON. The database counts the same of what it stores, but for how it writes some numbers."""
    return len(json.dumps(payload, ensure_ascii=False))


def octets(payload: Any) -> int:
    """The bytes of the payload as JSON."""
    return len(json.dumps(payload, ensure_ascii=False).encode("utf-8", "surrogatepass"))


def call_bytes(payload: Mapping[str, Any]) -> int:
    """Return the most bytes that the payload can take in the body of a call.

    The message holds it indented, or each field in a tag of its name, with fences escaped; the body holds the message as JSON,
    so quotes within are escaped twice.
    """
    indented = json.dumps(payload, ensure_ascii=False, indent=1)
    names = sum(
        len(json.dumps(name, ensure_ascii=False).encode("utf-8", "surrogatepass"))
        for name in payload
    )
    return octets(indented) + names + PER_BRACKET * sum(map(indented.count, OPENING))


def weight(value: Any) -> int:
    """About how many bytes a value takes as JSON; right for its texts but for what they need more than a byte for.

    Cheaper than writing it, and defined for any value, also for one that is no JSON or contains itself: nothing below
    `DEEPEST` levels is weighed, nor a level below `MOST_WEIGHED` bytes.
    """
    held, level = 0, [value]
    for _ in range(DEEPEST):
        below: list[Any] = []
        for each in level:
            match each:
                case str():
                    held += len(each) + 2
                case dict():
                    below += each.values()
                    held += sum(map(len, map(str, each))) + PER_VALUE * len(each)
                case list() | tuple():
                    below += each
                case _:
                    held += PER_VALUE
        if not below or held > MOST_WEIGHED:
            break
        level = below
    return held
