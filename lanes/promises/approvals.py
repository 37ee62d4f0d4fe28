"""A rollout that asks a person is answered."""

from lanes.promises.assessment import Assessment
from lanes.promises.incident import Promise
from lanes.words import Verdict


def approval_waits(
    workload: str,
    rollout: int,
    playbook: str,
    why: str,
    *,
    step: int,
    steps: int,
    percent: float,
    limit_minutes: float,
    waited_minutes: float,
) -> Assessment:
    """Return the breach that a rollout asks a person to approve its `step`, the first is 0, and why; `percent` of the traffic
    goes to real-time meanwhile."""
    said = (
        f'Rollout {rollout} of workload "{workload}" ({playbook}) asks for approval at step {step + 1} of {steps}: {why}. '
        f"{percent:g} % go to real-time."
    )
    return Assessment(
        Promise.APPROVAL_WAITS, workload, Verdict.FAILED, waited_minutes, limit_minutes, 1, said
    )
