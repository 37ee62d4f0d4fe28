"""Fences in a prompt: where an item, or an earlier one of its history, begins and ends. No input closes its own or opens
another."""

import re

ITEM, HISTORY = "item", "history"
ALIKE = {"i": "i\u0131\u0130", "s": "s\u017f"}  # the Turkish i and the long s fold to them
WIDE = 0xFEE0  # from a letter to its full-width form
BRACKET = "<\uff1c\ufe64"  # also full-width and small
BETWEEN = f"(?:[^\\w{BRACKET}]|_)*"  # what is neither letter nor digit


def _spelled(word: str) -> str:
    """A pattern of the word in any case and width, whatever that is no letter stands within it."""
    letters = (f"[{ALIKE.get(letter, letter)}{chr(ord(letter) + WIDE)}]" for letter in word)
    return BETWEEN.join(letters)


# A bracket and, behind anything but letters and digits, a fence's name. No two parts of it can match the same character,
# so that it takes linear time whatever an input holds.
FENCE = re.compile(f"[{BRACKET}](?={BETWEEN}(?:{_spelled(ITEM)}|{_spelled(HISTORY)}))", re.IGNORECASE)


def escaped(text: str) -> str:
    """The text without anything that could be taken for a fence."""
    return FENCE.sub("&lt;", text)


def item(id: str, content: str) -> str:
    """An item of a pack; its content is escaped, but for fences of ours within."""
    return f'<{ITEM} id="{id}">\n{content}\n</{ITEM}>'


def history(content: str) -> str:
    """An earlier payload, escaped."""
    return f"<{HISTORY}>\n{content}\n</{HISTORY}>\n"
