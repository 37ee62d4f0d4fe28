"""A few real answers that stand for the others: of every lane, and with a correction where there is one."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby
from typing import Any

from lanes.words import Lane, Standing

MOST = 5


@dataclass(frozen=True)
class Example:
    """An item with its answer, and what that took. Times are seconds since the item was received.

    `first_lane` gave the first answer; `was` holds the fields that a correction changed, as they were before, and
    `fields` names the output's in the order of its schema. `cost_usd` is that of every attempt.
    """

    workload: str
    key: str
    payload: dict[str, Any]
    output: dict[str, Any]
    fields: Sequence[str]
    standing: Standing
    first_lane: Lane
    first_s: float
    lane: Lane
    current_s: float
    was: dict[str, Any]
    cost_usd: Decimal

    @property
    def kind(self) -> tuple[str, bool, bool]:
        """What it is an example of: workload, whether the batch lane answered first, whether that stood."""
        return self.workload, self.first_lane is Lane.BATCH, not self.was


def choose(candidates: Iterable[Example], most: int = MOST) -> list[Example]:
    """At most so many: one of each kind, then a second of each and so on, shown kind by kind."""
    ordered = sorted(candidates, key=lambda each: each.kind)
    turns = [
        (turn, each)
        for _, kind in groupby(ordered, lambda each: each.kind)
        for turn, each in enumerate(kind)
    ]
    first = sorted(turns, key=lambda each: each[0])[:most]
    return sorted((each for _, each in first), key=lambda each: each.kind)
