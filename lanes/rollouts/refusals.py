"""What forbids a rollout to begin or to advance, and a person to move its split."""

from collections.abc import Iterable

from lanes.promises.incident import TERMS, Incident, IncidentState, Promise, Severity, lane_of
from lanes.rollouts.gates import CONFIRMING
from lanes.rollouts.playbook import Playbook
from lanes.rollouts.rollout import Rollout
from lanes.words import Lane, Mode


def of_start(
    playbook: Playbook,
    workload: str,
    *,
    mode: Mode,
    values: bool,
    basis_points: int,
    present: Rollout | None,
) -> str | None:
    """Return why the playbook cannot begin on a workload, `basis_points` of which go to real-time now.

    `values` means that the workload states the value of an answer, and `present` is its open rollout.
    """
    if present is not None:
        return (
            f'workload "{workload}" has an open rollout already: {present.id}, playbook "{present.playbook.name}", started '
            f"by {present.started_by} at {present.started_at:%Y-%m-%d %H:%M} UTC; let it end, or "
            f"run `lanes rollout abort {workload}`"
        )
    if values:
        return (
            f'workload "{workload}" states what an answer is worth (value_usd), and that decides before the split: no step of '
            f'playbook "{playbook.name}" would move an item; set value_usd to 0, or leave it to the value'
        )
    confirming = playbook.first_of(CONFIRMING)
    if confirming is not None and mode is not Mode.LAMBDA:
        return (
            f'playbook "{playbook.name}" has a gate on {confirming}, but workload "{workload}" is not in lambda mode: nothing '
            "compares its answers; remove the gate or change the mode"
        )
    if playbook.first_step(basis_points) is None:
        return (
            f'workload "{workload}" sends {basis_points / 100:g} % to real-time already: no step of playbook '
            f'"{playbook.name}" goes further; choose another playbook or set the split with `lanes split`'
        )
    return None


def of_split(workload: str, consumer: str | None, present: Rollout | None) -> str | None:
    """Return why that split cannot be set by hand, while `present` is the workload's open rollout."""
    if present is None or present.consumer != consumer:
        return None
    return (
        f'the split of workload "{workload}" is moved by rollout {present.id} (playbook '
        f'"{present.playbook.name}"): abort the rollout first, or let it end'
    )


def hindering(incidents: Iterable[Incident], receiving: Lane) -> list[Incident]:
    """Return the critical incidents that stop a rollout towards this lane: those of the lane, and of either."""
    return [
        each
        for each in incidents
        if _is_critical(each) and lane_of(each.promise) in (None, receiving)
    ]


def sentences(incidents: Iterable[Incident]) -> list[str]:
    """Return a sentence on each, for a rollout that holds."""
    return [
        f"critical incident {each.id} is open: {TERMS[Promise(each.promise)].title}"
        for each in incidents
    ]


def _is_critical(of: Incident) -> bool:
    return of.state is IncidentState.OPEN and of.severity is Severity.CRITICAL
