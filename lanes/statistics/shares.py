"""Bounds of a share that hold at every look; ordinary intervals err more often the more often one looks.

The mixture martingale of Robbins (Annals of Mathematical Statistics 41, 1970) for coins: with a uniform mixture the likelihood
of all shares together over that of one share p is B(1 + x, 1 + n - x) / (p^x (1 - p)^(n - x)), after n samples of which x are
hits. By Ville's inequality the chance that it ever exceeds 1 / alpha is at most alpha where p is the true share, so the
shares for which it has not are a confidence sequence. Samples are independent and have the same share, and it must not
matter for a sample whether the next look comes.

The bounds of each look stand alone. Those of earlier looks are not intersected with them: where the share drifts, the
intersection becomes too narrow, and at last empty.
"""

from math import exp, inf, lgamma, log
from typing import NamedTuple

STEPS = 40  # halvings of the interval from 0 to 1


class SampleShare(NamedTuple):
    """The number of hits among `samples`."""

    hits: int
    samples: int

    @property
    def value(self) -> float | None:
        """Return the share, 0 to 1; None without samples."""
        return self.hits / self.samples if self.samples else None


NOTHING = SampleShare(0, 0)


def log_likelihood(of: SampleShare, share: float) -> float:
    """Return the logarithm of p^hits (1 - p)^misses; minus infinity where that is 0."""
    misses = of.samples - of.hits
    if (of.hits and share <= 0) or (misses and share >= 1):
        return -inf
    return (of.hits * log(share) if of.hits else 0.0) + (misses * log(1 - share) if misses else 0.0)


def log_mixture(of: SampleShare) -> float:
    """Return the logarithm of the likelihood's mean over all shares from 0 to 1."""
    return lgamma(of.hits + 1) + lgamma(of.samples - of.hits + 1) - lgamma(of.samples + 2)


def excludes(of: SampleShare, share: float, *, alpha: float) -> bool:
    """Return whether `share`, 0 to 1, lies outside of the `bounds`."""
    return log_mixture(of) - log_likelihood(of, share) >= -log(alpha)


def is_above(of: SampleShare, share: float, *, alpha: float) -> bool:
    """Return whether the true share is surely larger than `share`: the lower bound is."""
    return of.hits > share * of.samples and excludes(of, share, alpha=alpha)


def is_below(of: SampleShare, share: float, *, alpha: float) -> bool:
    """Return whether the true share is surely smaller than `share`: the upper bound is."""
    return of.hits < share * of.samples and excludes(of, share, alpha=alpha)


def confidence_below(of: SampleShare, share: float) -> float:
    """Return the confidence, 0 to 1, with which the true share is smaller than `share`: 1 - alpha of `is_below`."""
    if of.hits >= share * of.samples:
        return 0.0
    return max(0.0, 1 - exp(log_likelihood(of, share) - log_mixture(of)))


def bounds(of: SampleShare, *, alpha: float) -> tuple[float, float]:
    """Return bounds that hold the true share, 0 to 1, at all looks together with a probability of 1 - alpha."""
    if of.samples <= 0:
        return 0.0, 1.0
    misses, whole = of.samples - of.hits, of.hits / of.samples

    def edge(outside: float) -> float:
        """Return where shares become possible on the way from `outside` to the observed share."""
        inside = whole
        for _ in range(STEPS):
            middle = (outside + inside) / 2
            outside, inside = (
                (middle, inside) if excludes(of, middle, alpha=alpha) else (outside, middle)
            )
        return outside

    return (edge(0.0) if of.hits else 0.0), (edge(1.0) if misses else 1.0)


def clean_samples(share: float, *, alpha: float, hits: int = 0) -> int:
    """Return how many samples with so few `hits` show that the true share is smaller than `share`, above 0.

    It is the fewest samples with which `is_below` can be true.
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
