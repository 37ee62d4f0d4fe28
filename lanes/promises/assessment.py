"""One promise, judged: kept, broken or neither, in which figures, and in which sentence.

Too little evidence breaks no promise and keeps none: an open incident stays open until a measurement says that it is over.
"""

import math
from dataclasses import dataclass
from datetime import timedelta
from math import exp, lgamma, log
from uuid import UUID

from lanes.money.always_valid import Share, excludes
from lanes.promises.incident import TERMS, Promise, Severity
from lanes.words import Lane, Verdict

FALSE_ALARM = 0.01  # the chance that a share at its limit, however often it is looked at while it is counted, breaks a promise
TOO_SURE = 0.05  # the chance that so few hits come of a share at its limit, from which on it is believed to be below
LEAST_HITS = 5  # of a breach: the tries of one item are alike, and say no more than one
LEAST_CLEAN = 20  # samples without a hit that end an incident of batches, where time says nothing
STAYS = timedelta(
    minutes=15
)  # how long the incident of a share is open at least, so that it does not flap
STAYS_DOUBTFUL = timedelta(
    hours=2
)  # the same where it ends for want of hits alone, among too few samples to be sure
NOWHERE = frozenset[Lane]()
REALTIME, BATCH = frozenset({Lane.REALTIME}), frozenset({Lane.BATCH})
SHARES = frozenset(
    {
        Promise.BATCH_FAILING,
        Promise.BATCH_INVALID,
        Promise.REALTIME_SLOW,
        Promise.REALTIME_FAILING,
        Promise.DEADLINE_MISSED,
    }
)


@dataclass(frozen=True)
class Assessment:
    """One promise, judged. `value` and `limit` are in the promise's unit; `subject` is empty or "batch 41".

    What a run met, and did not measure, says `why`; `flow_run_id` is that run, `block_id` the block that it is about.
    """

    promise: Promise
    workload: str
    verdict: Verdict
    value: float
    limit: float
    samples: int
    sentence: str
    subject: str = ""
    standstill: frozenset[Lane] = (
        NOWHERE  # a cause that stops all of these lanes explains the breach; none: no cause does
    )
    quiet: bool = (
        False  # there is no hit in all that is looked at, and not because every item failed
    )
    why: str | None = None
    flow_run_id: UUID | None = None
    block_id: UUID | None = None

    @property
    def severity(self) -> Severity:
        """Critical from a multiple of the limit on, where the promise does not say always."""
        multiple = TERMS[self.promise].critical_at
        critical = multiple == 0 or (self.limit > 0 and self.value >= self.limit * multiple)
        return Severity.CRITICAL if critical else Severity.WARNING

    @property
    def ends(self) -> bool:
        """Whether an open incident is over, once it was open for `stays`."""
        return self.verdict is Verdict.PASSED or (
            self.verdict is Verdict.INCONCLUSIVE and self.quiet
        )

    @property
    def stays(self) -> timedelta:
        """How long its incident is open at least."""
        if self.promise not in SHARES or not self.limit:
            return timedelta(0)
        return STAYS if self.verdict is Verdict.PASSED or not self.samples else STAYS_DOUBTFUL


def verdict(value: float | None, limit: float) -> Verdict:
    """Judge a measurement that needs no evidence by its limit; a limit of 0 promises nothing and is always kept."""
    if limit == 0:
        return Verdict.PASSED
    if value is None or not math.isfinite(value):
        return Verdict.ERROR
    return Verdict.FAILED if value > limit else Verdict.PASSED


def share_verdict(seen: Share, limit_percent: float) -> Verdict:
    """Judge a share by its limit: failed and passed only on evidence, however often one looks; else inconclusive.

    It fails where the limit lies below the bounds of `lanes.money.always_valid`, and passes where its exact upper bound
    (Clopper-Pearson, one-sided) lies below the limit. A limit of 0 promises nothing; 100 % is never exceeded.
    """
    limit = limit_percent / 100
    if limit == 0 or limit >= 1:
        return Verdict.PASSED
    if (
        seen.hits >= LEAST_HITS
        and seen.hits > limit * seen.samples
        and excludes(seen, limit, alpha=FALSE_ALARM)
    ):
        return Verdict.FAILED
    few = (
        seen.samples > 0
        and seen.hits < limit * seen.samples
        and _chance_of_so_few(seen, limit) <= TOO_SURE
    )
    return Verdict.PASSED if few else Verdict.INCONCLUSIVE


def _chance_of_so_few(of: Share, share: float) -> float:
    """The probability of as many hits or fewer where each sample is one with probability `share`, above what was seen."""
    misses = of.samples - of.hits
    binomial = lgamma(of.samples + 1) - lgamma(of.hits + 1) - lgamma(misses + 1)
    term = exp(binomial + of.hits * log(share) + misses * log(1 - share))
    total, hits = term, of.hits
    while hits > 0 and term > 1e-12:  # below the mean each term is smaller than the one before
        term *= hits * (1 - share) / ((of.samples - hits + 1) * share)
        total, hits = total + term, hits - 1
    return total
