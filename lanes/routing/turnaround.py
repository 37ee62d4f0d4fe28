"""How long batches take until their answers are here, learned from our own: the one source of every "back by then with 97 %".

Kaplan-Meier over what was seen of them, where a batch that is out still, expired or was cancelled says only that it took
longer (leaving these out is what makes such estimates too quick), together with a prior of a few pseudo-batches spread over a
log-normal law. A continuous prior and seen batches give the estimate of Susarla and Van Ryzin (1976): with nothing seen it is
the prior, with nothing but events it is their share.
"""

import math
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from operator import neg
from statistics import NormalDist

HALF_LIFE = timedelta(days=7)  # what left so long ago counts half as much as what leaves now
PSEUDO_BATCHES = 5.0  # the weight of what is assumed, in batches that leave now
SIGMA = 0.5  # of the assumed law: 95 % are back within 2.3 times its median
ENOUGH = 20  # batches from which a cell speaks for itself
LARGER = (100, 10_000)  # requests from which a batch is of the next size class
LONGEST = 1e9  # seconds: nothing is awaited longer
STEPS = 256  # into which a law is divided for what is expected of it
_NORMAL = NormalDist()

Cell = tuple[str, int | None, int | None]  # a model, a size class, an hour; None: all of them


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of one batch: it took so long until its answers were here (`back`), or has taken so long without.

    `hour` is that of the day (UTC) in which it left, `age` how long ago that was.
    """

    model: str
    requests: int
    hour: int
    took: timedelta
    back: bool
    age: timedelta

    @property
    def weight(self) -> float:
        """How much it counts, 0 to 1. It is as old as its departure: quick and slow ones of one hour count alike."""
        return 0.5 ** (max(self.age, timedelta(0)) / HALF_LIFE)


@dataclass(frozen=True)
class Evidence:
    """From what an estimate is: how many batches, how long ago they left on average (by their weight); None without any."""

    batches: int
    age: timedelta | None


class Turnaround:
    """The law of one kind of batch, from those seen of its kind; `usual` is the median that is assumed.

    Every probability is of 0 to 1, and exact: no grid lies below it. One takes a bisection and a logarithm.
    """

    def __init__(self, seen: Iterable[Seen], *, usual: timedelta) -> None:
        seen = sorted(seen, key=lambda each: each.took)
        self._log_median = math.log(usual.total_seconds())
        self.evidence = _evidence(seen)
        # From each moment on (seconds): the share out still, the weight of the seen ones that are, the share by the law.
        self._at, self._out, self._weight, self._assumed = [0.0], [1.0], [0.0], [1.0]
        self._left: dict[float, float] = {}
        self._learn(seen)

    def _learn(self, seen: Sequence[Seen]) -> None:
        moments = [
            (took, sum(each.weight for each in alike if each.back), sum(each.weight for each in alike if not each.back))
            for took, group in groupby(seen, key=lambda each: max(each.took.total_seconds(), 0.0))
            for alike in [list(group)]
        ]
        after, left = 0.0, list[float]()
        for _, back, lost in reversed(moments):  # from the end, so that no difference of sums is needed
            left.append(after)
            after += back + lost
        self._weight[0] = after
        for (took, back, lost), still in zip(moments, reversed(left), strict=True):
            assumed = PSEUDO_BATCHES * self._assumed_out(took)
            before = self._share_out(took)
            among = assumed + still + lost + back
            self._at.append(took)
            self._out.append(before * (assumed + still + lost) / among if among > 0 else before)
            self._weight.append(still)
            self._assumed.append(self._assumed_out(took))

    def by(self, after: timedelta | float) -> float:
        """The probability that a batch is back so long after it left (seconds, or a span)."""
        return 1.0 - self._share_out(_seconds(after))

    def of_one_out(self, out: timedelta | float) -> Callable[[timedelta | float], float]:
        """The same of a batch that has been out for `out`: what it returns is asked for each moment after its departure."""
        been = max(_seconds(out), 0.0)
        still = self._share_out(been)

        def back_by(after: timedelta | float) -> float:
            seconds = _seconds(after)
            return 1.0 - self._share_out(seconds) / still if seconds > been and still > 0 else 0.0

        return back_by

    def within(self, probability: float, *, out: timedelta | float = 0.0) -> timedelta:
        """How long after its departure a batch is back with this probability, which is above 0 and below 1; one that has been
        out for `out` already, where that is given."""
        been = max(_seconds(out), 0.0)
        return max(self._until_out((1.0 - probability) * self._share_out(been)), timedelta(seconds=min(been, LONGEST)))

    def left(self, half_life_s: float) -> float:
        """What is left, on average, of something that halves within each half-life, when a batch that left with it is back:
        E[2^(-T / half-life)], 0 to 1. Worked out once for each half-life.

        The midpoint rule over the quantiles of the law: exact to 1 / (2 * STEPS) whatever its shape, and in relation to what
        is lost, however slowly it fades.
        """
        known = self._left.get(half_life_s)
        if known is None:
            waits = (self._until_out(1 - (step + 0.5) / STEPS).total_seconds() for step in range(STEPS))
            known = self._left[half_life_s] = sum(2.0 ** (-each / half_life_s) for each in waits) / STEPS
        return known

    def _until_out(self, out: float) -> timedelta:
        """From when on no more than this share is out still."""
        place = bisect_left(self._out, -out, lo=1, key=neg) - 1
        since, until = self._at[place], self._at[place + 1] if place + 1 < len(self._at) else LONGEST
        weight, share = self._weight[place], self._out[place]
        # Between two moments only the assumed law moves: solved for its share that is out still.
        assumed = (out / share * (PSEUDO_BATCHES * self._assumed[place] + weight) - weight) / PSEUDO_BATCHES
        if assumed <= 0:
            return timedelta(seconds=until)
        quantile = math.exp(self._log_median - SIGMA * _NORMAL.inv_cdf(min(assumed, 1 - 1e-16)))
        return timedelta(seconds=min(max(quantile, since), until))

    def _share_out(self, seconds: float) -> float:
        if seconds <= 0:
            return 1.0
        place = bisect_right(self._at, seconds) - 1
        weight = self._weight[place]
        then, now = self._assumed[place], self._assumed_out(seconds)
        among = PSEUDO_BATCHES * then + weight
        return self._out[place] * (PSEUDO_BATCHES * now + weight) / among if among > 0 else 0.0

    def _assumed_out(self, seconds: float) -> float:
        """The share of the assumed law that takes longer."""
        if seconds <= 0:
            return 1.0
        return 0.5 * math.erfc((math.log(seconds) - self._log_median) / (SIGMA * math.sqrt(2)))


class Turnarounds:
    """The laws of all kinds of batches, from what was seen until `read_at`.

    A kind is a model, a size class and an hour of departure. Where fewer than `ENOUGH` batches are of it, all sizes are taken
    together, then all hours; whoever does not know a size yet is told of all of them.
    """

    def __init__(self, seen: Iterable[Seen], read_at: datetime) -> None:
        self.read_at = read_at
        self._cells = defaultdict[Cell, list[Seen]](list)
        for each in seen:
            for size, hour in ((size_class(each.requests), each.hour), (None, each.hour), (None, None)):
                self._cells[each.model, size, hour].append(each)
        self._laws: dict[tuple[Cell, timedelta], Turnaround] = {}

    def of(self, model: str, *, leaves_at: datetime, usual: timedelta, requests: int | None = None) -> Turnaround:
        """The law of a batch that leaves then, where its workload takes `usual` for its median."""
        size, hour = None if requests is None else size_class(requests), utc_hour(leaves_at)
        narrow: list[Cell] = [(model, size, hour), (model, None, hour)]
        cell = next((each for each in narrow if len(self._cells.get(each, ())) >= ENOUGH), (model, None, None))
        law = self._laws.get((cell, usual))
        if law is None:
            law = self._laws[cell, usual] = Turnaround(self._cells.get(cell, ()), usual=usual)
        return law


def size_class(requests: int) -> int:
    """0 for a small batch, 1 from a hundred requests, 2 from ten thousand."""
    return bisect_right(LARGER, requests)


def utc_hour(moment: datetime) -> int:
    """The hour of the day, 0 to 23, in UTC."""
    offset = moment.utcoffset() or timedelta(0)
    return (moment - offset).hour


def _evidence(seen: Sequence[Seen]) -> Evidence:
    weights = [each.weight for each in seen]
    if not sum(weights):
        return Evidence(len(seen), None)
    aged = sum(weight * each.age.total_seconds() for weight, each in zip(weights, seen, strict=True))
    return Evidence(len(seen), timedelta(seconds=max(aged / sum(weights), 0.0)))


def _seconds(span: timedelta | float) -> float:
    return span.total_seconds() if isinstance(span, timedelta) else span
