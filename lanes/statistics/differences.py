"""Differences of shares, valid under continuous looking: between two lanes (`difference_bounds`) and over time (`detect`).

Unpaired samples (`difference_bounds`) are different items on each lane at the same time. Paired samples (`PairedShares`) are
the same items on both. Both tests are universal inference (Wasserman, Ramdas and Balakrishnan, PNAS 117, 2020): the likelihood
of the samples, averaged over all shares by a uniform mixture, is divided by their largest likelihood under any shares whose
difference is d. If d is the true difference, the ratio is at most the mixture over the true likelihood. This is a martingale,
so by Ville's inequality the chance that the ratio ever exceeds 1 / alpha is at most alpha. The test needs only counts. It holds
for any number of items on either lane and for any assignment of items to lanes that does not depend on an item's answer.

Samples of several steps (`Strata`), which differ in split and hour, are never pooled: the two lanes' items would come from
different hours, and a difference between the hours would count as a difference between the lanes (Simpson's paradox). Every
step has its own shares. The bounded value is the mean of the steps' differences, each weighted by the step's samples on the
first lane. Half of the mixture assumes separate shares for each step, half assumes shares that all steps have in common, which
is more likely if they do.

For pairs, a single share tells more precisely whether one lane is worse (`PairedShares.is_worse`): if the lanes are alike, an
item that is wrong on only one lane is equally often wrong on either (McNemar, Psychometrika 12, 1947), a share of one half.
"""

from collections.abc import Callable, Collection, Sequence
from itertools import accumulate
from math import exp, inf, lgamma, log, log1p, sqrt
from typing import NamedTuple

from lanes.statistics.shares import STEPS, SampleShare, is_above, log_likelihood, log_mixture

GOLDEN = (5**0.5 - 1) / 2
# For each step, the share on the first lane and on the other.
Strata = Sequence[tuple[SampleShare, SampleShare]]


def is_larger(
    of: SampleShare, than: SampleShare, *, by: float, alpha: float, before: Strata = ()
) -> bool:
    """Return whether the true share `of` surely exceeds that of `than` by more than `by`, above -1 and below 1.

    With earlier steps (`before`), the comparison is of the mean difference of all steps.
    """
    strata = _comparable(of, than, before)
    return (
        bool(strata) and compute_mean_difference(strata) > by and _excludes(strata, by, alpha=alpha)
    )


def is_smaller(
    of: SampleShare, than: SampleShare, *, by: float, alpha: float, before: Strata = ()
) -> bool:
    """Return whether the true share `of` surely exceeds that of `than` by less than `by`; see `is_larger`."""
    strata = _comparable(of, than, before)
    return (
        bool(strata) and compute_mean_difference(strata) < by and _excludes(strata, by, alpha=alpha)
    )


def difference_bounds(
    of: SampleShare, than: SampleShare, *, alpha: float, before: Strata = ()
) -> tuple[float, float]:
    """Return bounds of the true share `of` minus that of `than`, which hold at all looks with a probability of 1 - alpha.

    With earlier steps (`before`), the bounds are of the mean difference of all steps.
    """
    strata = _comparable(of, than, before)
    if not strata:
        return -1.0, 1.0
    return _edges(
        compute_mean_difference(strata), lambda each: _excludes(strata, each, alpha=alpha)
    )


def compute_mean_difference(strata: Strata) -> float:
    """Return the mean difference of both lanes, each step weighted by its samples on the first lane."""
    number = sum(of.samples for of, _ in strata)
    return sum(of.hits - of.samples * (than.value or 0.0) for of, than in strata) / number


