"""The turnaround of batches, learned from our own batches: the source of every stated probability.

The estimator is Kaplan-Meier with a weak prior (Susarla and Van Ryzin, 1976), on a grid. A batch that is still out, has expired
or was canceled is censored: it shows only that it took longer. A batch is weighted by its items and its age. Batches from
before a change at the provider are ignored, and the results of earlier statements correct later ones (Gibbs and Candes, 2021).
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
SHAPE = 1.7  # of the log-logistic prior: 95 % of batches are back within 5.7 times its median
ENOUGH = 20.0  # total weight of an hour's batches from which the hour has its own distribution
HOURS_BESIDE = 1  # this many hours before and after count as the same hour
LARGER = (100, 10_000)  # a batch with this many requests is in the next size class
ALARM = 5.0  # log likelihood ratio above which a change at the provider is assumed
# a speed-up needs more evidence and a full day of batches, because nights are faster, too
DOUBT, A_DAY_S = (2.0, 86_400.0)
STATED = 0.95  # probability at which statements are checked
# a batch is late when it takes 10 % longer than 99 % of its kind; 0.65 % of batches do if turnaround is lognormal
LATE, FALSE_ALARMS = (1.1, 0.01)
GAIN, LIMIT = 0.1, 2.0  # of the correction: log odds per miss, and its bound
LONGEST = 1e9  # seconds; upper bound of every turnaround
GRID = numpy.geomspace(10.0, 1e7, 257)  # seconds after departure
_GRID_SHAPED = GRID**SHAPE
_AT = [0.0, *GRID.tolist()]

Column = NDArray[numpy.floating[Any]]


class ObservedBatches(NamedTuple):
    """The batches of one model as columns, in the order of their departure.

    A batch was back after `took_s` (`back` is 1), or was not back by then (`back` is 0). `stated_s` is the turnaround that was
    stated with the probability `STATED`; NaN if nothing was stated.
    """

    age_s: Column
    took_s: Column
    back: Column
    requests: Column
    items: Column
    stated_s: Column

    @classmethod
    def of(cls, rows: Sequence[tuple[float, ...]]) -> "ObservedBatches":
        """Build the columns from rows, each with its values in the order of the columns."""
        return cls(*numpy.array(rows, float).reshape(-1, len(cls._fields)).T)

    def only(self, which: NDArray[numpy.bool_] | slice) -> "ObservedBatches":
        """Return the batches that a mask or a slice selects."""
        return ObservedBatches(*(column[which] for column in self))

    @property
    def decay(self) -> Column:
        """Return each batch's weight by its age since departure, 0 to 1, so that all batches of one hour count alike."""
        return 0.5 ** (numpy.maximum(self.age_s, 0.0) / HALF_LIFE.total_seconds())

    @property
    def weight(self) -> Column:
        """Return each batch's weight by its items and its age; without ages, the sum is Kish's effective number of batches."""
        return self.decay * self.items * (self.items.sum() / max((self.items**2).sum(), 1.0))


NOTHING = ObservedBatches.of([])


class TurnaroundEvidence(NamedTuple):
    """The basis of an estimate: the number of batches, the number of them that are back, and their weighted mean age."""

    batches: int
    back: int
    age: timedelta | None


