"""A rollout that asks a person is answered."""

from lanes.promises.assessment import Assessment
from lanes.promises.incident import Promise
from lanes.words import Verdict


def approval_waits(workload: str, question: str, *, limit_minutes: float, waited_minutes: float) -> Assessment:
    """The breach that a rollout asks a person to approve; `question` says what the answer decides."""
    return Assessment(Promise.APPROVAL_WAITS, workload, Verdict.FAILED, waited_minutes, limit_minutes, 1, question)
