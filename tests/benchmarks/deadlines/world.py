"""The world of all contenders: arriving items, the time of a batch by its minute, and the speed of the provider.

Times are seconds from midnight of the first day; the seed decides everything.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property

import numpy
from numpy.typing import NDArray

BEGIN = datetime(2026, 11, 2, tzinfo=UTC)
MINUTE, HOUR, DAY = 60.0, 3_600.0, 86_400.0
SOONEST_S, LATEST_S = 10 * MINUTE, 12 * HOUR  # due times, log-uniform in between
WITHOUT = 0.3  # share of the items that are never due
# Of a batch's turnaround; it varies by half over the hours of a day and is highest in the afternoon.
MEDIAN_S = 60 * MINUTE
SIGMA = 0.6
LONGEST_S = DAY  # no batch takes longer
REGIME_S, SLOWER = 6 * HOUR, 4  # for six hours, batches that leave take four times as long
CALL_S = 2.0  # a real-time call; calls run one after the other
# On one day the provider is overloaded: for eight hours most calls are refused, so that a call takes a minute, with its
# back-offs, until it is answered; for half an hour of these no call is answered at all.
OVERLOAD_S, OVERLOADED_CALL_S = 8 * HOUR, 60.0
REFUSES_AFTER_S, REFUSES_S = 3 * HOUR, 30 * MINUTE

Seconds = NDArray[numpy.float64]
Which = NDArray[numpy.bool_]


@dataclass(frozen=True)
class SeededDays:
    """The days of one seed.

    `arrives` is in order, and `due` is parallel to it (infinite: never). `takes` is by the minute: the seconds of a batch that
    leaves in that minute.
    """

    days: int
    arrives: Seconds
    due: Seconds
    takes: Seconds
    regime_from: float
    overload_from: float

    @cached_property
    def is_due(self) -> Which:
        """Return which items have a due time."""
        return numpy.isfinite(self.due)

    @cached_property
    def in_regime(self) -> Which:
        """Return which items are due and arrived while batches took longer."""
        return self.is_due & _within(self.arrives, self.regime_from, REGIME_S)

    @cached_property
    def in_overload(self) -> Which:
        """Return which items are due and arrived while real time was overloaded."""
        return self.is_due & _within(self.arrives, self.overload_from, OVERLOAD_S)

    def back_at(self, leaves: float) -> float:
        """Return when a batch that leaves at `leaves` is back."""
        return leaves + float(self.takes[min(int(leaves // MINUTE), len(self.takes) - 1)])

    def asked_at(self, at: float) -> float:
        """Return when a call that is wanted at `at` begins."""
        refuses_from = self.overload_from + REFUSES_AFTER_S
        return refuses_from + REFUSES_S if refuses_from <= at < refuses_from + REFUSES_S else at

    def call_s(self, at: float) -> float:
        """Return how long a call that begins at `at` takes."""
        return OVERLOADED_CALL_S if 0 <= at - self.overload_from < OVERLOAD_S else CALL_S


def moment(at: float) -> datetime:
    """Return the same time as a calendar date."""
    return BEGIN + timedelta(seconds=at)


def world(seed: int, *, days: int, items_a_day: int) -> SeededDays:
    """Return the days of a seed. Regime and overload fall on two of them, not the first, from some working hour on."""
    random = numpy.random.default_rng(seed)
    number = random.poisson(days * items_a_day)
    arrives = numpy.sort(random.uniform(0, days * DAY, number))
    due = arrives + numpy.exp(random.uniform(numpy.log(SOONEST_S), numpy.log(LATEST_S), number))
    due[random.random(number) < WITHOUT] = numpy.inf
    minutes = numpy.arange((days + 3) * 1_440, dtype=numpy.float64) * MINUTE
    medians = MEDIAN_S * (1 + 0.5 * numpy.sin(2 * numpy.pi * (minutes % DAY / HOUR - 9) / 24))
    slow_day, loaded_day = random.permutation(numpy.arange(min(4, days - 2), days))[:2]
    regime_from = float(slow_day * DAY + random.integers(8, 15) * HOUR)
    overload_from = float(loaded_day * DAY + random.integers(8, 13) * HOUR)
    medians[_within(minutes, regime_from, REGIME_S)] *= SLOWER
    takes = numpy.minimum(
        medians * numpy.exp(SIGMA * random.standard_normal(len(minutes))), LONGEST_S
    )
    return SeededDays(days, arrives, due, takes, regime_from, overload_from)


def _within(at: Seconds, since: float, length: float) -> Which:
    return (at >= since) & (at < since + length)