class Turnaround:
    """The turnaround distribution of one kind of batch, from the batches `seen` of that kind; the prior's median is `usual`.

    Every probability is at least 0 and below 1, and is found by bisection. `shift` is added to the log odds of being still out.
    """

    def __init__(self, seen: ObservedBatches, *, usual: timedelta, shift: float = 0.0) -> None:
        weight = seen.weight
        age_s = float((weight * seen.age_s).sum() / weight.sum()) if weight.sum() > 0 else math.nan
        age = None if math.isnan(age_s) else timedelta(seconds=max(age_s, 0.0))
        self.evidence = TurnaroundEvidence(len(weight), int(seen.back.sum()), age)
        first = _kaplan_meier(seen, weight, usual.total_seconds())
        # the second fit centers the prior on the median of the first
        out = _kaplan_meier(seen, weight, _median_s(first)) if len(weight) else first
        odds = math.exp(shift)
        self._out: list[float] = [1.0, *(out * odds / (1.0 + out * (odds - 1.0))).tolist()]

    def by(self, after: timedelta, *, out: timedelta = timedelta(0)) -> float:
        """Return the probability that a batch is back within `after` of its departure, given that it has been `out` so far."""
        still = self._share_out(out.total_seconds())
        return 1.0 - self._share_out(after.total_seconds()) / still if after > out else 0.0

    def within(self, probability: float, *, out: timedelta = timedelta(0)) -> timedelta:
        """Return the time since departure within which a batch is back with this probability, above 0 and below 1."""
        been = max(out.total_seconds(), 0.0)
        until = self._until_out((1.0 - probability) * self._share_out(been))
        return timedelta(seconds=min(max(until, been), LONGEST))

    def late_after(self, most: timedelta) -> timedelta:
        """Return the age at which a batch becomes late, at most `most`.

        If too many batches take longer than `most`, a miss is reported before it happens: at the age by which all but 1 % of
        the batches that come back before `most` have come back.
        """
        missed = 1.0 - self.by(most)
        if missed <= FALSE_ALARMS:
            return min(self.within(1.0 - FALSE_ALARMS) * LATE, most)
        return min(self.within(max(1.0 - FALSE_ALARMS - missed, 1e-9)), most)

    def compute_remainder(self, half_life_s: float) -> float:
        """Return the mean fraction that remains of a halving value when the batch is back: E[2^(-T / half-life)]."""
        at = (numpy.array(_AT[1:]) + _AT[:-1]) / 2
        return float((-numpy.diff(self._out) * 2.0 ** (-at / half_life_s)).sum())

    def _until_out(self, out: float) -> float:
        """Return the seconds after which at most this share is still out."""
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
    """The turnaround distributions of all kinds of batches, from the batches `seen` of each model until `read_at`.

    A kind is a model and a size class. If the size is not known, a kind covers all sizes, weighted by items. The hour of
    departure counts if enough recent batches left in that hour and the adjacent hours.
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
        """Return the distribution for a batch that leaves at `leaves_at` and whose workload's usual turnaround is `usual`.

        With `least_back`, return the distribution that decides whether a batch is late: it leaves out open batches, and it
        includes batches from before a change at the provider until that number of newer batches is back.
        """
        size = None if requests is None else bisect_right(LARGER, requests)
        hour = int(leaves_at.timestamp() // 3_600 % 24)
        return self._law(model, size, hour, usual, least_back)

    def _learn(
        self, model: str, size: int | None, hour: int | None, usual: timedelta, least_back: int
    ) -> Turnaround:
        batches, median = self._in_force(model, usual, least_back), usual
        if size is not None:
            batches = batches.only(_size_classes(batches) == size)
            median = self._law(model, None, None, usual, least_back).within(0.5)
        if hour is not None:
            left_hour = (self.read_at.timestamp() - batches.age_s) // 3_600 % 24
            batches = batches.only(numpy.abs((left_hour - hour + 12) % 24 - 12) <= HOURS_BESIDE)
            if batches.weight.sum() < ENOUGH:
                return self._law(model, size, None, usual, least_back)
        return Turnaround(batches, usual=median, shift=correction(self.seen.get(model, NOTHING)))

    def _since_change(self, model: str, usual: timedelta, least_back: int) -> ObservedBatches:
        if least_back:
            newer = self._in_force(model, usual, 0)
            batches = newer if newer.back.sum() >= least_back else self.seen.get(model, NOTHING)
            return batches.only((batches.back == 1) | (batches.took_s < batches.age_s))
        batches = self.seen.get(model, NOTHING)
        return batches.only(slice(len(batches.age_s) - since_change(batches, usual), None))


def since_change(batches: ObservedBatches, usual: timedelta) -> int:
    """Return the number of newest batches that left after a change at the provider; all batches if there was no change.

    Under the distribution of the older batches of their size, the cumulative hazards of the newer batches are exponential,
    whatever that distribution is, and the hazards of open batches are censored. So without a change, the expected number of
    batches back is the sum of the hazards. The function compares the likelihood ratio of each split, less a discount if there
    are few older batches.
    """
    number, weight, classes = len(batches.age_s), batches.decay, _size_classes(batches)
    place = numpy.minimum(numpy.searchsorted(GRID, batches.took_s, "right"), len(GRID) - 1)
    alike = [classes == size for size in numpy.unique(classes)]
    medians = [
        _median_s(_kaplan_meier(batches.only(mask), weight[mask], usual.total_seconds()))
        for mask in alike
    ]
    found, most, newer = number, ALARM, 2
    while newer <= number - 2:
        is_newer = numpy.arange(number) >= number - newer
        expected = 0.0
        back = float(batches.back[is_newer].sum())
        known = float(weight[~is_newer].sum())
        for mask, median_s in zip(alike, medians, strict=True):
            out = _kaplan_meier(batches.only(mask & ~is_newer), weight[mask & ~is_newer], median_s)
            # the mean of the hazards before and after the cell, because many batches may be back at once
            cells = place[mask & is_newer]
            expected -= float(numpy.log(out[cells] * out[numpy.maximum(cells - 1, 0)]).sum()) / 2
        ratio = (back * math.log(back / expected) if back else 0.0) - back + expected
        ratio *= known / (known + expected)
        is_believed = back < expected or (
            ratio > DOUBT * ALARM and batches.age_s[-newer] >= A_DAY_S
        )
        if is_believed and ratio > most:
            found, most = newer, ratio
        newer += max(1, newer // 2)
    return found


def correction(batches: ObservedBatches) -> float:
    """Return the shift of the log odds of being still out, learned from the results of earlier statements.

    Hits and misses both count only after the stated time has passed, because before then only hits are known.
    """
    missed = batches.took_s > batches.stated_s
    # a batch that expired or was canceled before that time shows nothing
    decided = (batches.age_s >= batches.stated_s) & (missed | (batches.back == 1))
    surprise = (batches.only(decided).weight * (missed[decided] - (1.0 - STATED))).sum()
    return float(numpy.clip(GAIN * surprise, -LIMIT, LIMIT))


def _size_classes(seen: ObservedBatches) -> NDArray[numpy.intp]:
    return numpy.searchsorted(LARGER, seen.requests, "right")


def _median_s(out: Column) -> float:
    return float(GRID[min(numpy.searchsorted(-out, -0.5), len(GRID) - 1)])


def _kaplan_meier(batches: ObservedBatches, weight: Column, median_s: float) -> Column:
    """Return the share of batches that is still out at each time of the grid, with a prior around `median_s`.

    A batch counts as back from the next time of the grid.
    """
    assumed = numpy.concatenate(([1.0], 1.0 / (1.0 + _GRID_SHAPED / median_s**SHAPE)))
    place = numpy.searchsorted(GRID, batches.took_s, "left")
    back, ends = (
        numpy.bincount(place, each, len(GRID) + 1) for each in (weight * batches.back, weight)
    )
    at_risk = numpy.cumsum(ends[::-1])[::-1]
    hazard = (back[:-1] + PSEUDO_BATCHES * (assumed[:-1] - assumed[1:])) / (
        at_risk[:-1] + PSEUDO_BATCHES * assumed[:-1]
    )
    return numpy.cumprod(1.0 - numpy.minimum(hazard, 1.0 - 1e-9))
