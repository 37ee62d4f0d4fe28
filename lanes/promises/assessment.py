"""Assessments of promises: kept, broken or undecided, with the figures and a sentence that explains them; and burn rates.

Too little evidence neither breaks a promise nor keeps it: an open incident stays open until a measurement ends it.

A burn rate is the factor by which a share of bad samples spends its error budget faster than allowed; it is measured in several
windows. The alerts are those of the SRE workbook (Google, 2018, chapter 5, table 5-8): 14.4 times the budget over 1 h and 5
min, 6 times over 6 h and 30 min, once over 3 d and 6 h. The long window shows that much of the budget is spent, the short
window that the burn continues. The workbook's windows are made for budgets of 0.1 %, of which a total outage spends 2 % within
a minute. With a budget of 5 % the outage could last for 43 minutes, so each alert has two shorter windows: a twelfth and about
a sixtieth of its long one.

A window counts only with proof: the lower bound of its share (`lanes.statistics.shares`) must lie above the budget. The bound
of a series of samples that starts with one minute holds at all looks together, in every window (Ville's inequality, 1939). Each
minute starts one such series. So while the true share is at most the budget, a false alarm has a probability of at most 43,200
x `UNPROVED` = 0.43 in 30 days, or 0.015 a day, however often the promise is assessed; at half of the budget the simulation of
tests/benchmarks/watch_burn.py finds no false alarm.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from math import exp, lgamma, log
from typing import Any, NamedTuple, Self
from uuid import UUID

from lanes.promises.incident import TERMS, Promise, Severity
from lanes.statistics.shares import NOTHING, SampleShare, excludes, is_above
from lanes.words import Lane, Verdict

# probability that a share at its limit breaks a promise, however often it is assessed
FALSE_ALARM = 0.01
TOO_SURE = 0.05  # a share is below its limit if a share at the limit would give so few hits with at most this probability
LEAST_HITS = 5  # fewest hits of a breach: attempts at the same item are alike and count as one
# samples without a hit that end an incident of batches, where elapsed time proves nothing
LEAST_CLEAN = 20
STAYS = timedelta(minutes=15)  # minimum duration of a share's incident, against flapping
STAYS_DOUBTFUL = timedelta(hours=2)  # the same if it ends without hits among few samples
NOWHERE = frozenset[Lane]()
REALTIME, BATCH = frozenset({Lane.REALTIME}), frozenset({Lane.BATCH})
SHARES = frozenset(
    {
        Promise.BATCH_FAILING,
        Promise.BATCH_INVALID,
        Promise.REALTIME_SLOW,
        Promise.REALTIME_FAILING,
        Promise.DEADLINE_MISSED,
        Promise.ROUTING_SHIFTED,
        Promise.GUARDS_FIRE,
    }
)
# probability that a series of samples, from one minute on, ever falsely proves a share
UNPROVED = 1e-5
MISTAKEN = 0.05  # probability of a false end, in 3 days of one window
WINDOWS = tuple(timedelta(minutes=each) for each in (1, 5, 30, 60, 360, 4320))
NAMES = ("minute", "5 minutes", "30 minutes", "hour", "6 hours", "3 days")
# for each window, the index of the window that shows whether it still burns
SHORT = (0, 0, 0, 1, 2, 4)
# indices: the window that shows quiet, and the longest window that ends an incident
RECENT, LONGEST_END = 2, 4
NO_WINDOWS = (NOTHING,) * len(WINDOWS)
NEARLY_ALL = 1 - 1e-9
FAST = 6  # the least burn rate that is critical


@dataclass(frozen=True)
class Assessment:
    """An assessed promise; `value` and `limit` are in the promise's unit, `subject` is empty or such as "batch 41".

    `standstill` has the lanes that must all stand still to explain the breach; empty if no outage explains it. `quiet` is true
    if no bad sample was observed and failed items are not the reason for that. `why` is the cause that a run encountered
    instead of measuring, `flow_run_id` is that run, and `block_id` the block concerned. `fast` is true if an error budget burns
    so fast that the breach is critical; if it is None, the multiple of the limit decides.
    """

    promise: Promise
    workload: str
    verdict: Verdict
    value: float
    limit: float
    samples: int
    sentence: str
    subject: str = ""
    standstill: frozenset[Lane] = NOWHERE
    quiet: bool = False
    why: str | None = None
    flow_run_id: UUID | None = None
    block_id: UUID | None = None
    fast: bool | None = None

    @classmethod
    def breach(
        cls,
        promise: Promise,
        workload: str,
        count: int,
        sentence: str,
        subject: str = "",
        **more: Any,
    ) -> Self:
        """Return a broken promise with a count and without a limit; `more` has further fields."""
        return cls(promise, workload, Verdict.FAILED, count, 0, count, sentence, subject, **more)

    @property
    def severity(self) -> Severity:
        """Return the severity of the breach: critical if it burns fast, or from the promise's multiple of the limit on."""
        terms = TERMS[self.promise]
        multiple = terms.critical_at
        critical = multiple == 0 or (self.limit > 0 and self.value >= self.limit * multiple)
        critical = critical if self.fast is None else self.fast
        return Severity.CRITICAL if critical else terms.mildest

    @property
    def ends(self) -> bool:
        """Return whether an open incident has ended, provided that it has been open for `stays`."""
        return self.verdict is Verdict.PASSED or (
            self.verdict is Verdict.INCONCLUSIVE and self.quiet
        )

    @property
    def stays(self) -> timedelta:
        """Return the minimum duration of its incident."""
        if self.promise not in SHARES or not self.limit:
            return timedelta(0)
        return STAYS if self.verdict is Verdict.PASSED or not self.samples else STAYS_DOUBTFUL


