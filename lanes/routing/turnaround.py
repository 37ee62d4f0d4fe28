"""The turnaround of batches, learned from our own: the source of every stated probability.

Kaplan-Meier with a weak prior (Susarla and Van Ryzin, 1976), on a grid: a batch that is out, expired or was cancelled says only
that it took longer. A batch counts by its items and its age. Batches from before a change at the provider are forgotten, and
the results of earlier statements correct the next ones (Gibbs and Candes, 2021).
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from operator import neg
from typing import Any, NamedTuple

import numpy
from numpy.typing import NDArray

HALF_LIFE = timedelta(days=7)  # a batch of this age counts half as much as a new one
PSEUDO_BATCHES = 5.0  # weight of the prior
SHAPE = 1.7  # of the prior, which is log-logistic: 95 % are back within 5.7 times its median
ENOUGH = 20.0  # weight of the batches of an hour from which its own law is used
HOURS_BESIDE = 1  # this many hours before and after count as the same hour
LARGER = (100, 10_000)  # requests from which a batch is of the next size class
ALARM = 5.0  # log likelihood ratio from which a change of the provider is assumed
# a change for the better needs more evidence and a whole day, because nights are quicker too
DOUBT, A_DAY_S = (2.0, 86_400.0)
STATED = 0.95  # probability at which statements are checked
# a batch is late when it takes 10 % longer than all but 1 % of its kind: 0.65 % of those of a lognormal law do
LATE, FALSE_ALARMS = (1.1, 0.01)
GAIN, LIMIT = 0.1, 2.0  # of the correction: log odds for each miss, and at most
LONGEST = 1e9  # seconds: no batch is awaited longer
GRID = numpy.geomspace(10.0, 1e7, 257)  # seconds after departure
_GRID_SHAPED = GRID**SHAPE
_AT = [0.0, *GRID.tolist()]

Column = NDArray[numpy.floating[Any]]


class ObservedBatches(NamedTuple):
    """Batches of one model as columns, in the order in which they left.

    Each was back after `took_s`, or was not yet (`back` is 1 or 0). `stated_s` is the time within which it was stated
    to be back with the probability `STATED`, NaN where nothing was stated.
    """

    age_s: Column
    took_s: Column
    back: Column
    requests: Column
    items: Column
    stated_s: Column

    @classmethod
    def of(cls, rows: Sequence[tuple[float, ...]]) -> "ObservedBatches":
        """Return batches that are given as rows, each with its values in the order of the columns."""
        return cls(*numpy.array(rows, float).reshape(-1, len(cls._fields)).T)

    def only(self, which: NDArray[numpy.bool_] | slice) -> "ObservedBatches":
        """Return some of the batches."""
        return ObservedBatches(*(column[which] for column in self))

    @property
    def decay(self) -> Column:
        """Return each weight by age, 0 to 1, from departure, so that all batches of one hour count alike."""
        return 0.5 ** (numpy.maximum(self.age_s, 0.0) / HALF_LIFE.total_seconds())

    @property
    def weight(self) -> Column:
        """Return each batch's weight by its items and its age; without ages the sum is Kish's effective number of batches."""
        return self.decay * self.items * (self.items.sum() / max((self.items**2).sum(), 1.0))


NOTHING = ObservedBatches.of([])


class TurnaroundEvidence(NamedTuple):
    """The basis of an estimate: the number of batches, how many are back, and their average age by weight."""

    batches: int
    back: int
    age: timedelta | None


class Turnaround:
    """The law of one kind of batch, from those `seen` of its kind; the prior has the median `usual`.

    Every probability is at least 0 and below 1, and takes a bisection. `shift` moves all log odds of being still out.
    """

    def __init__(self, seen: ObservedBatches, *, usual: timedelta, shift: float = 0.0) -> None:
        weight = seen.weight
        age_s = float((weight * seen.age_s).sum() / weight.sum()) if weight.sum() > 0 else math.nan
        age = None if math.isnan(age_s) else timedelta(seconds=max(age_s, 0.0))
        self.evidence = TurnaroundEvidence(len(weight), int(seen.back.sum()), age)
        first = _kaplan_meier(seen, weight, usual.total_seconds())
        # the prior lies around what was seen
        out = _kaplan_meier(seen, weight, _median_s(first)) if len(weight) else first
        odds = math.exp(shift)
        self._out: list[float] = [1.0, *(out * odds / (1.0 + out * (odds - 1.0))).tolist()]

    def by(self, after: timedelta, *, out: timedelta = timedelta(0)) -> float:
        """Return the probability that a batch is back that long after it left, given that it has been `out` so far."""
        still = self._share_out(out.total_seconds())
        return 1.0 - self._share_out(after.total_seconds()) / still if after > out else 0.0

    def within(self, probability: float, *, out: timedelta = timedelta(0)) -> timedelta:
        """Return how long after its departure a batch is back with this probability, above 0 and below 1."""
        been = max(out.total_seconds(), 0.0)
        until = self._until_out((1.0 - probability) * self._share_out(been))
        return timedelta(seconds=min(max(until, been), LONGEST))

    def late_after(self, most: timedelta) -> timedelta:
        """Return the age from which on a batch is late, never more than `most`.

        Where too many batches take longer than `most`, a miss is told before it happens: from the age on at which all but
        1 % of the batches that come back before `most` have come back.
        """
        missed = 1.0 - self.by(most)
        if missed <= FALSE_ALARMS:
            return min(self.within(1.0 - FALSE_ALARMS) * LATE, most)
        return min(self.within(max(1.0 - FALSE_ALARMS - missed, 1e-9)), most)

    def compute_remainder(self, half_life_s: float) -> float:
        """Return the average remainder, when its batch is back, of something that halves: E[2^(-T / half-life)]."""
        at = (numpy.array(_AT[1:]) + _AT[:-1]) / 2
        return float((-numpy.diff(self._out) * 2.0 ** (-at / half_life_s)).sum())

    def _until_out(self, out: float) -> float:
        """Return the seconds from which on no more than this share is still out."""
        place = bisect_left(self._out, -out, key=neg)
        if place == len(_AT):
            return LONGEST
        before, after = self._out[place - 1], self._out[place]
        return (
            _AT[place - 1] + (_AT[place] - _AT[place - 1]) * (before - out) / (before - after)
            if place
            else 0.0
        )

    def _share_out(self, seconds: float) -> float:
        if seconds <= 0:
            return 1.0
        place = bisect_right(_AT, seconds)
        if place == len(_AT):
            return self._out[-1]
        before, since = self._out[place - 1], _AT[place - 1]
        return before + (self._out[place] - before) * (seconds - since) / (_AT[place] - since)


class Turnarounds:
    """The laws of all kinds of batches, from those `seen` of each model until `read_at`.

    A kind is a model and a size class, or all sizes by their items where the size is not known. The hour of departure
    counts where enough recent batches left in it and in the hours beside it.
    """

    def __init__(self, seen: Mapping[str, ObservedBatches], read_at: datetime) -> None:
        self.read_at, self.seen = read_at, seen
        self._law, self._in_force = cache(self._learn), cache(self._since_change)

    def of(
        self,
        model: str,
        *,
        leaves_at: datetime,
        usual: timedelta,
        requests: int | None = None,
        least_back: int = 0,
    ) -> Turnaround:
        """Return the law of a batch that leaves then, where its workload's usual time is `usual`.

        With `least_back` it is the law by which a batch is late: open batches are left out, and batches from before a change at
        the provider count until that number of newer ones is back.
        """
        size = None if requests is None else bisect_right(LARGER, requests)
        hour = int(leaves_at.timestamp() // 3_600 % 24)
        return self._law(model, size, hour, usual, least_back)

    def _learn(
        self, model: str, size: int | None, hour: int | None, usual: timedelta, least_back: int
    ) -> Turnaround:
        seen, median = self._in_force(model, usual, least_back), usual
        if size is not None:
            seen = seen.only(_size_classes(seen) == size)
            median = self._law(model, None, None, usual, least_back).within(0.5)
        if hour is not None:
            left_hour = (self.read_at.timestamp() - seen.age_s) // 3_600 % 24
            seen = seen.only(numpy.abs((left_hour - hour + 12) % 24 - 12) <= HOURS_BESIDE)
            if seen.weight.sum() < ENOUGH:
                return self._law(model, size, None, usual, least_back)
        return Turnaround(seen, usual=median, shift=correction(self.seen.get(model, NOTHING)))

    def _since_change(self, model: str, usual: timedelta, least_back: int) -> ObservedBatches:
        if least_back:
            newer = self._in_force(model, usual, 0)
            seen = newer if newer.back.sum() >= least_back else self.seen.get(model, NOTHING)
            return seen.only((seen.back == 1) | (seen.took_s < seen.age_s))
        seen = self.seen.get(model, NOTHING)
        return seen.only(slice(len(seen.age_s) - since_change(seen, usual), None))


def since_change(seen: ObservedBatches, usual: timedelta) -> int:
    """Return how many of the newest batches left since the provider changed; all of them where it did not.

    By the law of the older batches of their size, the cumulated hazards of the newer ones are exponential whatever that law is,
    and those of batches that are out are censored: without a change as many are back as their hazards add up to. The likelihood
    ratio of each split is compared, less a discount for few older batches.
    """
    number, weight, classes = len(seen.age_s), seen.decay, _size_classes(seen)
    place = numpy.minimum(numpy.searchsorted(GRID, seen.took_s, "right"), len(GRID) - 1)
    alike = [classes == size for size in numpy.unique(classes)]
    medians = [
        _median_s(_kaplan_meier(seen.only(those), weight[those], usual.total_seconds()))
        for those in alike
    ]
    found, most, newer = number, ALARM, 2
    while newer <= number - 2:
        is_newer = numpy.arange(number) >= number - newer
        expected = 0.0
        back = float(seen.back[is_newer].sum())
        known = float(weight[~is_newer].sum())
        for those, median_s in zip(alike, medians, strict=True):
            out = _kaplan_meier(seen.only(those & ~is_newer), weight[those & ~is_newer], median_s)
            # between the hazards before and after their cell, where many are back at once
            cells = place[those & is_newer]
            expected -= float(numpy.log(out[cells] * out[numpy.maximum(cells - 1, 0)]).sum()) / 2
        ratio = (back * math.log(back / expected) if back else 0.0) - back + expected
        ratio *= known / (known + expected)
        is_believed = back < expected or (ratio > DOUBT * ALARM and seen.age_s[-newer] >= A_DAY_S)
        if is_believed and ratio > most:
            found, most = newer, ratio
        newer += max(1, newer // 2)
    return found


def correction(seen: ObservedBatches) -> float:
    """Return by how much the log odds of being still out have to move, given what became of earlier statements.

    Hits and misses both count from when the stated time has passed, because hits alone are known before.
    """
    missed = seen.took_s > seen.stated_s
    # other ends before that time show nothing
    decided = (seen.age_s >= seen.stated_s) & (missed | (seen.back == 1))
    surprise = (seen.only(decided).weight * (missed[decided] - (1.0 - STATED))).sum()
    return float(numpy.clip(GAIN * surprise, -LIMIT, LIMIT))


def _size_classes(seen: ObservedBatches) -> NDArray[numpy.intp]:
    return numpy.searchsorted(LARGER, seen.requests, "right")


def _median_s(out: Column) -> float:
    return float(GRID[min(numpy.searchsorted(-out, -0.5), len(GRID) - 1)])


def _kaplan_meier(seen: ObservedBatches, weight: Column, median_s: float) -> Column:
    """Return the share that is still out at each moment of the grid, with a prior around that median.

    A batch counts as back from the next moment on.
    """
    assumed = numpy.concatenate(([1.0], 1.0 / (1.0 + _GRID_SHAPED / median_s**SHAPE)))
    place = numpy.searchsorted(GRID, seen.took_s, "left")
    back, ends = (
        numpy.bincount(place, each, len(GRID) + 1) for each in (weight * seen.back, weight)
    )
    at_risk = numpy.cumsum(ends[::-1])[::-1]
    hazard = (back[:-1] + PSEUDO_BATCHES * (assumed[:-1] - assumed[1:])) / (
        at_risk[:-1] + PSEUDO_BATCHES * assumed[:-1]
    )
    return numpy.cumprod(1.0 - numpy.minimum(hazard, 1.0 - 1e-9))
