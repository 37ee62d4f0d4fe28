"""`lanes plan`: what a rollout by a playbook would do, before it starts; and the canary that `lanes publish` starts."""

import getpass
from collections.abc import Iterator
from math import isfinite
from pathlib import Path, PurePath
from typing import Any

from rich.text import Text
from sqlalchemy import Engine

from lanes.commands.options import AsJson
from lanes.commands.running import command, print_json, print_table, screen, transaction
from lanes.errors import ActionRefused
from lanes.report import rollout_plan
from lanes.rollouts import refusals
from lanes.rollouts.plan import DAY_S, LEAST_DAYS, LEAST_ITEMS, PlannedGate, Readiness, RolloutPlan
from lanes.rollouts.playbook import BLOCK_TYPE, Direction, Playbook, block_name, load, read_block
from lanes.settings import Settings
from lanes.stand import reaching
from lanes.standing import runs
from lanes.store.database import clock
from lanes.store.rollouts import plans
from lanes.store.workload import candidates
from lanes.text import plain
from lanes.units import dollars, pluralize, rate, seconds, share
from lanes.words import Lane
from lanes.workload.definition import Comparison
from lanes.workload.definition_file import NamedSpec

WIDTH = 80


@command
def plan(
    playbook: str, *, workload: str, consumer: str | None = None, as_json: AsJson = False
) -> int:
    """Show what a rollout by a playbook would do: items and cost of each step, and when its gates can decide.

    Nothing is written. The plan uses the items of the last seven days whose lane the split decided. For each gate it shows
    how many samples pass it, how many days they take, and the chance that it detects twice the tolerated loss during its step.

    Example: lanes plan batch-to-realtime --workload archive

    Exit code 1 when such a rollout cannot start now, with the reason; 2 when there is no such workload.

    Args:
        playbook: A file of migrations/playbooks without its extension, the path of your own file with it, or block:NAME.
        workload: The workload whose traffic would move.
        consumer: Move only this consumer's split.
    """
    parsed_playbook = read_playbook(playbook)
    with transaction() as (connection, now):
        planned_rollout, refusal = plans.plan_playbook(
            connection, parsed_playbook, name=workload, consumer=consumer, now=now
        )
    if as_json:
        print_json(_data(planned_rollout, refusal))
    else:
        _show(planned_rollout, refusal)
    return 0 if refusal is None else 1


def read_playbook(playbook: str) -> Playbook:
    """Return the playbook that a name, a path or a block:NAME identifies."""
    block = block_name(playbook)
    if block is None:
        is_path = PurePath(playbook).suffix in {".yaml", ".yml"}
        return load(playbook, playbook if is_path else "")
    with reaching.prefect(Settings.read()) as api:
        return read_block(block, api.block(BLOCK_TYPE, block))


def _show(planned_rollout: RolloutPlan, refusal: str | None) -> None:
    console = screen(WIDTH, highlight=False)
    whose = (
        planned_rollout.workload
        if planned_rollout.consumer is None
        else f"{planned_rollout.consumer} of {planned_rollout.workload}"
    )
    console.print(Text(f"{plain(whose)} by {planned_rollout.playbook.name}", "bold"))
    console.print(Text(plain(planned_rollout.playbook.description, most=300)))
    console.print(Text(_traffic(planned_rollout)), end="\n\n")
    if planned_rollout.steps:
        print_table(rollout_plan.steps(planned_rollout), width=WIDTH)
        print()
        print_table(rollout_plan.gates(planned_rollout), width=WIDTH)
    for each in [*_notes(planned_rollout), *([f"Refused: {refusal}"] if refusal else [])]:
        console.print(Text(each, "yellow"))


