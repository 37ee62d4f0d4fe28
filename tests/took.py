"""Batches that were seen, as tests tell them."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from lanes.routing.turnaround import ObservedBatches, Turnarounds
from tests.conftest import NOON

MODEL = "claude-haiku-5-5"


@dataclass(frozen=True)
class Took:
    """A batch that left `age` ago, and was back after `took`, or was not yet; `stated`: within which time it was to be back."""

    took: timedelta
    back: bool = True
    age: timedelta = timedelta(0)
    requests: int = 10
    items: int = 10
    stated: timedelta | None = None


def seen(of: Iterable[Took]) -> ObservedBatches:
    """Return the batches as columns, in the order in which they left."""
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
    """Return the laws of these batches, all of one model."""
    return Turnarounds({MODEL: seen(of)}, now)
