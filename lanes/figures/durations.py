"""Durations, counted in buckets that are each 4 % longer than the one before: sums have percentiles within 2 %."""

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
    """Return the bucket of a duration: bucket n holds 1.04^n to 1.04^(n + 1) milliseconds."""
    ms = span / timedelta(milliseconds=1)
    return floor(log(ms) / log(WIDTH)) if ms >= 1 else NONE


def seconds_of(bucket: int) -> float:
    """Return the middle of a bucket."""
    return WIDTH ** (bucket + 0.5) / 1_000 if bucket > NONE else 0.0


class Durations:
    """Counts by duration: how many, how long together, and percentiles."""

    def __init__(self) -> None:
        self._counts = defaultdict[int, int](int)

    def add(self, buckets: Iterable[int], counts: Iterable[int]) -> None:
        """Add counts to buckets; a negative count removes."""
        self.__dict__.pop("_ranked", None)
        mine = self._counts
        for bucket, n in zip(buckets, counts, strict=True):
            mine[bucket] += n

    @cached_property
    def _ranked(self) -> tuple[list[int], list[int]]:
        """Return the used buckets, the shortest first, and the running count up to each."""
        held = sorted(bucket for bucket, n in self._counts.items() if n > 0)
        return held, list(accumulate(self._counts[bucket] for bucket in held))

    @property
    def timed(self) -> int:
        """Return how many durations there are."""
        _, upto = self._ranked
        return upto[-1] if upto else 0

    @property
    def total_s(self) -> float:
        """Return their sum."""
        return sum((seconds * n for seconds, n in self.counted()), 0.0)

    def counted(self) -> list[tuple[float, int]]:
        """Return length in seconds and count of each used bucket."""
        held, _ = self._ranked
        return [(seconds_of(bucket), self._counts[bucket]) for bucket in held]

    def percentile_s(self, share: float) -> float:
        """Return a percentile, interpolated as percentile_cont does; `share` is 0 to 1.

        Raises:
            IndexError: there are no durations.
        """
        place = share * (self.timed - 1)
        above = place - floor(place)
        return (1 - above) * self._number(floor(place)) + above * self._number(ceil(place))

    def _number(self, number: int) -> float:
        """Return the duration at a place, from 0."""
        held, upto = self._ranked
        return seconds_of(held[bisect_right(upto, number)])