def verdict(value: float | None, limit: float) -> Verdict:
    """Return the verdict on an exact measurement; a limit of 0 promises nothing and is always kept."""
    if limit == 0:
        return Verdict.PASSED
    if value is None or not math.isfinite(value):
        return Verdict.ERROR
    return Verdict.FAILED if value > limit else Verdict.PASSED


def share_verdict(
    observed: SampleShare, limit_percent: float, alpha: float = FALSE_ALARM
) -> Verdict:
    """Return the verdict on a share, which is valid however often it is assessed; inconclusive without enough evidence.

    The share fails if the limit lies below the bounds of `lanes.statistics.shares`, which err with probability `alpha`. It
    passes if its exact upper bound (Clopper-Pearson, one-sided) lies below the limit. A limit of 0 promises nothing; 100 % is
    never exceeded.
    """
    limit = limit_percent / 100
    if limit == 0 or limit >= 1:
        return Verdict.PASSED
    if (
        observed.hits >= LEAST_HITS
        and observed.hits > limit * observed.samples
        and excludes(observed, limit, alpha=alpha)
    ):
        return Verdict.FAILED
    few = (
        observed.samples > 0
        and observed.hits < limit * observed.samples
        and chance_of_so_few(observed, limit) <= TOO_SURE
    )
    return Verdict.PASSED if few else Verdict.INCONCLUSIVE


def chance_of_so_few(sample: SampleShare, share: float) -> float:
    """Return the probability of at most the observed hits if each sample is a hit with probability `share`."""
    misses = sample.samples - sample.hits
    binomial = lgamma(sample.samples + 1) - lgamma(sample.hits + 1) - lgamma(misses + 1)
    term = exp(binomial + sample.hits * log(share) + misses * log(1 - share))
    total, hits = term, sample.hits
    while hits > 0 and term > 1e-12:  # below the mean, each term is smaller than the term before it
        term *= hits * (1 - share) / ((sample.samples - hits + 1) * share)
        total, hits = total + term, hits - 1
    return total


class BurnAlert(NamedTuple):
    """A burn rate, and the indices of its windows."""

    rate: float
    places: tuple[int, ...]


ALERTS = (BurnAlert(14.4, (0, 1, 3)), BurnAlert(FAST, (1, 2, 4)), BurnAlert(1, (3, 4, 5)))


class BurnVerdict(NamedTuple):
    """A verdict with the index of the window that it is based on; `fast` is None without a breach."""

    verdict: Verdict
    place: int
    fast: bool | None = None


def threshold(rate: float, budget: float) -> float:
    """Return the share that burns a budget at this rate; at most halfway between the budget and 1."""
    return round(min(rate * budget, (1 + budget) / 2), 12)


def judge_burn(windows: Sequence[SampleShare], budget: float) -> BurnVerdict:
    """Return the verdict on the shares of `WINDOWS` for an error budget, 0 to 1; 0 promises nothing, and 1 is never exceeded.

    A window no longer burns once a shorter window proves a smaller share that is within the budget. The promise is kept once a
    window of up to 6 hours proves a share below the budget.
    """
    if budget <= 0 or budget >= 1:
        return BurnVerdict(Verdict.PASSED, RECENT)
    for alert in ALERTS:
        least = threshold(alert.rate, budget)
        for place in alert.places:
            sample, short = windows[place], windows[SHORT[place]]
            lasts = not short.samples or short.hits >= least * short.samples
            burns = lasts and sample.hits >= max(LEAST_HITS, least * sample.samples)
            if burns and is_above(sample, budget, alpha=UNPROVED):
                burned = min(sample.hits / sample.samples, NEARLY_ALL)
                if _below(windows[:place], budget, burned) is None:
                    return BurnVerdict(Verdict.FAILED, place, alert.rate >= FAST)
    healthy = _below(windows[: LONGEST_END + 1], budget, budget)
    if healthy is not None:
        return BurnVerdict(Verdict.PASSED, healthy)
    return BurnVerdict(Verdict.INCONCLUSIVE, RECENT)


def _below(windows: Sequence[SampleShare], budget: float, share: float) -> int | None:
    """Return the index of the first window that proves less than `share`, if each window up to it is within the budget.

    The proof is an exact upper bound (Clopper-Pearson) below `share`, at a level divided by the number of such windows in 3
    days.
    """
    for place, sample in enumerate(windows):
        if not sample.samples:
            continue
        if sample.hits >= budget * sample.samples:
            return None
        if chance_of_so_few(sample, share) <= MISTAKEN * (WINDOWS[place] / WINDOWS[-1]):
            return place
    return None
