"""What forbids a rollout to begin, or a person to move a split that a rollout moves: a sentence, None where nothing does."""

from lanes.rollouts.gates import Measure
from lanes.rollouts.playbook import Playbook
from lanes.rollouts.rollout import Rollout
from lanes.words import Mode


def of_start(
    playbook: Playbook,
    workload: str,
    *,
    mode: Mode,
    values: bool,
    basis_points: int,
    present: Rollout | None,
) -> str | None:
    """Why the playbook cannot begin on a workload of that mode, `basis_points` of which go to real-time now.

    `values`: it states what an answer is worth. `present` is the workload's open rollout: it has one at most.
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
    if playbook.needs(Measure.AGREEMENT) and mode is not Mode.LAMBDA:
        return (
            f'playbook "{playbook.name}" has a gate on agreement, but workload "{workload}" is not in lambda mode: nothing '
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
