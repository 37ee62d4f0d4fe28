"""Bounds of a share that hold at every look; ordinary intervals err more often the more often one looks.

The mixture martingale of Robbins (Annals of Mathematical Statistics 41, 1970) for coins: with a uniform mixture the likelihood
of all shares together over that of one share p is B(1 + x, 1 + n - x) / (p^x (1 - p)^(n - x)), after n samples of which x are
hits. By Ville's inequality the chance that it ever exceeds 1 / alpha is at most alpha where p is the true share, so the
shares for which it has not are a confidence sequence.
"""

from math import lgamma, log
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


def excludes(of: SampleShare, share: float, *, alpha: float) -> bool:
    """Return whether `share`, between 0 and 1, lies outside of the `bounds`."""
    misses = of.samples - of.hits
    mixture = lgamma(of.hits + 1) + lgamma(misses + 1) - lgamma(of.samples + 2)
    likelihood = (of.hits * log(share) if of.hits else 0.0) + (
        misses * log(1 - share) if misses else 0.0
    )
    return mixture - likelihood >= -log(alpha)


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
