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
from lanes.rollouts.playbook import BLOCK_TYPE, Direction, Playbook, block_of, load, of_block
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
    read = read_playbook(playbook)
    with transaction() as (connection, now):
        made, refusal = plans.of_playbook(
            connection, read, name=workload, consumer=consumer, now=now
        )
    if as_json:
        print_json(_data(made, refusal))
    else:
        _show(made, refusal)
    return 0 if refusal is None else 1


def read_playbook(playbook: str) -> Playbook:
    """Return the playbook that a name, a path or a block:NAME identifies."""
    block = block_of(playbook)
    if block is None:
        is_path = PurePath(playbook).suffix in {".yaml", ".yml"}
        return load(playbook, playbook if is_path else "")
    with reaching.prefect(Settings.read()) as api:
        return of_block(block, api.block(BLOCK_TYPE, block))


def _show(of: RolloutPlan, refusal: str | None) -> None:
    console = screen(WIDTH, highlight=False)
    whose = of.workload if of.consumer is None else f"{of.consumer} of {of.workload}"
    console.print(Text(f"{plain(whose)} by {of.playbook.name}", "bold"))
    console.print(Text(plain(of.playbook.description, most=300)))
    console.print(Text(_traffic(of)), end="\n\n")
    if of.steps:
        print_table(rollout_plan.steps(of), width=WIDTH)
        print()
        print_table(rollout_plan.gates(of), width=WIDTH)
    for each in [*_notes(of), *([f"Refused: {refusal}"] if refusal else [])]:
        console.print(Text(each, "yellow"))


def _traffic(of: RolloutPlan) -> str:
    known, moves_version = of.traffic, of.playbook.direction is Direction.VERSION
    seen = f"{pluralize(known.items, 'item')} in {seconds(known.days * DAY_S)}"
    if known.a_day is None:
        return (
            f"{'There were' if moves_version else 'The split decided the lane of'} {seen}: too few to say what comes. It takes "
            f"{LEAST_ITEMS} items and {seconds(LEAST_DAYS * DAY_S)}; until then no start is refused for lack of traffic."
        )
    if moves_version:
        return f"{rate(known.a_day)} items a day come ({seen}), and each gets a version."
    return f"The split decides the lane of {rate(known.a_day)} items a day ({seen})."


def _notes(of: RolloutPlan) -> Iterator[str]:
    """Yield the facts that the tables do not show."""
    if of.before is not None:
        for each in of.before.judgements:
            yield f"Before: {each.gate.measure} {each.verdict.value}, {plain(each.explanation, most=300)}."
        if wanted := of.playbook.before and of.playbook.before.batches:
            home = of.before.batches - of.before.late
            yield f"Before: {home} of the newest {pluralize(wanted, 'batch')} came back in time with every result."
    if (shadows := of.playbook.shadows) is not None:
        cost = f"at most {dollars(shadows.budget_usd)}"
        yield f"Shadows: {share(shadows.share)} of the items go down the other lane too, for {cost}."
    if of.first:
        yield f"The steps before step {of.first + 1} are skipped: the share is past them."
    if of.owed_step is not None:
        yield f"Nothing moves until step {of.owed_step + 1}, which asks for approval, is approved."
    for measure in dict.fromkeys(each.gate.measure for at in of.steps for each in at.gates):
        if (part := of.traffic.estimate_sample_share(measure)) < 1:
            yield f"{measure}: {share(part)} of the items are samples of it."
    for at in of.steps:
        for each in at.gates:
            if each.gate.worse_by is not None:
                known = of.traffic.find_measurement(each.gate.measure)
                giving = of.playbook.direction.giving
                usual = f"{share(each.usual)} wrong samples of {giving}, as {'lately' if known else 'assumed'}"
                yield f"Step {at.number + 1} compares {each.gate.measure} with {usual}."
        slow = [each.gate.measure for each in at.gates if _passes_late(each)]
        if slow and at.days is not None:
            can = f"can pass in {seconds(at.days * DAY_S)} only if less is wrong than at half"
            yield f"Step {at.number + 1}: {' and '.join(slow)} {can}."
    if of.days_to_pass is not None and isfinite(of.days_to_pass):
        whole = seconds(of.days_to_pass * DAY_S)
        yield f"At half of every limit it takes {whole}; approvals, and batches on their way, take longer."


