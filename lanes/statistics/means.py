"""Bounds of the mean of bounded values that hold at every look, such as the cost of an item.

The empirical-Bernstein confidence sequence with predictable plug-ins of Waudby-Smith and Ramdas (Journal of the Royal
Statistical Society B 86, 2024, theorem 2): each value is weighted by a bet that depends on the values before it alone, larger
where these vary little. Values lie between two known ends, in any unit, and have the same mean given those before them;
nothing else is assumed of them. An end that is chosen by looking at the values voids the guarantee.

Values whose mean changes from step to step have a sequence for each step, and their evidence is multiplied (`join`). The bounds
are then those of a mean of the steps' means: while each of these is beyond a limit, that is too.
"""

from collections.abc import Iterable, Sequence
from math import inf, log, log1p, sqrt
from typing import Self

LARGEST_BET = 0.5


class MeanSequence:
    """The mean of values from `low` to `high` as they come in, with its bounds at a chance of error of `alpha`.

    Values count in the order in which they are added: another order yields other bounds, and each holds.
    """

    def __init__(self, low: float, high: float, *, alpha: float) -> None:
        if not low < high:
            raise ValueError(f"the values need room between {low:g} and {high:g}")
        self._low, self._width, self._alpha = low, high - low, alpha
        self._number = 0
        self._sum = self._deviation = 0.0  # of the values on a scale of 0 to 1
        self._mean, self._variance = 0.5, 0.25  # guessed before each value
        self._bets = self._won = self._penalty = 0.0

    def add(self, values: Iterable[float]) -> Self:
        """Take these values in.

        Raises:
            ValueError: one of them lies outside of the ends.
        """
        for value in values:
            scaled = (value - self._low) / self._width
            if not 0 <= scaled <= 1:
                raise ValueError(f"{value:g} lies outside of its ends")
            self._take(scaled)
        return self

    def join(self, step: "MeanSequence") -> None:
        """Multiply in the evidence of the values of a step, whose mean may be another one, between the same ends."""
        self._number += step._number
        self._sum += step._sum
        self._bets += step._bets
        self._won += step._won
        self._penalty += step._penalty

    @property
    def samples(self) -> int:
        """The number of values."""
        return self._number

    @property
    def value(self) -> float | None:
        """The mean; None without values."""
        return self._low + self._width * self._sum / self._number if self._number else None

    @property
    def bounds(self) -> tuple[float, float]:
        """Bounds that hold the true mean at all looks together with a probability of 1 - alpha."""
        centre, radius = 0.5, inf
        if self._number:
            centre = self._won / self._bets
            radius = (log(2 / self._alpha) + self._penalty) / self._bets
        low, high = max(0.0, centre - radius), min(1.0, centre + radius)
        return self._low + self._width * low, self._low + self._width * high

    def _take(self, value: float) -> None:
        self._number += 1
        bet = sqrt(2 * log(2 / self._alpha) / (self._variance * self._number * log1p(self._number)))
        bet = min(bet, LARGEST_BET)
        self._bets += bet
        self._won += bet * value
        self._penalty += (value - self._mean) ** 2 * (-log1p(-bet) - bet)
        self._sum += value
        self._mean = (0.5 + self._sum) / (self._number + 1)
        self._deviation += (value - self._mean) ** 2
        self._variance = (0.25 + self._deviation) / (self._number + 1)


def capped_bounds(values: Iterable[float], end: float, *, alpha: float) -> tuple[float, float]:
    """Return bounds of the mean of values above 0 of which none counts as more than `end`."""
    return MeanSequence(0.0, end, alpha=alpha).add(min(each, end) for each in values).bounds


def saving_bounds(
    costs: Sequence[float], others: Sequence[float], end: float, *, alpha: float
) -> tuple[float, float]:
    """Return bounds of 1 minus the mean of `costs` over that of the `others`; each mean has half of `alpha`."""
    low, high = capped_bounds(costs, end, alpha=alpha / 2)
    other_low, other_high = capped_bounds(others, end, alpha=alpha / 2)
    return 1 - high / other_low if other_low > 0 else -inf, 1 - low / other_high


def excess_bounds(
    strata: Sequence[tuple[Sequence[float], Sequence[float]]],
    part: float,
    end: float,
    *,
    alpha: float,
) -> tuple[float, float]:
    """Return bounds of the mean by which a cost exceeds `part` times one of the others of the same step, over all steps.

    In each step the first cost is matched with the first of the others and so on, so that costs of different steps, between
    which the split and the hour differ, are never compared. A step bets less than it would alone: several have evidence.
    """
    ends = -part * end, end
    together = MeanSequence(*ends, alpha=alpha)
    for costs, others in strata:
        matched = zip(costs, others, strict=False)  # the longer side has more
        apart = (min(one, end) - part * min(other, end) for one, other in matched)
        together.join(MeanSequence(*ends, alpha=sqrt(2 * alpha)).add(apart))
    return together.bounds
