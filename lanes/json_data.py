"""JSON values: exact reading and writing, checks of what Postgres can store, and sizes.

The standard library's `json` defines how a text is read. orjson is several times as fast, but turns numbers beyond 64 bits
into floats and supports neither non-finite numbers nor unpaired surrogates, so `json` handles texts that may contain them.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any

import orjson

# largest depth of lists and objects that a door accepts; JSON libraries give up at about 1,000
DEEPEST = 100
LONGEST_FIELD = 512  # characters in the name of a labelled field
LARGEST_LABEL = 65_536  # bytes as JSON; the SQL function `lanes.label` has the same limit
MODEST = 1 << 63
# Absolute value: slightly below a float's maximum; `lanes.unreadable` has the same limit.
LARGEST_FLOAT = 1e308
LARGEST_INTEGER = 10**308
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # characters that Postgres does not accept in a text
PER_VALUE = 8  # approximate bytes of a number, a comma or a bracket
MOST_WEIGHED = 8 * 1024**2  # bytes that fill a chunk
OPENING = "<\uff1c\ufe64"  # brackets that may begin a fence: each may be escaped as `&lt;`
PER_BRACKET = 3  # bytes that an escaped bracket adds
# A number beyond 64 bits has at least 19 digits. Replacing each digit by 0 and searching for 19 zeros takes a twentieth of the
# time of a regular expression.
_DIGITS_TO_ZERO = bytes.maketrans(b"123456789", b"0" * 9)
_LARGE = b"0" * 19


def loads(text: str | bytes) -> Any:
    """Parse a JSON text with the same result as `json.loads`.

    Raises:
        ValueError: the text is not JSON.
        RecursionError: the text is nested too deeply.
    """
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if _LARGE not in data.translate(_DIGITS_TO_ZERO):
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError:
            pass
    return json.loads(text)


def dumps(value: Any, *, default: Callable[[Any], Any] | None = None) -> str:
    """Return the value as compact JSON; `default` converts values that have no JSON type.

    Non-finite numbers become null; the doors admit none.

    Raises:
        TypeError: a value has a type that cannot be written.
    """
    try:
        return orjson.dumps(value, default=default).decode()
    except (
        TypeError
    ):  # a number beyond 64 bits, an unpaired surrogate, a subclass of float or tuple
        return json.dumps(value, default=default, ensure_ascii=False, separators=(",", ":"))


def replace_unstorable(text: str) -> str:
    """Return the text with each character that Postgres cannot store replaced by U+FFFD."""
    return UNSTORABLE.sub("\ufffd", text)


def why_unstorable(value: Any, where: str) -> str | None:
    """Return why `value` cannot be saved as JSON, as a clause that begins with `where`, or None if it can."""
    if _is_plain(value, 0):
        return None
    if _is_too_deep(value):
        return f"{where} is nested deeper than {DEEPEST} levels; flatten it"
    return _fault(value, where, where)


def why_unfit_label(expected: Mapping[str, Any] | None) -> str | None:
    """Return why a label cannot be saved, or None if it can."""
    problem = why_unstorable(expected, "the label")
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
    """Return whether a quick test, which nearly every value passes, proves that the value can be saved."""
    kind = type(value)
    if kind is str:
        return value.isascii() and "\x00" not in value
    if kind is dict and depth < DEEPEST:
        for key, member in value.items():
            if (
                type(key) is not str
                or not key.isascii()
                or "\x00" in key
                or not _is_plain(member, depth + 1)
            ):
                return False
        return True
    if kind is list and depth < DEEPEST:
        return all(_is_plain(member, depth + 1) for member in value)
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
    """Return the first fault within `value`; a number's fault is reported for `whole`, as the database does."""
    match value:
        case str():
            return _find_text_fault(value, where)
        case None | bool():
            return None
        case float() if math.isnan(value):
            return f"{where} holds nan, which is not JSON"
        case int() | float():
            largest = LARGEST_INTEGER if isinstance(value, int) else LARGEST_FLOAT
            return f"{whole} holds a number beyond 1e308" if abs(value) > largest else None
        case dict():
            for key, member in value.items():
                if not isinstance(key, str):
                    return f"{where} holds the key {key!r}, which is no text"
                problem = _find_text_fault(key, where) or _fault(member, f"{where}.{key}", whole)
                if problem is not None:
                    return problem
        case list() | tuple():
            for index, member in enumerate(value):
                problem = _fault(member, f"{where}[{index}]", whole)
                if problem is not None:
                    return problem
        case _:
            return f"{where} is of the type {type(value).__name__}, which is not JSON"
    return None