def _passes_late(of: PlannedGate) -> bool:
    """Return whether the gate can pass in its time, but not at half of the loss that it tolerates."""
    takes = of.estimate_days(of.needed_samples)
    if of.gate.dry_run or not of.is_reachable or takes is None:
        return False
    return of.days is not None and takes > of.days


def _data(of: RolloutPlan, refusal: str | None) -> dict[str, Any]:
    def costs(percent: float) -> dict[str, float | None]:
        return {f"{lane}_usd_a_day": of.usd_a_day(lane, percent) for lane in Lane}

    def gate(each: PlannedGate) -> dict[str, Any]:
        return {
            **each.gate.model_dump(mode="json", exclude_none=True),
            "samples_a_day": each.a_day,
            "if_clean": {"samples": each.fewest, "days": _finite(each.estimate_days(each.fewest))},
            "at_half": {
                "samples": each.needed_samples,
                "days": _finite(each.estimate_days(each.needed_samples)),
            },
            "usual_wrong_share": each.usual if each.gate.worse_by is not None else None,
            "loss_wrong_share": each.loss,
            "power": each.power,
            "reachable": each.is_reachable,
            "pairs_paid": _finite(each.pairs),
        }

    return {
        "workload": of.workload,
        "consumer": of.consumer,
        "playbook": of.playbook.name,
        "percent": of.basis_points / 100,
        "alpha": of.playbook.alpha,
        "gate_alpha": of.playbook.gate_alpha,
        "items": of.traffic.items,
        "days": of.traffic.days,
        "items_a_day": of.traffic.a_day,
        **costs(of.basis_points / 100),
        "first_step": None if of.first is None else of.first + 1,
        "approval_owed_of": None if of.owed_step is None else of.owed_step + 1,
        "before": _before(of.before),
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
            for at in of.steps
        ],
        "takes_days": _finite(of.days_to_pass),
        "refused": refusal,
    }


def _before(of: Readiness | None) -> dict[str, Any] | None:
    if of is None:
        return None
    gates = [
        {"measure": each.gate.measure, "verdict": each.verdict, "explanation": each.explanation}
        for each in of.judgements
    ]
    return {"gates": gates, "batches": of.batches, "late": of.late}


def _finite(days: float | None) -> float | None:
    return days if days is not None and isfinite(days) else None


def require_canary(pool: Engine, canary: str, wanted: NamedSpec, found: Comparison) -> None:
    """Check that a canary of the definition can start with that playbook.

    Raises:
        PlaybookInvalid: the playbook cannot be read.
        ActionRefused: the playbook moves no version, no version is in force, no field differs, or the rollout is refused.
    """
    playbook, name = read_playbook(canary), wanted.name
    if playbook.direction is not Direction.VERSION:
        raise ActionRefused(refusals.not_of_a_version(playbook))
    if found.in_force is None:
        raise ActionRefused(candidates.NOTHING_TO_COMPARE.format(name))
    if not found.changed:
        raise ActionRefused(candidates.SAME_AS_IN_FORCE.format(found.in_force.number, name))
    with pool.begin() as connection:
        now = clock(connection)
        of_new = {"consumer": None, "new": wanted.spec, "now": now}
        _, refusal = plans.of_playbook(connection, playbook, name=name, **of_new)
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
    said = f"{name}: version {candidate.number} is stored and not in force; asked for a rollout by {canary}"
    return {"said": said, "candidate": candidate.number, "run": run, "url": page}
