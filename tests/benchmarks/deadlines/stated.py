"""How often the door's "95 %" came true, by items: its law in worlds that it does not know.

Each seed draws its own truth. Turnarounds are log-normal, Weibull, or a mixture in which up to a quarter of the batches takes
two to six times as long. Their median is half to twice the value that the workload assumes, and their spread is drawn too; the
hour of departure moves the median by up to a half, and larger batches take longer. 24 to 96 batches a day leave, at any time; a
batch has a median of 50 items, and a few batches have most of the items. After a day a batch has expired. The door reads what a
program would know by then: every hour, on the first judged day every half hour. The statement for a batch that leaves is kept
for its correction.

An item is due at the earliest moment for which the door says 95 %, because that moment tests the statement: items due later are
safer. Where that moment is more than a day away, the door makes no statement of 95 % about the item.

    no data         no batch was seen; also with a truth of exactly twice the assumed median
    3, 10, 50       that many batches were seen, over a day or more; during the day that follows the door learns nothing
    quiet           ten days, and then two days that are judged
    drift           the same, but all batches that leave from the first judged midnight on take 1.5, 2 or 3 times as long
    large at night  forty small batches over each day, and at 22:00 three of 2,000 to 9,000 items, two to four times as slow
    stale cell      twenty batches of one hour left 23 days ago; the 1,500 that left in the last eight days, all in other hours,
                    are two to four times as slow, and so are the judged batches, which leave in that hour
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from datetime import UTC, datetime, timedelta

import numpy
from numpy.random import Generator
from numpy.typing import NDArray

from lanes.routing.turnaround import STATED, ObservedBatches, Turnarounds
from tests.benchmarks.deadlines.world import DAY, HOUR, MINUTE

MODEL, USUAL = "claude-haiku-5-5", timedelta(hours=1)
BEGIN = 20_000 * DAY  # seconds since the epoch: midnight of the first judged day
# Seconds between two readings of the law: before the judged days, on the first, on the second.
LOOKS_S = (
    6 * HOUR,
    30 * MINUTE,
    HOUR,
)
JUDGED = 30  # batches that follow after the door has stopped learning
Column = NDArray[numpy.float64]


@dataclass(frozen=True)
class StatedBatches:
    """Batches in the order in which they leave (seconds since the epoch): how many items, and how long each truly takes."""

    left: Column
    items: Column
    takes: Column


@dataclass(frozen=True)
class JudgedBatches:
    """Batches of the judged days: the day, the items, the seconds of the door's 95 % statement, and the seconds they took."""

    day: Column
    items: Column
    stated: Column
    takes: Column  # seconds, as `stated`; beyond a day nothing is stated


class Truth:
    """The turnarounds of batches in the world of one seed."""

    def __init__(self, random: Generator, *, slower: float | None = None) -> None:
        drawn = 2.0 ** random.uniform(-1, 1)
        self._median_s = USUAL.total_seconds() * (drawn if slower is None else slower)
        self._family = random.choice(["log-normal", "mixture", "weibull"])
        self._sigma, self._shape = random.uniform(0.3, 0.8), random.uniform(1.2, 3.0)
        self._slow_share, self._slow = random.uniform(0.03, 0.25), random.uniform(2, 6)
        self._by_hour, self._slowest = random.uniform(0, 0.5), random.uniform(0, DAY)
        self._by_size = random.uniform(0, 0.15)

    def takes(self, random: Generator, left: Column, items: Column) -> Column:
        """Draw how many seconds batches take that leave at the times `left`."""
        number = len(left)
        if self._family == "weibull":
            drawn = (-numpy.log(random.random(number)) / numpy.log(2)) ** (1 / self._shape)
        else:
            drawn = numpy.exp(self._sigma * random.standard_normal(number))
            if self._family == "mixture":
                drawn = drawn**0.6 * numpy.where(
                    random.random(number) < self._slow_share, self._slow, 1.0
                )
        hour = 1 + self._by_hour * numpy.cos(2 * numpy.pi * (left - self._slowest) / DAY)
        return self._median_s * drawn * hour * (items / 50) ** self._by_size


