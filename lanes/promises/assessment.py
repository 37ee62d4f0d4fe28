"""One promise, judged: kept, broken or neither, in which figures, and in which sentence.

Too few samples break no promise and keep none: an open incident stays open until a measurement says that it is over.
"""

import math
from dataclasses import dataclass
from uuid import UUID

from lanes.promises.incident import TERMS, Promise, Severity
from lanes.words import Verdict

LEAST_SAMPLES = 20
CALM = 0.9  # a real-time incident ends below this part of its limit, so that it does not flap


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
    in_outage: bool = False  # an outage of the provider, where there is one, explains what breaks it
    quiet: bool = False  # nothing at all happened for a while, and not because all of it had failed
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
        """Whether an open incident is over.

        On the real-time lane the figure must be clearly below its limit, or all is quiet and nobody is left unanswered.
        """
        quiet = self.verdict is Verdict.INCONCLUSIVE and self.quiet
        if self.promise not in (Promise.REALTIME_SLOW, Promise.REALTIME_FAILING):
            return quiet or self.verdict is Verdict.PASSED
        calm = self.verdict is Verdict.PASSED and (self.limit == 0 or self.value <= self.limit * CALM)
        return quiet or calm


def verdict(value: float | None, samples: int, limit: float, *, least: int = LEAST_SAMPLES) -> Verdict:
    """What a measurement says of its limit; a limit of 0 promises nothing and is always kept."""
    if limit == 0:
        return Verdict.PASSED
    if samples < least:
        return Verdict.INCONCLUSIVE
    if value is None or not math.isfinite(value):
        return Verdict.ERROR
    return Verdict.FAILED if value > limit else Verdict.PASSED
