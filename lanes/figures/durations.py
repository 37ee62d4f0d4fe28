"""Durations are counted in buckets, each 4 % longer than the one before: sums of them have percentiles within 2 %."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from datetime import timedelta
from functools import cached_property
from itertools import accumulate
from math import ceil, floor, log

WIDTH = 1.04
NONE = -1  # less than a millisecond, or a clock that went back


def bucket_of(span: timedelta) -> int:
    """Bucket n holds 1.04^n to 1.04^(n + 1) milliseconds."""
    ms = span / timedelta(milliseconds=1)
    return floor(log(ms) / log(WIDTH)) if ms >= 1 else NONE


def seconds_of(bucket: int) -> float:
    """The middle of a bucket."""
    return WIDTH ** (bucket + 0.5) / 1_000 if bucket > NONE else 0.0


class Durations:
    """How many took how long."""

    def __init__(self) -> None:
        self._counts = defaultdict[int, int](int)

    def add(self, buckets: Iterable[int], counts: Iterable[int]) -> None:
        """So many more took so long; negative: so many fewer."""
        self.__dict__.pop("_ranked", None)
        mine = self._counts
        for bucket, n in zip(buckets, counts, strict=True):
            mine[bucket] += n

    @cached_property
    def _ranked(self) -> tuple[list[int], list[int]]:
        """The buckets that hold any, the shortest first, and how many durations are in each and those before it."""
        held = sorted(bucket for bucket, n in self._counts.items() if n > 0)
        return held, list(accumulate(self._counts[bucket] for bucket in held))

    @property
    def timed(self) -> int:
        """How many."""
        _, upto = self._ranked
        return upto[-1] if upto else 0

    @property
    def total_s(self) -> float:
        """How long all of them took together."""
        return sum((seconds * n for seconds, n in self.counted()), 0.0)

    def counted(self) -> list[tuple[float, int]]:
        """Each bucket that holds any: how long it is in seconds, and how many it holds."""
        held, _ = self._ranked
        return [(seconds_of(bucket), self._counts[bucket]) for bucket in held]

    def percentile_s(self, share: float) -> float:
        """How long so many of them took at most, 0 to 1; between two neighbours as percentile_cont has it.

        Raises:
            IndexError: there are none.
        """
        place = share * (self.timed - 1)
        above = place - floor(place)
        return (1 - above) * self._number(floor(place)) + above * self._number(ceil(place))

    def _number(self, number: int) -> float:
        """How long the one of that number took, from 0."""
        held, upto = self._ranked
        return seconds_of(held[bisect_right(upto, number)])
