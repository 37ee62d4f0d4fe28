"""Two lanes against each other: bounds of a difference, or a ratio, of two shares that hold at every look.

Unpaired samples (`difference_bounds`) are other items on each lane at the same time. Paired ones (`PairedShares`) are the same
items on both. Both are universal inference (Wasserman, Ramdas and Balakrishnan, PNAS 117, 2020): the likelihood of all shares
together, by a uniform mixture, over the largest likelihood that the samples have under any shares whose difference is d. Where
d is the true difference the ratio is at most the mixture over the truth, a martingale, so that by Ville's inequality the
chance that it ever exceeds 1 / alpha is at most alpha. It needs counts alone, holds for any number of items on either lane,
and whatever decides which item goes where, as long as that does not depend on the item's answer.

Two questions are answered more sharply by a share alone. Of pairs, whether one lane is worse (`PairedShares.is_worse`): where
both are alike, an item that is wrong on one lane only is as often wrong on either (McNemar, Psychometrika 12, 1947), which is a
share of one half. Of other items, how many times as often those of a lane are wrong (`ratio_bounds`): of all wrong items the
share that was moved follows from that and from the share of the split, which must be known and stay the same (the conditional
test of Przyborowski and Wilenski, Biometrika 31, 1940). It holds also where both lanes are worse at some hours than at others,
which the difference does not.
"""

from collections.abc import Callable
from math import inf, lgamma, log
from typing import NamedTuple

from lanes.statistics.shares import (
    STEPS,
    SampleShare,
    bounds,
    is_above,
    log_likelihood,
    log_mixture,
)

GOLDEN = (5**0.5 - 1) / 2


def is_larger(of: SampleShare, than: SampleShare, *, by: float, alpha: float) -> bool:
    """Return whether the true share `of` surely exceeds that of `than` by more than `by`, -1 to 1."""
    return _observed(of, than) > by and _excludes(of, than, by, alpha=alpha)


def is_smaller(of: SampleShare, than: SampleShare, *, by: float, alpha: float) -> bool:
    """Return whether the true share `of` surely exceeds that of `than` by less than `by`, -1 to 1."""
    return is_larger(than, of, by=-by, alpha=alpha)


def difference_bounds(of: SampleShare, than: SampleShare, *, alpha: float) -> tuple[float, float]:
    """Return bounds of the true share `of` minus that of `than`, at all looks with a probability of 1 - alpha."""
    if of.samples <= 0 or than.samples <= 0:
        return -1.0, 1.0
    return _edges(_observed(of, than), lambda each: _excludes(of, than, each, alpha=alpha))


def ratio_bounds(
    wrong: int, others_wrong: int, *, portion: float, alpha: float
) -> tuple[float, float]:
    """Return bounds of how many times as often the items of a lane are wrong as those of the other, at all looks.

    `portion` of the items, above 0 and below 1, were sent down the lane by chance; `wrong` of them and `others_wrong` of the
    others are wrong. The upper bound is infinite where nothing else is wrong.
    """
    of_wrong = SampleShare(wrong, wrong + others_wrong)
    low, high = (
        each * (1 - portion) / ((1 - each) * portion) if each < 1 else inf
        for each in bounds(of_wrong, alpha=alpha)
    )
    return low, high


class PairedShares(NamedTuple):
    """Items that went down both lanes: how many are wrong on the one only, on the `other` only, and alike on both."""

    one: int
    other: int
    alike: int

    @property
    def samples(self) -> int:
        """The number of pairs."""
        return self.one + self.other + self.alike

    @property
    def difference(self) -> float | None:
        """The share that is wrong on the one lane minus that on the other; None without pairs."""
        return (self.one - self.other) / self.samples if self.samples else None

    def is_worse(self, *, alpha: float) -> bool:
        """Return whether the one lane is surely more often wrong than the other."""
        return is_above(SampleShare(self.one, self.one + self.other), 0.5, alpha=alpha)

    def bounds(self, *, alpha: float) -> tuple[float, float]:
        """Return bounds of the true difference, at all looks together with a probability of 1 - alpha."""
        difference = self.difference
        if difference is None:
            return -1.0, 1.0
        return _edges(difference, lambda each: self._excludes(each, alpha=alpha))

    def _excludes(self, difference: float, *, alpha: float) -> bool:
        # the mean likelihood over all shares of the three kinds: a Dirichlet integral, of density 2
        mixture = log(2) - lgamma(self.samples + 3)
        mixture += sum(lgamma(count + 1) for count in self)

        def likelihood(other: float) -> float:
            shares = (other + difference, other, 1 - 2 * other - difference)
            return sum(_times_log(count, share) for count, share in zip(self, shares, strict=True))

        most = _largest(likelihood, max(0.0, -difference), (1 - difference) / 2)
        return mixture - most >= -log(alpha)


def _observed(of: SampleShare, than: SampleShare) -> float:
    return (of.value or 0.0) - (than.value or 0.0)


def _excludes(of: SampleShare, than: SampleShare, difference: float, *, alpha: float) -> bool:
    def likelihood(share: float) -> float:
        return log_likelihood(of, min(1.0, share + difference)) + log_likelihood(than, share)

    most = _largest(likelihood, max(0.0, -difference), min(1.0, 1 - difference))
    return log_mixture(of) + log_mixture(than) - most >= -log(alpha)


def _times_log(count: int, share: float) -> float:
    if not count:
        return 0.0
    return count * log(share) if share > 0 else -inf


def _largest(function: Callable[[float], float], low: float, high: float) -> float:
    """Return the largest value of a concave function, by golden sections."""
    left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    at_left, at_right = function(left), function(right)
    for _ in range(STEPS):
        if at_left < at_right:
            low, left, at_left = left, right, at_right
            right = low + GOLDEN * (high - low)
            at_right = function(right)
        else:
            high, right, at_right = right, left, at_left
            left = high - GOLDEN * (high - low)
            at_left = function(left)
    return max(at_left, at_right)


def _edges(inside: float, is_excluded: Callable[[float], bool]) -> tuple[float, float]:
    """Return where differences become possible on the way from -1 and from 1 to the observed one."""

    def edge(outside: float) -> float:
        possible = inside
        for _ in range(STEPS):
            middle = (outside + possible) / 2
            outside, possible = (middle, possible) if is_excluded(middle) else (outside, middle)
        return outside

    return edge(-1.0), edge(1.0)