def few(random: Generator, number: int, *, slower: float | None = None) -> JudgedBatches:
    """Let the door learn from some batches, and state the following ones from them."""
    truth, before = Truth(random, slower=slower), max(1.0, number / 24) * DAY
    seen = _drawn(random, truth, BEGIN - before + numpy.sort(random.uniform(0, before, number)))
    then = _drawn(random, truth, BEGIN + numpy.sort(random.uniform(0, DAY, JUDGED)))
    return _judged(then, _stated(seen, numpy.full(number, numpy.nan), BEGIN, then.left))


def days(random: Generator, factor: float) -> JudgedBatches:
    """Return ten days, and two in which batches take `factor` times as long."""
    truth, number = Truth(random), round(12 * 24 * 4 ** random.random())
    all_ = _drawn(random, truth, BEGIN + numpy.sort(random.uniform(-10 * DAY, 2 * DAY, number)))
    return _lived(
        StatedBatches(
            all_.left, all_.items, all_.takes * numpy.where(all_.left >= BEGIN, factor, 1.0)
        )
    )


def large_at_night(random: Generator) -> JudgedBatches:
    """Return small batches by day, and large ones that are slow at night."""
    truth, slow = Truth(random), random.uniform(2, 4)
    midnights = numpy.arange(-10, 2) * DAY
    large = (midnights[:, None] + 22 * HOUR + numpy.arange(3) * MINUTE).ravel()
    left = numpy.concatenate((random.uniform(-10 * DAY, 2 * DAY, 40 * 12), large))
    items = numpy.concatenate(
        (random.integers(5, 50, 40 * 12), random.integers(2_000, 9_000, len(large)))
    ).astype(float)
    order = numpy.argsort(left)
    left, items = BEGIN + left[order], items[order]
    return _lived(
        StatedBatches(
            left, items, truth.takes(random, left, items) * numpy.where(items > 1_000, slow, 1.0)
        )
    )


def stale_cell(random: Generator) -> JudgedBatches:
    """Return old, fast batches of one hour, and many new, slow batches of other hours."""
    truth, slow, hour = Truth(random), random.uniform(2, 4), float(random.integers(24)) * HOUR
    old = _drawn(random, truth, BEGIN - 23 * DAY + hour + numpy.sort(random.uniform(0, HOUR, 20)))
    within = (
        numpy.floor(random.uniform(-8, 0, 1_500)) * DAY
        + hour
        + random.uniform(HOUR, DAY, 1_500)
        - DAY
    )
    fresh = _drawn(random, truth, BEGIN + numpy.sort(within))
    then = _drawn(random, truth, BEGIN + hour + numpy.sort(random.uniform(0, HOUR, JUDGED)))
    pairs = (old.left, fresh.left), (old.items, fresh.items), (old.takes, slow * fresh.takes)
    seen = StatedBatches(*map(numpy.concatenate, pairs))
    stated = _stated(seen, numpy.full(len(seen.left), numpy.nan), BEGIN + hour, then.left)
    return _judged(StatedBatches(then.left, then.items, slow * then.takes), stated)


MAY_BE_SILENT = ("no data", "no data, twice as slow", "3 batches")
CASES: Mapping[str, Callable[[Generator], JudgedBatches]] = {
    "no data": lambda random: few(random, 0),
    "no data, twice as slow": lambda random: few(random, 0, slower=2.0),
    "3 batches": lambda random: few(random, 3),
    "10 batches": lambda random: few(random, 10),
    "50 batches": lambda random: few(random, 50),
    "quiet": lambda random: days(random, 1.0),
    "drift 1.5": lambda random: days(random, 1.5),
    "drift 2": lambda random: days(random, 2.0),
    "drift 3": lambda random: days(random, 3.0),
    "large at night": large_at_night,
    "stale cell": stale_cell,
}


