"""The engine without a model: it chooses by the text's checksum, so the same text always gets the same answer."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

from anthropic_standin.items import Item, read_item, read_pack
from anthropic_standin.question import PromptQuestion
from anthropic_standin.shapes import LabelChoice, fill_pack, fill_single, pack_property


class EchoChooser:
    """A chooser by the checksum of the item's text and the property's name; it ignores model and system prompt.

    The newest label of an earlier item takes precedence if it is one of the labels.
    """

    def __init__(self, item: Item) -> None:
        self._told = item.label
        self._sum = zlib.crc32(item.text.encode())

    def pick(self, choice: LabelChoice) -> Any:
        if (told := self._told.get(choice.name)) in choice.labels:
            return told
        return choice.labels[zlib.crc32(choice.name.encode(), self._sum) % len(choice.labels)]

    def certainty(self) -> float:
        return round(0.5 + self._sum % 1000 / 2000, 3)


class EchoEngine:
    """An engine that answers at once and in bulk, without numpy."""

    name = "echo"
    batch_step = 64

    async def answer(self, question: PromptQuestion) -> Any:
        return self._answer(question)

    def answer_many(self, questions: Sequence[PromptQuestion]) -> list[Any]:
        return [self._answer(question) for question in questions]

    def close(self) -> None:
        """Do nothing: the engine holds no resources."""

    def _answer(self, question: PromptQuestion) -> Any:
        whole = read_item(question.text)
        schema = question.schema
        if schema is None:
            return whole.first_sentence()
        pack = pack_property(schema)
        items = read_pack(question.text) if pack else []
        if pack and items:
            return fill_pack(schema, pack, whole, items, EchoChooser)
        return fill_single(schema, whole, EchoChooser(whole))