def _find_text_fault(text: str, where: str) -> str | None:
    if "\x00" in text:
        return f"{where} holds the character NUL (\\u0000), which cannot be stored"
    try:
        text.encode()
    except UnicodeEncodeError:
        return f"{where} holds an unpaired surrogate, which is not valid Unicode"
    return None


def characters(payload: Any) -> int:
    """Return the length of the payload as JSON; the database counts the same, except for the notation of some numbers."""
    return len(json.dumps(payload, ensure_ascii=False))


def octets(payload: Any) -> int:
    """Return the payload's size as JSON, in bytes."""
    return len(json.dumps(payload, ensure_ascii=False).encode("utf-8", "surrogatepass"))


def call_bytes(payload: Mapping[str, Any]) -> int:
    """Return an upper bound of the bytes that the payload takes in the body of a call.

    The message holds the payload as indented JSON, or each field in a tag with its name, with fences escaped. The body holds
    the message as JSON, so quotes are escaped twice.
    """
    indented = json.dumps(payload, ensure_ascii=False, indent=1)
    names = sum(
        len(json.dumps(name, ensure_ascii=False).encode("utf-8", "surrogatepass"))
        for name in payload
    )
    return octets(indented) + names + PER_BRACKET * sum(map(indented.count, OPENING))


def weight(value: Any) -> int:
    """Estimate a value's size as JSON in bytes, counting one byte for each character.

    This is cheaper than serializing the value, and works for values that are not JSON or contain themselves: levels below
    `DEEPEST` are skipped, and weighing stops once the sum exceeds `MOST_WEIGHED` bytes.
    """
    size, level = 0, [value]
    for _ in range(DEEPEST):
        below: list[Any] = []
        for node in level:
            match node:
                case str():
                    size += len(node) + 2
                case dict():
                    below += node.values()
                    size += sum(map(len, map(str, node))) + PER_VALUE * len(node)
                case list() | tuple():
                    below += node
                case _:
                    size += PER_VALUE
        if not below or size > MOST_WEIGHED:
            break
        level = below
    return size


def members(value: Any) -> Iterable[tuple[str | int, Any]]:
    """Return the members of an object by name, or of a list by index; other values have none."""
    if isinstance(value, dict):
        return value.items()
    return enumerate(value) if isinstance(value, list) else ()


def walk(value: Any) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Yield the value and every value nested in it, each with its path."""
    stack: list[tuple[tuple[str | int, ...], Any]] = [((), value)]
    while stack:
        path, node = stack.pop()
        yield path, node
        stack += (((*path, step), each) for step, each in members(node))


def is_same_json(one: Any, other: Any) -> bool:
    """Return whether two values are equal as JSON: 1 equals 1.0, as in Postgres, and true does not equal 1."""
    match one, other:
        case dict(), dict():
            return one.keys() == other.keys() and all(
                is_same_json(one[key], other[key]) for key in one
            )
        case list(), list():
            return len(one) == len(other) and all(map(is_same_json, one, other))
        case bool(), _:
            return one is other
        case (int() | float(), bool()):
            return False
        case (int() | float(), int() | float()):
            return Decimal(str(one)) == Decimal(str(other))
        case _:
            return type(one) is type(other) and one == other
