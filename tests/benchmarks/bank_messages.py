"""Real customer messages to a bank, and the workload that classifies them: every call shares 4,000 tokens.

The messages are from BANKING77, in `../shared/data/banking77` next to the checkout. Where that folder is missing, the
shipped sample tickets take their place.
"""

import csv
import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lanes.mainjob.samples import sample_items

HOME = Path(__file__).parents[3] / "shared/data/banking77"
SHARED_TOKENS = 4_000
CHARS = 4 * SHARED_TOKENS  # as the stand-in counts tokens
SAID_EACH = 4  # examples of each label
RULES = (
    "You sort what customers write to their bank. Choose exactly one label, by what the customer wants to know or to be done "
    "first. Messages are short, many are questions, and some hold spelling mistakes. Below stands each label with messages "
    "that have it.\n"
)


@dataclass(frozen=True)
class Messages:
    """Texts in order, any number of them. `said` names their source; `spec` holds fields of their workload."""

    said: str
    texts: Sequence[str]
    spec: Mapping[str, Any]

    def payloads(self, number: int, *, first: int = 0) -> list[dict[str, str]]:
        """Return `number` messages from `first` on. After the last message they repeat, each with its number."""
        turns = (divmod(place, len(self.texts)) for place in range(first, first + number))
        return [
            {"text": self.texts[place] + (f" ({turn})" if turn else "")} for turn, place in turns
        ]


def messages(home: Path = HOME) -> Messages:
    """Return the messages of BANKING77, or the samples."""
    if not (home / "train.csv").exists():
        items = sample_items("tickets")
        labelled = [(each["payload"]["text"], each["label"]["category"]) for each in items]
        return _messages("samples", labelled, labelled)
    train, test = (_read(home / f"{part}.csv") for part in ("train", "test"))
    return _messages("banking77", train, [*test, *train])


def _read(file: Path) -> list[tuple[str, str]]:
    with file.open(newline="", encoding="utf-8") as opened:
        return [(row["text"].strip(), row["category"]) for row in csv.DictReader(opened)]


def _messages(
    said: str, known: Sequence[tuple[str, str]], asked: Sequence[tuple[str, str]]
) -> Messages:
    examples = defaultdict[str, list[str]](list)
    for text, label in known:
        examples[label].append(text)
    labels = sorted(examples)
    lines = [f"- {label}: {' / '.join(examples[label][:SAID_EACH])}" for label in labels]
    most = max(map(len, examples.values()))
    more = (
        examples[label][place : place + 1] for place in range(SAID_EACH, most) for label in labels
    )
    spare = itertools.chain.from_iterable(more)
    text = RULES + "\n".join(lines)
    while len(text) < CHARS:
        text += "\nAlso seen: " + next(
            spare, "nothing else. Choose the label that fits best, and only one."
        )
    schema = {
        "type": "object",
        "properties": {"label": {"type": "string", "enum": labels}},
        "required": ["label"],
        "additionalProperties": False,
    }
    spec = {
        "instructions": text[:CHARS],
        "output_schema": schema,
        "max_output_tokens": 60,
        "expected_output_tokens": 12,
    }
    return Messages(said, list(dict.fromkeys(each for each, _ in asked)), spec)