def _traffic(planned_rollout: RolloutPlan) -> str:
    known, moves_version = (
        planned_rollout.traffic,
        planned_rollout.playbook.direction is Direction.VERSION,
    )
    seen = f"{pluralize(known.items, 'item')} in {seconds(known.days * DAY_S)}"
    if known.a_day is None:
        return (
            f"{'There were' if moves_version else 'The split decided the lane of'} {seen}: too few to say what comes. It takes "
            f"{LEAST_ITEMS} items and {seconds(LEAST_DAYS * DAY_S)}; until then no start is refused for lack of traffic."
        )
    if moves_version:
        return f"{rate(known.a_day)} items a day come ({seen}), and each gets a version."
    return f"The split decides the lane of {rate(known.a_day)} items a day ({seen})."


def _notes(planned_rollout: RolloutPlan) -> Iterator[str]:
    """Yield the facts that the tables do not show."""
    if planned_rollout.before is not None:
        for each in planned_rollout.before.judgements:
            yield f"Before: {each.gate.measure} {each.verdict.value}, {plain(each.explanation, most=300)}."
        if wanted := planned_rollout.playbook.before and planned_rollout.playbook.before.batches:
            home = planned_rollout.before.batches - planned_rollout.before.late
            yield f"Before: {home} of the newest {pluralize(wanted, 'batch')} came back in time with every result."
    if (shadows := planned_rollout.playbook.shadows) is not None:
        cost = f"at most {dollars(shadows.budget_usd)}"
        yield f"Shadows: {share(shadows.share)} of the items go down the other lane too, for {cost}."
    if planned_rollout.first:
        yield f"The steps before step {planned_rollout.first + 1} are skipped: the share is past them."
    if planned_rollout.owed_step is not None:
        yield f"Nothing moves until step {planned_rollout.owed_step + 1}, which asks for approval, is approved."
    for measure in dict.fromkeys(
        each.gate.measure for at in planned_rollout.steps for each in at.gates
    ):
        if (part := planned_rollout.traffic.estimate_sample_share(measure)) < 1:
            yield f"{measure}: {share(part)} of the items are samples of it."
    for at in planned_rollout.steps:
        for each in at.gates:
            if each.gate.worse_by is not None:
                measurement = planned_rollout.traffic.find_measurement(each.gate.measure)
                giving = planned_rollout.playbook.direction.giving
                usual = f"{share(each.usual)} wrong samples of {giving}, as {'lately' if measurement else 'assumed'}"
                yield f"Step {at.number + 1} compares {each.gate.measure} with {usual}."
        slow = [each.gate.measure for each in at.gates if _passes_late(each)]
        if slow and at.days is not None:
            can = f"can pass in {seconds(at.days * DAY_S)} only if less is wrong than at half"
            yield f"Step {at.number + 1}: {' and '.join(slow)} {can}."
    if planned_rollout.days_to_pass is not None and isfinite(planned_rollout.days_to_pass):
        whole = seconds(planned_rollout.days_to_pass * DAY_S)
        yield f"At half of every limit it takes {whole}; approvals, and batches on their way, take longer."


def _passes_late(planned_gate: PlannedGate) -> bool:
    """Return whether the gate can pass in its time, but not at half of the loss that it tolerates."""
    takes = planned_gate.estimate_days(planned_gate.needed_samples)
    if planned_gate.gate.dry_run or not planned_gate.is_reachable or takes is None:
        return False
    return planned_gate.days is not None and takes > planned_gate.days


