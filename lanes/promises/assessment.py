"""A judged promise: kept, broken or undecided, with its figures and the sentence that says so.

Too little evidence neither breaks a promise nor keeps it: an open incident stays open until a measurement ends it.
"""

import math
from dataclasses import dataclass
from datetime import timedelta
from math import exp, lgamma, log
from typing import Any, Self
from uuid import UUID

from lanes.promises.incident import TERMS, Promise, Severity
from lanes.statistics.shares import SampleShare, excludes
from lanes.words import Lane, Verdict

# probability that a share at its limit breaks a promise, however often it is looked at
FALSE_ALARM = 0.01
TOO_SURE = 0.05  # a share is below its limit if a share at the limit gave so few hits with at most this probability
LEAST_HITS = 5  # of a breach: tries of the same item are alike and count as one
# samples without a hit that end an incident of batches, for which time proves nothing
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


@dataclass(frozen=True)
class Assessment:
    """A judged promise; `value` and `limit` are in the promise's unit, `subject` is empty or such as "batch 41".

    `standstill` are the lanes that must all stand still to explain the breach; empty if no outage explains it. `quiet` means
    that nothing bad was seen, although not every item failed. `why` is what a run met instead of measuring, `flow_run_id`
    that run, and `block_id` the block concerned. `fast` says whether an error budget burns so fast that this is critical; if it
    is None, the multiple of the limit says so.
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
        """Return a broken promise that is counted, without a limit; `more` are further fields."""
        return cls(promise, workload, Verdict.FAILED, count, 0, count, sentence, subject, **more)

    @property
    def severity(self) -> Severity:
        """How much the breach matters: critical if it burns fast, or from the promise's multiple of the limit on."""
        terms = TERMS[self.promise]
        multiple = terms.critical_at
        critical = multiple == 0 or (self.limit > 0 and self.value >= self.limit * multiple)
        critical = critical if self.fast is None else self.fast
        return Severity.CRITICAL if critical else terms.mildest

    @property
    def ends(self) -> bool:
        """Whether an open incident is over, once it has been open for `stays`."""
        return self.verdict is Verdict.PASSED or (
            self.verdict is Verdict.INCONCLUSIVE and self.quiet
        )

    @property
    def stays(self) -> timedelta:
        """The minimum duration of its incident."""
        if self.promise not in SHARES or not self.limit:
            return timedelta(0)
        return STAYS if self.verdict is Verdict.PASSED or not self.samples else STAYS_DOUBTFUL


def verdict(value: float | None, limit: float) -> Verdict:
    """Judge an exact measurement by its limit; a limit of 0 promises nothing and is always kept."""
    if limit == 0:
        return Verdict.PASSED
    if value is None or not math.isfinite(value):
        return Verdict.ERROR
    return Verdict.FAILED if value > limit else Verdict.PASSED


def share_verdict(
    observed: SampleShare, limit_percent: float, alpha: float = FALSE_ALARM
) -> Verdict:
    """Judge a share by its limit, however often it is looked at; without enough evidence it is inconclusive.

    It fails if the limit lies below the bounds of `lanes.statistics.shares`, which err with probability `alpha`. It passes if
    its exact upper bound (Clopper-Pearson, one-sided) lies below the limit. A limit of 0 promises nothing; 100 % is never
    exceeded.
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


def chance_of_so_few(of: SampleShare, share: float) -> float:
    """Return the probability of at most the observed hits if each sample is one with probability `share`."""
    misses = of.samples - of.hits
    binomial = lgamma(of.samples + 1) - lgamma(of.hits + 1) - lgamma(misses + 1)
    term = exp(binomial + of.hits * log(share) + misses * log(1 - share))
    total, hits = term, of.hits
    while hits > 0 and term > 1e-12:  # below the mean each term is smaller than the one before
        term *= hits * (1 - share) / ((of.samples - hits + 1) * share)
        total, hits = total + term, hits - 1
    return total
