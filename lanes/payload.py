"""How large a payload is: its characters, by which costs are estimated, and about its bytes, which bound what is held."""

import json
from typing import Any

PER_VALUE = 8  # what a number, a comma or a bracket about takes


def characters(payload: Any) -> int:
    """Of the payload as JSON. The database counts the same of what it stores, but for how it writes some numbers."""
    return len(json.dumps(payload, ensure_ascii=False))


def octets(payload: Any) -> int:
    """The bytes of the payload as JSON."""
    return len(json.dumps(payload, ensure_ascii=False).encode("utf-8", "surrogatepass"))


def weight(value: Any) -> int:
    """About how many bytes a value takes as JSON; right for its texts but for what they need more than a byte for.

    Cheaper than writing it, and told of anything, also of what is no JSON.
    """
    held, waiting = 0, [value]
    while waiting:
        match each := waiting.pop():
            case str():
                held += len(each) + 2
            case dict():
                waiting += each.values()
                held += sum(map(len, map(str, each))) + PER_VALUE * len(each)
            case list() | tuple():
                waiting += each
            case _:
                held += PER_VALUE
    return held
