"""What Postgres' jsonb can hold: asked of every input, label, definition and answer before it is saved."""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

LONGEST_FIELD = 512  # characters of the name of a labelled field
LARGEST_LABEL = 65_536  # bytes as JSON, as `lanes.label` has it
DEEPEST = 100  # levels of lists and objects; JSON libraries give up at about 1,000
MODEST = 1 << 63
LARGEST_FLOAT = 1e308  # of either sign: a little below what a float holds; `lanes.unreadable` has the same limit
LARGEST_INTEGER = 10**308
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # what Postgres does not take as text


def storable(said: str) -> str:
    """The text with a mark in place of each character that cannot be stored."""
    return UNSTORABLE.sub("\ufffd", said)


def unstorable(value: Any, where: str) -> str | None:
    """Why `value` cannot be saved as JSON, a clause that begins with the place; None when it can."""
    if _is_plain(value, 0):
        return None
    if _is_too_deep(value):
        return f"{where} is nested deeper than {DEEPEST} levels; flatten it"
    return _fault(value, where, where)


def unfit_label(expected: Mapping[str, Any] | None) -> str | None:
    """Return why a label cannot be saved, None when it can."""
    problem = unstorable(expected, "the label")
    if problem is not None or expected is None:
        return problem
    size = len(json.dumps(expected, ensure_ascii=False).encode())
    if size > LARGEST_LABEL:
        return f"the label has {size:,} bytes; a label has up to {LARGEST_LABEL:,}"
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
            if (
                type(key) is not str
                or not key.isascii()
                or "\x00" in key
                or not _is_plain(each, depth + 1)
            ):
                return False
        return True
    if kind is list and depth < DEEPEST:
        return all(_is_plain(each, depth + 1) for each in value)
    if kind is int:
        return -MODEST < value < MODEST
    return value is None or kind is bool or (kind is float and abs(value) <= LARGEST_FLOAT)


def _is_too_deep(value: Any, depth: int = 0) -> bool:
    match value:
        case dict():
            return depth >= DEEPEST or any(_is_too_deep(each, depth + 1) for each in value.values())
        case list() | tuple():
            return depth >= DEEPEST or any(_is_too_deep(each, depth + 1) for each in value)
        case _:
            return False


def _fault(value: Any, where: str, whole: str) -> str | None:
    """Return the first fault of a part: of a number as the database says it, which knows only the `whole`."""
    match value:
        case str():
            return _broken_text(value, where)
        case None | bool():
            return None
        case float() if math.isnan(value):
            return f"{where} holds nan, which is not JSON"
        case int() | float():
            largest = LARGEST_INTEGER if isinstance(value, int) else LARGEST_FLOAT
            return f"{whole} holds a number beyond 1e308" if abs(value) > largest else None
        case dict():
            for key, each in value.items():
                if not isinstance(key, str):
                    return f"{where} holds the key {key!r}, which is no text"
                problem = _broken_text(key, where) or _fault(each, f"{where}.{key}", whole)
                if problem is not None:
                    return problem
        case list() | tuple():
            for index, each in enumerate(value):
                problem = _fault(each, f"{where}[{index}]", whole)
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
