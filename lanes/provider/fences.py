"""Fences in a prompt: where an item, a part of its context, or a field begins and ends.

No input closes its own fence or opens another.
"""

import re
from collections.abc import Callable, Iterable
from functools import lru_cache

ITEM, HISTORY = "item", "history"  # every tag of ours begins with one of them
ALIKE = {"i": "i\u0131\u0130", "s": "s\u017f"}  # the Turkish i and the long s fold to them
WIDE = 0xFEE0  # from a letter to its full-width form
BRACKET = "<\uff1c\ufe64"  # also full-width and small
ANY_BRACKET = re.compile(f"[{BRACKET}]")
MOST_FIELDS = 32  # of whose names a bracket is compared with each; beyond, every bracket is escaped
ENTITY = "&lt;"
BETWEEN = f"(?:[^\\w{BRACKET}]|_)*"  # what is neither letter nor digit


def _spelled(word: str) -> str:
    """Return a pattern of the word in any case and width, with anything but letters in between."""
    letters = (
        f"[{ALIKE.get(letter, letter)}{chr(ord(letter) + WIDE)}]"
        for letter in word.lower()
        if letter.isalnum()
    )
    return BETWEEN.join(letters)


# A bracket and, behind anything but letters and digits, a fence's name. No two parts of it can match the same character,
# so that it takes linear time whatever an input holds.
FENCE = re.compile(
    f"[{BRACKET}](?={BETWEEN}(?:{_spelled(ITEM)}|{_spelled(HISTORY)}))", re.IGNORECASE
)


def escaped(text: str) -> str:
    """Return the text without anything that could be taken for the fence of an item or a part of its context."""
    return FENCE.sub(ENTITY, text) if _has_bracket(text) else text


def fields(values: Iterable[tuple[str, str]]) -> str:
    """Return texts, each in a tag of its name; no text holds what could be taken for one of these tags."""
    named = list(values)
    escape = _of_fields(tuple(name for name, _ in named))
    return "\n".join(f"<{name}>{escape(value)}</{name}>" for name, value in named)


@lru_cache(maxsize=256)
def _of_fields(names: tuple[str, ...]) -> Callable[[str], str]:
    """Return what escapes the tags of these fields in a text."""
    fence = ANY_BRACKET
    if len(names) <= MOST_FIELDS and sum(map(len, names)) <= MOST_FIELDS * MOST_FIELDS:
        words = "|".join(map(_spelled, names))
        fence = re.compile(f"[{BRACKET}](?={BETWEEN}(?:{words})(?![^\\W_]))", re.IGNORECASE)
    return lambda text: fence.sub(ENTITY, text) if _has_bracket(text) else text


def _has_bracket(text: str) -> bool:
    """Return whether a bracket stands in the text; a quick look, because most have none."""
    return "<" in text or "\uff1c" in text or "\ufe64" in text


def item(id: str, content: str) -> str:
    """Return an item of a pack; its content must be escaped, except for our own fences."""
    return f'<{ITEM} id="{id}">\n{content}\n</{ITEM}>'


def part(tag: str, content: str, name: str = "") -> str:
    """Return a part of an item's context, whose content must be escaped."""
    named = f' name="{name}"' if name else ""
    return f"<{tag}{named}>\n{content}\n</{tag}>\n"