def _data(planned_rollout: RolloutPlan, refusal: str | None) -> dict[str, Any]:
    def costs(percent: float) -> dict[str, float | None]:
        return {f"{lane}_usd_a_day": planned_rollout.usd_a_day(lane, percent) for lane in Lane}

    def gate(planned_gate: PlannedGate) -> dict[str, Any]:
        return {
            **planned_gate.gate.model_dump(mode="json", exclude_none=True),
            "samples_a_day": planned_gate.a_day,
            "if_clean": {
                "samples": planned_gate.fewest,
                "days": _finite(planned_gate.estimate_days(planned_gate.fewest)),
            },
            "at_half": {
                "samples": planned_gate.needed_samples,
                "days": _finite(planned_gate.estimate_days(planned_gate.needed_samples)),
            },
            "usual_wrong_share": planned_gate.usual
            if planned_gate.gate.worse_by is not None
            else None,
            "loss_wrong_share": planned_gate.loss,
            "power": planned_gate.power,
            "reachable": planned_gate.is_reachable,
            "pairs_paid": _finite(planned_gate.pairs),
        }

    return {
        "workload": planned_rollout.workload,
        "consumer": planned_rollout.consumer,
        "playbook": planned_rollout.playbook.name,
        "percent": planned_rollout.basis_points / 100,
        "alpha": planned_rollout.playbook.alpha,
        "gate_alpha": planned_rollout.playbook.gate_alpha,
        "items": planned_rollout.traffic.items,
        "days": planned_rollout.traffic.days,
        "items_a_day": planned_rollout.traffic.a_day,
        **costs(planned_rollout.basis_points / 100),
        "first_step": None if planned_rollout.first is None else planned_rollout.first + 1,
        "approval_owed_of": None
        if planned_rollout.owed_step is None
        else planned_rollout.owed_step + 1,
        "before": _readiness_as_data(planned_rollout.before),
        "steps": [
            {
                "step": at.number + 1,
                "percent": at.step.percent,
                "items_a_day": at.a_day,
                **costs(at.step.percent),
                "hold": at.step.hold.model_dump(),
                "approval": at.step.approval,
                "takes_days": _finite(at.days_to_pass),
                "gates": [gate(each) for each in at.gates],
            }
            for at in planned_rollout.steps
        ],
        "takes_days": _finite(planned_rollout.days_to_pass),
        "refused": refusal,
    }


def _readiness_as_data(readiness: Readiness | None) -> dict[str, Any] | None:
    if readiness is None:
        return None
    gates = [
        {"measure": each.gate.measure, "verdict": each.verdict, "explanation": each.explanation}
        for each in readiness.judgements
    ]
    return {"gates": gates, "batches": readiness.batches, "late": readiness.late}


def _finite(days: float | None) -> float | None:
    return days if days is not None and isfinite(days) else None


def require_canary(
    pool: Engine, canary: str, named_spec: NamedSpec, comparison: Comparison
) -> None:
    """Check that a canary of the definition can start with that playbook.

    Raises:
        PlaybookInvalid: the playbook cannot be read.
        ActionRefused: the playbook moves no version, no version is in force, no field differs, or the rollout is refused.
    """
    playbook, name = read_playbook(canary), named_spec.name
    if playbook.direction is not Direction.VERSION:
        raise ActionRefused(refusals.explain_wrong_kind(playbook))
    if comparison.in_force is None:
        raise ActionRefused(candidates.NOTHING_TO_COMPARE.format(name))
    if not comparison.changed:
        raise ActionRefused(candidates.SAME_AS_IN_FORCE.format(comparison.in_force.number, name))
    with pool.begin() as connection:
        now = clock(connection)
        of_new = {"consumer": None, "new": named_spec.spec, "now": now}
        _, refusal = plans.plan_playbook(connection, playbook, name=name, **of_new)
    if refusal is not None:
        raise ActionRefused(refusal)


def _locate_playbook(playbook: str) -> tuple[str, str]:
    """Return a playbook's name, and its path if it is not a shipped one."""
    path = Path(playbook)
    is_path = path.suffix in {".yaml", ".yml"}
    return (path.stem, str(path.absolute())) if is_path else (playbook, "")


def begin_canary(pool: Engine, canary: str, name: str) -> dict[str, Any]:
    """Request the run that leads the canary of the workload's candidate."""
    with pool.begin() as connection:
        candidate = candidates.find(connection, name)
    if candidate is None:
        raise ActionRefused(f'the candidate of workload "{name}" was replaced meanwhile: try again')
    playbook, path = _locate_playbook(canary)
    order = {"workload": name, "playbook": playbook, "file": path, "version": str(candidate.number)}
    why = f"canary of version {candidate.number}"
    run, page = reaching.ask_for(runs.migrate(**order, who=getpass.getuser(), why=why))
    message = f"{name}: version {candidate.number} is stored and not in force; asked for a rollout by {canary}"
    return {"said": message, "candidate": candidate.number, "run": run, "url": page}
