"""Bounds of a share and of a mean that hold at every look, unlike ordinary intervals, which err more often with every look.

A share: Robbins' mixture martingale for coins (Annals of Mathematical Statistics 41, 1970). With a uniform mixture, the
likelihood of all shares together over that of one share p is B(1 + x, 1 + n - x) / (p^x (1 - p)^(n - x)), after n samples with
x hits. If p is the true share, then by Ville's inequality the chance that this ratio ever exceeds 1 / alpha is at most alpha.
So the shares for which it has not exceeded 1 / alpha form a confidence sequence. Samples must be independent with the same
share, and a sample must not depend on whether another look follows. Each look has bounds of its own. They are not intersected
with those of earlier looks: if the share drifts, the intersection becomes too narrow and finally empty.

A mean of bounded values, such as the cost of an item: the empirical-Bernstein confidence sequence with predictable plug-ins of
Waudby-Smith and Ramdas (Journal of the Royal Statistical Society B 86, 2024, theorem 2). Each value is weighted by a bet that
depends only on the values before it and is larger where these vary little. Values lie between two known ends, in any unit, and
have the same mean given the previous values; there is no other assumption. An end that is chosen after seeing the values voids
the guarantee. If the mean changes from step to step, each step has a sequence of its own and their evidence is multiplied
(`join`). The bounds are then those of a mean of the steps' means: while each of these is beyond a limit, the mean is too.
"""

from collections.abc import Iterable, Sequence
from math import exp, inf, lgamma, log, log1p, sqrt
from typing import NamedTuple, Self

STEPS = 40  # bisections of the interval from 0 to 1
LARGEST_BET = 0.5


class SampleShare(NamedTuple):
    """The number of hits among `samples`."""

    hits: int
    samples: int

    @property
    def value(self) -> float | None:
        """Return the share, 0 to 1; None without samples."""
        return self.hits / self.samples if self.samples else None


NOTHING = SampleShare(0, 0)


def log_likelihood(sample: SampleShare, share: float) -> float:
    """Return the logarithm of p^hits (1 - p)^misses; minus infinity if the likelihood is 0."""
    misses = sample.samples - sample.hits
    if (sample.hits and share <= 0) or (misses and share >= 1):
        return -inf
    return (sample.hits * log(share) if sample.hits else 0.0) + (
        misses * log(1 - share) if misses else 0.0
    )


def log_mixture(sample: SampleShare) -> float:
    """Return the logarithm of the mean likelihood over all shares from 0 to 1."""
    return (
        lgamma(sample.hits + 1)
        + lgamma(sample.samples - sample.hits + 1)
        - lgamma(sample.samples + 2)
    )


def excludes(sample: SampleShare, share: float, *, alpha: float) -> bool:
    """Return whether `share`, 0 to 1, lies outside the `bounds`."""
    return log_mixture(sample) - log_likelihood(sample, share) >= -log(alpha)


def is_above(sample: SampleShare, share: float, *, alpha: float) -> bool:
    """Return whether the true share is surely larger than `share`: whether the lower bound exceeds it."""
    return sample.hits > share * sample.samples and excludes(sample, share, alpha=alpha)


def is_below(sample: SampleShare, share: float, *, alpha: float) -> bool:
    """Return whether the true share is surely smaller than `share`: whether the upper bound is below it."""
    return sample.hits < share * sample.samples and excludes(sample, share, alpha=alpha)


def confidence_below(sample: SampleShare, share: float) -> float:
    """Return the confidence, 0 to 1, that the true share is smaller than `share`: 1 - alpha of `is_below`."""
    if sample.hits >= share * sample.samples:
        return 0.0
    return max(0.0, 1 - exp(log_likelihood(sample, share) - log_mixture(sample)))


def bounds(sample: SampleShare, *, alpha: float) -> tuple[float, float]:
    """Return bounds that contain the true share, 0 to 1, at all looks together with a probability of 1 - alpha."""
    if sample.samples <= 0:
        return 0.0, 1.0
    misses, whole = sample.samples - sample.hits, sample.hits / sample.samples

    def edge(outside: float) -> float:
        """Return the first possible share on the way from `outside` to the observed share."""
        inside = whole
        for _ in range(STEPS):
            middle = (outside + inside) / 2
            outside, inside = (
                (middle, inside) if excludes(sample, middle, alpha=alpha) else (outside, middle)
            )
        return outside

    return (edge(0.0) if sample.hits else 0.0), (edge(1.0) if misses else 1.0)


def clean_samples(share: float, *, alpha: float, hits: int = 0) -> int:
    """Return the fewest samples with this number of `hits` for which the true share is surely smaller than `share`, above 0.

    It is the fewest samples for which `is_below` can be true.
    """
    few, many = hits, hits + 1
    while not is_below(SampleShare(hits, many), share, alpha=alpha):
        few, many = many, 2 * many
    while many - few > 1:
        middle = (few + many) // 2
        if is_below(SampleShare(hits, middle), share, alpha=alpha):
            many = middle
        else:
            few = middle
    return many


class MeanSequence:
    """The mean of a sequence of values from `low` to `high`, with bounds that err with a probability of at most `alpha`.

    The order of the values matters: another order yields other bounds, which are equally valid.
    """

    def __init__(self, low: float, high: float, *, alpha: float) -> None:
        if not low < high:
            raise ValueError(f"the values need room between {low:g} and {high:g}")
        self._low, self._width, self._alpha = low, high - low, alpha
        self._number = 0
        self._sum = self._deviation = 0.0  # of the values, scaled to 0 to 1
        self._mean, self._variance = 0.5, 0.25  # predictions before each value
        self._bets = self._won = self._penalty = 0.0

    def add(self, values: Iterable[float]) -> Self:
        """Add these values.

        Raises:
            ValueError: a value lies outside the ends.
        """
        for value in values:
            scaled = (value - self._low) / self._width
            if not 0 <= scaled <= 1:
                raise ValueError(f"{value:g} lies outside of its ends")
            self._take(scaled)
        return self

    def join(self, step: "MeanSequence") -> None:
        """Multiply in the evidence of another step; its values lie between the same ends but may have another mean."""
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
        """The mean of the values; None without values."""
        return self._low + self._width * self._sum / self._number if self._number else None

    @property
    def bounds(self) -> tuple[float, float]:
        """Bounds that contain the true mean at all looks together with a probability of 1 - alpha."""
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
    """Return bounds of the mean of values above 0, each capped at `end`."""
    return MeanSequence(0.0, end, alpha=alpha).add(min(each, end) for each in values).bounds


def saving_bounds(
    costs: Sequence[float], others: Sequence[float], end: float, *, alpha: float
) -> tuple[float, float]:
    """Return bounds of 1 minus the mean of `costs` over the mean of `others`; each mean gets half of `alpha`."""
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
    """Return bounds of the mean excess of a cost over `part` times another cost of the same step, across all steps.

    In each step the first cost is paired with the first of the others, and so on, so that costs of different steps, which
    differ in split and hour, are never compared. Each step bets less than it would alone, because several steps contribute
    evidence.
    """
    ends = -part * end, end
    together = MeanSequence(*ends, alpha=alpha)
    for costs, others in strata:
        matched = zip(costs, others, strict=False)  # the longer side has unpaired costs
        apart = (min(one, end) - part * min(other, end) for one, other in matched)
        together.join(MeanSequence(*ends, alpha=sqrt(2 * alpha)).add(apart))
    return together.bounds
