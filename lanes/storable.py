"""What Postgres' jsonb can hold: asked of every input, label, definition and answer before it is saved."""

import math
import re
from collections.abc import Mapping
from typing import Any

LONGEST_FIELD = 512  # characters of the name of a labelled field
DEEPEST = 100  # levels of lists and objects; JSON libraries give up at about 1,000
MODEST = 1 << 63
LONGEST_INTEGER_BITS = 13_000  # about 3,900 digits; Python writes no more than 4,300
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # what Postgres does not take as text


def storable(said: str) -> str:
    """The text with a mark in place of each character that cannot be stored."""
    return UNSTORABLE.sub("\ufffd", said)


def unstorable(value: Any, where: str) -> str | None:
    """Why `value` cannot be saved as JSON, a clause that begins with the place; None when it can."""
    return None if _is_plain(value, 0) else _fault(value, where)


def unfit_label(expected: Mapping[str, Any] | None) -> str | None:
    """Return why a label cannot be saved, None when it can."""
    problem = unstorable(expected, "the label")
    if problem is not None or expected is None:
        return problem
    long = next((field for field in expected if not 1 <= len(field) <= LONGEST_FIELD), None)
    if long is None:
        return None
    return f"the label names a field with {len(long):,} characters; a field's name has 1 to {LONGEST_FIELD}"


def _is_plain(value: Any, depth: int) -> bool:
    """Whether it can be saved for certain, as nearly every value can: told at once, without a name for each place."""
    kind = type(value)
    if kind is str:
        return value.isascii() and "\x00" not in value
    if kind is dict and depth < DEEPEST:
        for key, each in value.items():
            if type(key) is not str or not key.isascii() or "\x00" in key or not _is_plain(each, depth + 1):
                return False
        return True
    if kind is list and depth < DEEPEST:
        return all(_is_plain(each, depth + 1) for each in value)
    if kind is int:
        return -MODEST < value < MODEST
    return value is None or kind is bool or (kind is float and math.isfinite(value))


def _fault(value: Any, where: str, *, depth: int = 0) -> str | None:
    match value:
        case str():
            return _broken_text(value, where)
        case None | bool():
            return None
        case int():
            return f"{where} holds a number of too many digits" if value.bit_length() > LONGEST_INTEGER_BITS else None
        case float():
            return None if math.isfinite(value) else f"{where} holds {value}, which is not JSON"
        case dict() | list() | tuple() if depth >= DEEPEST:
            return f"{where[:60]}... is nested deeper than {DEEPEST} levels; flatten it"
        case dict():
            for key, each in value.items():
                if not isinstance(key, str):
                    return f"{where} holds the key {key!r}, which is no text"
                problem = _broken_text(key, where) or _fault(each, f"{where}.{key}", depth=depth + 1)
                if problem is not None:
                    return problem
        case list() | tuple():
            for index, each in enumerate(value):
                problem = _fault(each, f"{where}[{index}]", depth=depth + 1)
                if problem is not None:
                    return problem
        case _:
            return f"{where} is of the type {type(value).__name__}, which is not JSON"
    return None


def _broken_text(text: str, where: str) -> str | None:
    if "\x00" in text:
        return f"{where} holds the character NUL (\\u0000), which cannot be stored"
    try:
        text.encode()
    except UnicodeEncodeError:
        return f"{where} holds an unpaired surrogate, which is not valid Unicode"
    return None