class PairedShares(NamedTuple):
    """Items with answers of both lanes: the number wrong only on `one`, only on the `other`, and equally right or wrong."""

    one: int
    other: int
    alike: int

    @property
    def samples(self) -> int:
        """The number of pairs."""
        return self.one + self.other + self.alike

    @property
    def difference(self) -> float | None:
        """The share wrong on `one` lane minus the share wrong on the `other`; None without pairs."""
        return (self.one - self.other) / self.samples if self.samples else None

    def is_worse(self, *, alpha: float) -> bool:
        """Return whether the lane `one` is surely more often wrong than the other."""
        return is_above(SampleShare(self.one, self.one + self.other), 0.5, alpha=alpha)

    def bounds(self, *, alpha: float) -> tuple[float, float]:
        """Return bounds of the true difference, which hold at all looks together with a probability of 1 - alpha."""
        difference = self.difference
        if difference is None:
            return -1.0, 1.0
        return _edges(difference, lambda each: self._excludes(each, alpha=alpha))

    def _excludes(self, difference: float, *, alpha: float) -> bool:
        # The mean likelihood over all shares of the three kinds: a Dirichlet integral of density 2.
        mixture = log(2) - lgamma(self.samples + 3)
        mixture += sum(lgamma(count + 1) for count in self)

        def likelihood(other: float) -> float:
            shares = (other + difference, other, 1 - 2 * other - difference)
            return sum(_times_log(count, share) for count, share in zip(self, shares, strict=True))

        most = _largest(likelihood, max(0.0, -difference), (1 - difference) / 2)
        return mixture - most >= -log(alpha)


def _comparable(of: SampleShare, than: SampleShare, before: Strata) -> Strata:
    """Return the steps that have samples on both lanes."""
    return [each for each in (*before, (of, than)) if each[0].samples and each[1].samples]


def _excludes(strata: Strata, difference: float, *, alpha: float) -> bool:
    lanes = [[*each] for each in zip(*strata, strict=True)]
    apart = sum(log_mixture(each) for lane in lanes for each in lane)
    alike = sum(log_mixture(SampleShare(*map(sum, zip(*lane, strict=True)))) for lane in lanes)
    mixture = max(apart, alike) + log((1 + exp(-abs(apart - alike))) / 2)
    return mixture - _most_likely(strata, difference) >= -log(alpha)


