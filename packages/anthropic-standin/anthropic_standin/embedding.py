"""The engine that chooses by meaning: it picks the label whose words (and examples) are nearest to the item.

The model decides what counts: haiku uses the labels' names; sonnet also their descriptions; opus also examples and history.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from anthropic_standin.catalogue import Tier
from anthropic_standin.items import Item, read_item, read_pack
from anthropic_standin.prompts import Prompt, read_prompt
from anthropic_standin.question import PromptQuestion
from anthropic_standin.shapes import LabelChoice, fill_pack, fill_single, pack_property
from anthropic_standin.vectors import Vector, Vectors

HISTORY_WEIGHT = 0.3
TEMPERATURE = 0.02
PLANS_KEPT = 256


@dataclass(slots=True)
class AnswerPlan:
    """The plan for a tier, a system prompt and a schema: its choices, the texts of each label, and their computed vectors."""

    tier: Tier
    schema: dict[str, Any] | None
    pack: str | None
    label_texts: dict[LabelChoice, list[list[str]]] = field(default_factory=dict)
    label_vectors: dict[LabelChoice, Vector] = field(default_factory=dict)

    def missing_texts(self) -> list[str]:
        """Return the label texts that must be embedded before this plan can choose."""
        if len(self.label_vectors) == len(self.label_texts):
            return []
        return [text for labels in self.label_texts.values() for texts in labels for text in texts]

    def learn(self, vectors: dict[str, Vector]) -> None:
        """Store one unit vector per label: the mean of its texts."""
        if len(self.label_vectors) == len(self.label_texts):
            return
        for choice, labels in self.label_texts.items():
            rows = [
                np.mean([vectors[text].astype(np.float32) for text in texts], axis=0)
                for texts in labels
            ]
            self.label_vectors[choice] = np.stack([row / np.linalg.norm(row) for row in rows])


@dataclass(slots=True)
class _Collector:
    """A chooser that records every choice of a schema."""

    choices: dict[LabelChoice, None] = field(default_factory=dict)

    def pick(self, choice: LabelChoice) -> Any:
        self.choices[choice] = None
        return choice.labels[0]

    def certainty(self) -> float:
        return 0.5


class _Nearest:
    """A chooser for one item by cosine similarity."""

    def __init__(self, plan: AnswerPlan, vector: Vector) -> None:
        self._plan, self._vector = plan, vector
        self._first: Vector | None = None

    def pick(self, choice: LabelChoice) -> Any:
        scores = self._plan.label_vectors[choice] @ self._vector
        self._first = scores if self._first is None else self._first
        return choice.labels[int(np.argmax(scores))]

    def certainty(self) -> float:
        if self._first is None:
            return 0.5
        weights = np.exp((self._first - self._first.max()) / TEMPERATURE)
        return round(float(1 / weights.sum()), 3)


class EmbeddingEngine:
    """An engine that chooses labels by embedding; `embed` returns a text's vector and must be thread-safe."""

    batch_step = 16

    def __init__(
        self, name: str, embed: Callable[[str], Vector], *, home: Path | None = None
    ) -> None:
        self.name = name
        self._vectors = Vectors(embed, file=None if home is None else home / f"vectors-{name}.npz")
        self._plans: OrderedDict[tuple[Any, ...], AnswerPlan] = OrderedDict()

    async def answer(self, question: PromptQuestion) -> Any:
        work = _Work(self._plan(question), question)
        ready, promised = self._vectors.request(work.texts(), urgent=True)
        if promised:
            found = await asyncio.gather(
                *(asyncio.wrap_future(promise) for promise in promised.values())
            )
            ready.update(zip(promised, found, strict=True))
        return work.answer(ready)

    def answer_many(self, questions: Sequence[PromptQuestion]) -> list[Any]:
        works = [_Work(self._plan(question), question) for question in questions]
        texts = [text for work in works for text in work.texts()]
        ready, promised = self._vectors.request(texts, urgent=False)
        ready.update({text: promise.result() for text, promise in promised.items()})
        return [work.answer(ready) for work in works]

    def close(self) -> None:
        self._vectors.close()

    def _plan(self, question: PromptQuestion) -> AnswerPlan:
        schema = question.schema
        packed = "<item id=" in question.text
        tier = question.model.tier
        key = (tier, packed, question.system, orjson.dumps(schema, option=orjson.OPT_SORT_KEYS))
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = make_plan(tier, schema, question.system, packed=packed)
            while len(self._plans) > PLANS_KEPT:
                self._plans.popitem(last=False)
        return plan


class _Work:
    """A question in progress: first the texts that it needs, then its answer."""

    def __init__(self, plan: AnswerPlan, question: PromptQuestion) -> None:
        self._plan = plan
        self._whole = read_item(question.text)
        self._pack = read_pack(question.text) if plan.pack else []
        self._judged = [*self._pack, self._whole] if self._pack else [self._whole]

    def texts(self) -> list[str]:
        if not self._plan.label_texts:
            return []
        items = self._pack or [self._whole]
        histories = (
            [earlier for item in items for earlier in item.history]
            if self._plan.tier == "opus"
            else []
        )
        return [*self._plan.missing_texts(), *(item.text for item in items), *histories]

    def answer(self, vectors: dict[str, Vector]) -> Any:
        plan = self._plan
        if plan.schema is None:
            return f"[local stand-in] {self._whole.first_sentence()}"
        plan.learn(vectors)

        def nearest(item: Item) -> _Nearest:
            return _Nearest(plan, _position(item, plan.tier, vectors))

        if plan.pack and self._pack:
            return fill_pack(plan.schema, plan.pack, self._whole, self._pack, nearest)
        return fill_single(plan.schema, self._whole, nearest(self._whole))


def _position(item: Item, tier: Tier, vectors: dict[str, Vector]) -> Vector:
    """Return the vector of an item; for opus, the mean of its history is added with a weight of 0.3."""
    own = vectors.get(item.text)
    if own is None:
        return np.zeros(1, dtype=np.float32)
    own = own.astype(np.float32)
    if tier != "opus" or not item.history:
        return own
    history = np.mean([vectors[earlier].astype(np.float32) for earlier in item.history], axis=0)
    pulled = own + HISTORY_WEIGHT * history
    return pulled / np.linalg.norm(pulled)


def make_plan(
    tier: Tier, schema: dict[str, Any] | None, system: str, *, packed: bool
) -> AnswerPlan:
    """Return the plan for a schema and a system prompt, without the label vectors."""
    if schema is None:
        return AnswerPlan(tier, None, None)
    pack = pack_property(schema) if packed else None
    collector = _Collector()
    nothing = Item("")
    if pack:
        fill_pack(schema, pack, nothing, [nothing], lambda _: collector)
    else:
        fill_single(schema, nothing, collector)
    prompt = read_prompt(system)
    texts = {
        choice: [_label_texts(choice, label, tier, prompt) for label in choice.labels]
        for choice in collector.choices
    }
    return AnswerPlan(tier, schema, pack, texts)


def _label_texts(choice: LabelChoice, label: Any, tier: Tier, prompt: Prompt) -> list[str]:
    """Return the texts that represent a label at a tier.

    For yes and no they are the property's name and description.
    """
    if isinstance(label, bool):
        name, described = (
            choice.name.replace("_", " "),
            prompt.described(choice.name) or choice.description,
        )
        words = name if label else f"not {name}"
        described = described if label else ""
    else:
        words = str(label).replace("_", " ")
        described = prompt.described(str(label)) or ""
    if tier != "haiku" and described:
        words = f"{words}: {described}"
    return [words, *(prompt.examples_of(choice.name, label) if tier == "opus" else [])]
