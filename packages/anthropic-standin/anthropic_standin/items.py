"""The items inside a user message: one, or a pack of `<item id="...">` blocks, each with its own history."""

from __future__ import annotations

import html
import json
import re
from dataclasses import dataclass, field

_ITEM = re.compile(r'<item id="([^"]*)">\n?(.*?)\n?</item>', re.DOTALL)
_CONTEXT = re.compile(r"<(history|item-before|item-reference)(?: [^>]*)?>(.*?)</\1>", re.DOTALL)
_LABEL = re.compile(r"<history-label>(.*?)</history-label>", re.DOTALL)
_WITHIN = re.compile(r"<(history-\w+)>.*?</\1>", re.DOTALL)
_FIELD = re.compile(
    r"^<(?P<name>[A-Za-z_][\w-]*)>(?P<value>.*?)</(?P=name)>$", re.DOTALL | re.MULTILINE
)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s|\n")
SENTENCE_CHARACTERS = 160


@dataclass(frozen=True, slots=True)
class Item:
    """An item to be classified: `text` without its context, and the earlier items of the history, oldest first.

    `label` is the newest label of an earlier item.
    """

    text: str
    history: tuple[str, ...] = ()
    id: str | None = None
    label: dict[str, object] = field(default_factory=dict[str, object])

    def first_sentence(self) -> str:
        """Return the first sentence of the text, at most 160 characters."""
        return _SENTENCE_END.split(self.text.strip(), maxsplit=1)[0][:SENTENCE_CHARACTERS]


def read_item(text: str, id: str | None = None) -> Item:
    """Return the item in a text, separated from its context: `<history>` blocks, earlier revisions and reference rows."""
    parts = _CONTEXT.findall(text)
    if not parts:
        return Item(_said(text), id=id)
    history = tuple(_said(_WITHIN.sub("", part)) for tag, part in parts if tag == "history")
    labels = [json.loads(html.unescape(said)) for said in _LABEL.findall(text)]
    return Item(_said(_CONTEXT.sub("", text)), history, id, labels[-1] if labels else {})


def _said(text: str) -> str:
    """Return the longest of the text's tagged fields, or the text itself if it has no tags."""
    fields = [match["value"] for match in _FIELD.finditer(text)]
    return max(fields, key=len).strip() if fields else text.strip()


def read_pack(text: str) -> list[Item]:
    """Return the items of a packed message in order; empty if it contains no item blocks."""
    if "<item id=" not in text:
        return []
    return [read_item(body, html.unescape(id)) for id, body in _ITEM.findall(text)]
