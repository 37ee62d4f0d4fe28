"""Batches with known turnarounds, in a short form for tests."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from lanes.routing.turnaround import ObservedBatches, Turnarounds
from tests.conftest import NOON

MODEL = "claude-haiku-5-5"


@dataclass(frozen=True)
class Took:
    """A batch that was submitted `age` ago and took `took`, or is still open after it; `stated` is its stated turnaround."""

    took: timedelta
    back: bool = True
    age: timedelta = timedelta(0)
    requests: int = 10
    items: int = 10
    stated: timedelta | None = None


def seen(of: Iterable[Took]) -> ObservedBatches:
    """Return the batches as columns, in the order of submission."""
    return ObservedBatches.of(
        [
            (
                each.age.total_seconds(),
                each.took.total_seconds(),
                each.back,
                each.requests,
                each.items,
                math.nan if each.stated is None else each.stated.total_seconds(),
            )
            for each in sorted(of, key=lambda each: each.age, reverse=True)
        ]
    )


def laws(of: Iterable[Took], now: datetime = NOON) -> Turnarounds:
    """Return the turnaround laws of these batches, all of one model."""
    return Turnarounds({MODEL: seen(of)}, now)