def _most_likely(strata: Strata, difference: float) -> float:
    """Return the largest log-likelihood of any shares with this mean difference, above -1 and below 1.

    The value is the Lagrange dual: the same force pulls each share until their mean difference is the given one. An
    inexact force yields a larger value, never a smaller one.
    """
    number = sum(sample.samples for sample, _ in strata)
    sides = [
        (each, weight * pair[0].samples / number)
        for pair in strata
        for each, weight in zip(pair, (1, -1), strict=True)
    ]

    def excess(force: float) -> float:
        return (
            sum(weight * _pull_share(sample, force * weight) for sample, weight in sides)
            - difference
        )

    sign = 1 if excess(0.0) > 0 else -1
    weak, strong = 0.0, float(sign)
    while sign * excess(strong) > 0:
        weak, strong = strong, 2 * strong
    for _ in range(STEPS // 2):  # the likelihood's error is the square of the force's error
        middle = (weak + strong) / 2
        weak, strong = (middle, strong) if sign * excess(middle) > 0 else (weak, middle)
    likely = sum(
        log_likelihood(sample, _pull_share(sample, strong * weight)) for sample, weight in sides
    )
    return likely - strong * excess(strong)


def _pull_share(sample: SampleShare, force: float) -> float:
    """Return the share p with the largest log-likelihood minus `force` times p."""
    misses = sample.samples - sample.hits
    if force < 0:
        return 1 - _pull_share(SampleShare(misses, sample.samples), -force)
    root = sqrt((sample.samples - force) ** 2 + 4 * force * misses)
    return 2 * sample.hits / (sample.samples + force + root)


def _times_log(count: int, share: float) -> float:
    if not count:
        return 0.0
    return count * log(share) if share > 0 else -inf


def _largest(function: Callable[[float], float], low: float, high: float) -> float:
    """Return the largest value of a concave function, by golden-section search."""
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
    """Return the first possible differences on the way from -1 and from 1 to the observed one."""

    def edge(outside: float) -> float:
        possible = inside
        for _ in range(STEPS):
            middle = (outside + possible) / 2
            outside, possible = (middle, possible) if is_excluded(middle) else (outside, middle)
        return outside

    return edge(-1.0), edge(1.0)


# The number of squared standard deviations below which an e-process is left out of the sum, which only lowers the sum.
NEGLIGIBLE = 6
SPREAD = 20  # the prior weight, in items, of the half around the previous share: fewer items make it wider


class Shift(NamedTuple):
    """A class whose share has changed: the first portion of the change, and the class's shares before and since."""

    portion: int
    place: int
    before: SampleShare
    since: SampleShare


def log_e_value(before: SampleShare, since: SampleShare, *, classes: int) -> float:
    """Return the logarithm of the evidence that the share of one of `classes` classes has changed from `before` to `since`."""
    misses, missed = before.samples - before.hits, since.samples - since.hits
    hits_prior, misses_prior = before.hits + 1, misses + classes - 1
    near = SPREAD / (hits_prior + misses_prior)
    little = _log_odds(near * hits_prior, near * misses_prior, since.hits, missed)
    much = _log_odds(1, 1, since.hits, missed)
    changed = max(little, much) + log1p(exp(-abs(little - much))) - log(2)
    return changed - _log_odds(hits_prior, misses_prior, since.hits, missed)


def detect(
    portions: Sequence[Sequence[int]], watched: Collection[int], *, rises: bool = False
) -> tuple[float, Shift | None]:
    """Return the logarithm of the detector's sum and the most likely shift, from counts by class in order of arrival.

    Each look adds an e-process that starts with it, and raises an alarm once their sum reaches a threshold (an e-detector
    of the Shiryaev-Roberts kind: Shin, Ramdas and Rinaldo, New England Journal of Statistics in Data Science 2, 2024). While
    nothing changes, the sum grows by at most 1 a look on average, so that with a threshold of A a false alarm comes after
    A looks on average, or later. This holds for any number of items in a look, and also where earlier starts are dropped
    (`find_merge`), which lowers the sum.

    The shares before a change are counted, not known. An e-process divides the probability of the counts since its start
    under a mixture of shares, half of it around the previous share and half anywhere, by their probability given the earlier
    counts alone (the Dirichlet-multinomial predictive of a uniform prior). Its mean is 1 over all shares that the prior
    allows, each equally likely; a simulation in the tests shows how rare false alarms are for single shares. All counts
    before a start are its reference, so the test becomes more sensitive with time.

    The first portion is the reference. `watched` holds the positions of the classes that may shift; with `rises`, only
    upward shifts count.
    """
    classes, whole = len(portions[0]), [sum(each) for each in portions]
    upto = [list(accumulate(each)) for each in (whole, *zip(*portions, strict=True))]
    found, largest, best = list[float](), -inf, None
    for place in watched:
        counted = upto[place + 1]
        for portion in range(1, len(portions)):
            samples, hits = upto[0][portion - 1], counted[portion - 1]
            sampled, hit = upto[0][-1] - samples, counted[-1] - hits
            usual = (hits + 1) / (samples + classes)
            surplus = hit - sampled * usual
            deviation = sampled * usual * (1 - usual) * (1 + sampled / samples)
            if surplus * surplus < NEGLIGIBLE * deviation or (rises and surplus < 0):
                continue
            before, since = SampleShare(hits, samples), SampleShare(hit, sampled)
            found.append(log_e_value(before, since, classes=classes))
            if found[-1] > largest:
                largest, best = found[-1], Shift(portion, place, before, since)
    if not found:
        return -inf, None
    return largest + log(sum(exp(each - largest) for each in found) / len(watched)), best


def find_merge(sizes: Sequence[int], *, most: int) -> int | None:
    """Return the portion to merge with the next one, or None: at most `most` remain, and the newest stay the finest.

    The reference, which is the first portion, is never merged.
    """
    if len(sizes) <= most:
        return None
    since = list(accumulate(reversed(sizes)))[::-1]
    return min(range(1, len(sizes) - 2), key=lambda each: since[each] / since[each + 2])


def _log_odds(hits_prior: float, misses_prior: float, hits: int, misses: int) -> float:
    """Return the logarithm of the probability of a sequence of hits and misses under a beta prior."""
    prior, items = hits_prior + misses_prior, hits + misses
    return (
        lgamma(hits_prior + hits)
        - lgamma(hits_prior)
        + lgamma(misses_prior + misses)
        - lgamma(misses_prior)
        - lgamma(prior + items)
        + lgamma(prior)
    )
