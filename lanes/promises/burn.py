"""Burn rates: how many times faster than allowed a share of bad samples spends its error budget, in several windows.

The alerts are those of the SRE workbook (Google, 2018, chapter 5, table 5-8): 14.4 times the budget over 1 h and 5 min, 6 times
over 6 h and 30 min, once over 3 d and 6 h. The long window shows that much is spent, the short one that it still is. The
workbook's windows belong to budgets of 0.1 %, of which a total outage spends 2 % within a minute. A budget of 5 % would let the
outage last for 43 minutes, so each alert has two shorter windows: a twelfth and about a sixtieth of its long one.

No window counts without proof: the lower bound of its share (`lanes.statistics.shares`) lies above the budget. The bound of
samples from one minute on holds at all looks together, whatever the window is called (Ville's inequality, 1939). Each minute
begins one such series of samples. So while the true share is at most the budget, a false alarm has a probability of at most
43,200 x `UNPROVED` = 0.43 in 30 days, or 0.015 a day, however often the promise is looked at; at half of the budget
the simulation of tests/benchmarks/watch_burn.py finds none.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

from lanes.promises.assessment import LEAST_HITS, chance_of_so_few
from lanes.statistics.shares import NOTHING, SampleShare, is_above
from lanes.words import Verdict

# probability that the samples from one minute on ever prove a share that is not there
UNPROVED = 1e-5
MISTAKEN = 0.05  # probability of an end that is not there, in 3 days of one window
WINDOWS = tuple(timedelta(minutes=each) for each in (1, 5, 30, 60, 360, 4320))
NAMES = ("minute", "5 minutes", "30 minutes", "hour", "6 hours", "3 days")
SHORT = (0, 0, 0, 1, 2, 4)  # for each window the place of the one that shows that it still burns
RECENT, LONGEST_END = 2, 4  # places: the window of quiet, and the longest one that ends an incident
NO_WINDOWS = (NOTHING,) * len(WINDOWS)
NEARLY_ALL = 1 - 1e-9
FAST = 6  # the least burn rate that is critical


class BurnAlert(NamedTuple):
    """A burn rate, and the places of its windows."""

    rate: float
    places: tuple[int, ...]


ALERTS = (BurnAlert(14.4, (0, 1, 3)), BurnAlert(FAST, (1, 2, 4)), BurnAlert(1, (3, 4, 5)))


class BurnVerdict(NamedTuple):
    """A verdict with the window that it rests on; `fast` is None without a breach."""

    verdict: Verdict
    place: int
    fast: bool | None = None


def threshold(rate: float, budget: float) -> float:
    """Return the share that burns a budget at this rate; at most halfway from the budget to everything."""
    return round(min(rate * budget, (1 + budget) / 2), 12)


def burning(windows: Sequence[SampleShare], budget: float) -> BurnVerdict:
    """Judge the shares of `WINDOWS` by their error budget, 0 to 1; 0 promises nothing, and 1 is never exceeded.

    A window burns no longer once a shorter one proves a smaller share that is within the budget. The promise is kept once one
    of up to 6 hours proves a share below the budget.
    """
    if budget <= 0 or budget >= 1:
        return BurnVerdict(Verdict.PASSED, RECENT)
    for alert in ALERTS:
        least = threshold(alert.rate, budget)
        for place in alert.places:
            seen, short = windows[place], windows[SHORT[place]]
            lasts = not short.samples or short.hits >= least * short.samples
            burns = lasts and seen.hits >= max(LEAST_HITS, least * seen.samples)
            if burns and is_above(seen, budget, alpha=UNPROVED):
                burned = min(seen.hits / seen.samples, NEARLY_ALL)
                if _below(windows[:place], budget, burned) is None:
                    return BurnVerdict(Verdict.FAILED, place, alert.rate >= FAST)
    healthy = _below(windows[: LONGEST_END + 1], budget, budget)
    if healthy is not None:
        return BurnVerdict(Verdict.PASSED, healthy)
    return BurnVerdict(Verdict.INCONCLUSIVE, RECENT)


def _below(windows: Sequence[SampleShare], budget: float, share: float) -> int | None:
    """Return the place of the first window that proves less than `share`, if each up to it is within the budget.

    Its exact upper bound (Clopper-Pearson) lies below, at a level divided by the number of such windows in 3 days.
    """
    for place, seen in enumerate(windows):
        if not seen.samples:
            continue
        if seen.hits >= budget * seen.samples:
            return None
        if chance_of_so_few(seen, share) <= MISTAKEN * (WINDOWS[place] / WINDOWS[-1]):
            return place
    return None
