"""The half-life of waiting times that follow an exponential law, some of which have not ended yet (censored).

The most likely rate is the number of waits that ended over the total time of all waits, ended or not
(Epstein and Sobel, JASA 48, 1953). Twice the rate times that time is distributed as chi-square with twice that number of
degrees of freedom; where time ends the look, as here, the bounds with one more end above hold (Garwood, Biometrika 28, 1936).
Unlike the other bounds of this chapter they hold at one look, and only as far as the law does.
"""

from math import inf, log, sqrt
from statistics import NormalDist
from typing import NamedTuple


class Waits(NamedTuple):
    """Waiting times: `ended` of them have ended, and all of them together took `total_s` seconds so far."""

    ended: int
    total_s: float

    @property
    def half_life_s(self) -> float:
        """The most likely time within which half of them end; infinite where none ended."""
        return log(2) * self.total_s / self.ended if self.ended else inf

    def bounds_s(self, *, alpha: float) -> tuple[float, float]:
        """Return bounds of the half-life in seconds, which hold it with a probability of 1 - alpha."""
        twice = 2 * log(2) * self.total_s
        low = twice / chi_square(2 * self.ended + 2, 1 - alpha / 2)
        high = twice / chi_square(2 * self.ended, alpha / 2) if self.ended else inf
        return low, high


def chi_square(freedom: int, below: float) -> float:
    """Return the value below which a chi-square variable lies with that probability, above 0 and below 1.

    By the cube root of Wilson and Hilferty (PNAS 17, 1931): right within 0.1 % for probabilities of 2 to 98 % from 40 degrees
    of freedom on. SciPy's is exact, and takes longer to load than all else that a status needs.
    """
    spread = 2 / (9 * freedom)
    root = 1 - spread + NormalDist().inv_cdf(below) * sqrt(spread)
    return freedom * max(root, spread) ** 3