def judged(case: str, seed: int) -> JudgedBatches:
    """Judge one seed of a case; seeds of one case share nothing, nor do cases of one seed."""
    return CASES[case](numpy.random.default_rng([seed, list(CASES).index(case)]))


def told(case: str, seeds: Sequence[JudgedBatches]) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield, for each judged day of a case, the items, those stated at 95 %, and the share of these that was back in time.

    The share is 0 where nothing was stated although there was enough to learn from.
    """
    day, items, stated, takes = (
        numpy.concatenate(columns) for columns in zip(*map(astuple, seeds), strict=True)
    )
    for each in numpy.unique(day):
        of_it = day == each
        surely = of_it & (stated <= DAY)
        known = float(items[surely].sum())
        true = (
            float(items[surely & (takes <= stated)].sum()) / known
            if known
            else math.nan
            if case in MAY_BE_SILENT
            else 0.0
        )
        yield (
            f"{case}, day {each:.0f}",
            {"items": float(items[of_it].sum()), "stated": known, "true": true},
        )


def figures(seen: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return the extremes over all cases: on the days of a drift, on all others, and where nothing drifted."""
    true = {name: of["true"] for name, of in seen.items() if not math.isnan(of["true"])}
    on_the_day = {name for name in true if name.startswith("drift") and name.endswith("day 0")}
    quiet = [of for name, of in true.items() if not name.startswith("drift")]
    return {
        "calibrated_day0_min": min(true[name] for name in on_the_day),
        "calibrated_min": min(of for name, of in true.items() if name not in on_the_day),
        "calibrated_quiet_low": min(quiet),
        "calibrated_quiet_high": max(quiet),
    }


def _drawn(random: Generator, truth: Truth, left: Column) -> StatedBatches:
    items = numpy.maximum(1.0, numpy.round(50 * numpy.exp(random.standard_normal(len(left)))))
    return StatedBatches(left, items, truth.takes(random, left, items))


def _lived(batches: StatedBatches) -> JudgedBatches:
    """State, look by look, the batches that leave until the next look, from what is known by then."""
    stated = numpy.full(len(batches.left), numpy.nan)
    now = BEGIN - 8 * DAY
    while now < BEGIN + 2 * DAY:
        until = now + LOOKS_S[int(now >= BEGIN) + int(now >= BEGIN + DAY)]
        leave = (batches.left >= now) & (batches.left < until)
        if leave.any():
            stated[leave] = _stated(batches, stated, now, batches.left[leave])
        now = until
    of_these = batches.left >= BEGIN
    return _judged(
        StatedBatches(batches.left[of_these], batches.items[of_these], batches.takes[of_these]),
        stated[of_these],
    )


def _stated(batches: StatedBatches, stated: Column, now: float, leave: Column) -> Column:
    """Return the seconds within which the law at `now` expects, with 95 %, batches back that leave at the times `leave`."""
    law = Turnarounds({MODEL: _known(batches, stated, now)}, _moment(now))
    return numpy.array(
        [
            law.of(MODEL, leaves_at=_moment(at), usual=USUAL).within(STATED).total_seconds()
            for at in leave
        ]
    )


def _known(batches: StatedBatches, stated: Column, now: float) -> ObservedBatches:
    """Return what a program knows of the batches: open ones have taken until now, and an expired one is not back."""
    left = batches.left < now
    age = now - batches.left[left]
    takes = batches.takes[left]
    back = (takes <= age) & (takes <= DAY)
    took = numpy.minimum(numpy.minimum(takes, DAY), age)
    return ObservedBatches(
        age, took, back.astype(float), batches.items[left], batches.items[left], stated[left]
    )


def _judged(batches: StatedBatches, stated: Column) -> JudgedBatches:
    return JudgedBatches(
        numpy.floor((batches.left - BEGIN) / DAY), batches.items, stated, batches.takes
    )


def _moment(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
