"""Bounds of a quantile that hold at every look, by shares.

A quantile is at most a limit exactly where the share of values beyond the limit is at most 1 - q. So a limit of a quantile is
judged by that share (`beyond`), and the bounds of a quantile are the values at which the bounds of the share end: of n values
that are independent and alike, the number that is at most the true quantile is a share of q (Darling and Robbins, PNAS 57,
1967; Howard and Ramdas, Bernoulli 28, 2022, who put another boundary around it). Nothing else is assumed of the values.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from math import ceil, floor, inf

from lanes.statistics.shares import SampleShare, excludes


def beyond(values: Sequence[float], limit: float) -> SampleShare:
    """Return the share of the values, sorted upwards, that are larger than `limit`."""
    return SampleShare(len(values) - bisect_right(values, limit), len(values))


def bounds(values: Sequence[float], quantile: float, *, alpha: float) -> tuple[float, float]:
    """Return bounds of a quantile (0 to 1, without the ends) of values that are sorted upwards, in their unit.

    They hold at all looks together with a probability of 1 - alpha, and are infinite where the values are too few.
    """
    number = len(values)

    def is_possible(rank: int) -> bool:
        """Return whether exactly `rank` of the values may lie at or below the true quantile."""
        return not excludes(SampleShare(rank, number), quantile, alpha=alpha)

    lowest = _outermost(is_possible, floor(quantile * number), 0)
    highest = _outermost(is_possible, ceil(quantile * number), number)
    low = values[lowest - 1] if lowest > 0 else -inf
    return low, values[highest] if highest < number else inf


def _outermost(is_possible: Callable[[int], bool], inside: int, outside: int) -> int:
    """Return the last possible rank on the way from `inside`, which is possible, to `outside`."""
    if is_possible(outside):
        return outside
    while abs(outside - inside) > 1:
        middle = (inside + outside) // 2
        inside, outside = (middle, outside) if is_possible(middle) else (inside, middle)
    return inside
