"""The engine without a model: the text's own checksum chooses, so the same text always gets the same answer."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

from anthropic_standin.items import Item, read_item, read_pack
from anthropic_standin.question import PromptQuestion
from anthropic_standin.shapes import LabelChoice, fill_pack, fill_single, pack_property


class EchoChooser:
    """Chooses by checksum of the item's text and the property's name; model, system prompt and history play no part.

    A label of an earlier item is followed where it is one of the labels.
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
    """Answers at once and in bulk, without numpy."""

    name = "echo"
    batch_step = 64

    async def answer(self, question: PromptQuestion) -> Any:
        return self._answer(question)

    def answer_many(self, questions: Sequence[PromptQuestion]) -> list[Any]:
        return [self._answer(question) for question in questions]

    def close(self) -> None:
        """Nothing to let go of."""

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
