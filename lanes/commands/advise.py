"""`lanes advise`: the pattern that suits a workload, by its own ledger, and why; `lanes proposals`: the proposed rollouts."""

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import timedelta
from decimal import Decimal
from math import isfinite
from typing import Annotated, Any, Literal

from cyclopts import Parameter, validators

from lanes.advice.plans import Plan
from lanes.advice.proposals import ProposedRollout
from lanes.advice.recommendation import Advice
from lanes.advice.recommendation import advise as decide
from lanes.advice.spread import spread
from lanes.commands import running
from lanes.commands.options import NONE_GIVEN, AsJson, Why, check_reason
from lanes.errors import StandError
from lanes.ids import ProposalId
from lanes.report.advice import render_console
from lanes.rollouts.playbook import LONGEST_MINUTES
from lanes.standing import runs
from lanes.store.advice import proposals as kept
from lanes.store.advice.advice import basis
from lanes.store.workload import workloads

NotNegative = validators.Number(gte=0, lte=1e12)
Positive = validators.Number(gt=0, lte=1e12)
Who = Annotated[
    str | None,
    Parameter(validator=lambda kind, reason: reason is None or check_reason(kind, reason)),
]


@running.command
def advise(
    workload: str,
    *,
    days: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=365))] = 30,
    correction_usd: Annotated[float | None, Parameter(validator=NotNegative)] = None,
    items_per_month: Annotated[float | None, Parameter(validator=Positive)] = None,
    as_json: AsJson = False,
) -> None:
    """Recommend real-time, batch, hybrid or lambda for a workload, with every criterion and its evidence.

    It shows an item's cost on each lane, the break-even with intervals, the savings by cause, and what would change the advice.
    `lanes overhead set` sets the monthly costs of the lanes. The advice is inconclusive if there is too little data. Exit code
    2 when there is no such workload.

    Args:
        days: Days to look back, 1 to 365.
        correction_usd: Value of correcting a wrong answer later, USD. The default: not counted.
        items_per_month: Volume to assume. The default: projected.
    """
    with running.transaction() as (connection, now):
        evidence, overheads = basis(connection, workload, since=now - timedelta(days=days), now=now)
    advice = decide(
        evidence, overheads, items_per_month=items_per_month, correction_usd=correction_usd
    )
    if as_json:
        print(json.dumps(as_data(advice), indent=2, default=str, allow_nan=False))
    else:
        running.screen(120).print(render_console(advice))


def as_data(advice: Advice) -> dict[str, Any]:
    """Return the advice as data, with break-even and intervals; null where break-even is never reached or is unknown."""
    crossover, share = advice.break_even, advice.needs.low if advice.needs else None
    worked_out = {}
    if crossover is not None and share is not None:
        worked_out = {
            "break_even_share": crossover.share,
            "break_even_items_per_month": crossover.volume(share),
            "saving_usd": crossover.saving(share),
            "net_usd": crossover.net(share),
            "batch_only_net_usd": crossover.batch_net,
        }
    lanes = [{**asdict(each), "total_usd": each.total_usd} for each in advice.lanes]
    saved = advice.evidence.savings if advice.evidence else None
    cases = [{**asdict(each), "plan": _plan(each.plan, advice)} for each in advice.sensitivities]
    data = {
        **asdict(advice),
        "lanes": lanes,
        "rule_agrees": advice.rule.agrees,
        "worked_out": worked_out,
        "now": _plan(advice.now, advice),
        "plan": _plan(advice.plan, advice),
        "plans": [_plan(each, advice) for each in advice.plans],
        "sensitivities": cases,
        "intervals": asdict(spread(advice)),
        "savings": None if saved is None else {**asdict(saved), "saved_usd": saved.saved_usd},
    }
    return _convert_to_json(data)


def _plan(plan: Plan | None, advice: Advice) -> dict[str, Any] | None:
    if plan is None:
        return None
    in_batch = advice.value_left_in_batch
    left = None if in_batch is None else plan.value_left(in_batch)
    worked_out = {"paid_usd": plan.paid_usd, "expected_usd": plan.expected_usd, "value_left": left}
    return {**asdict(plan), **worked_out}


def _convert_to_json(value: Any) -> Any:
    """Return a value in JSON types: amounts as numbers, infinite ones as null."""
    if isinstance(value, dict):
        return {name: _convert_to_json(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_convert_to_json(each) for each in value]
    if isinstance(value, Decimal):
        return float(value)
    return None if isinstance(value, float) and not isfinite(value) else value


@Parameter(name="*")
@dataclass(frozen=True)
class ProposalEdits:
    """The changes to a proposed rollout.

    Attributes:
        playbook: To approve or edit: another playbook, the name of a file in migrations/playbooks without its extension.
        percents: To approve or edit: the percent to real-time of each step.
        hold_hours: To approve or edit: the longest time of each step.
    """

    playbook: str | None = None
    percents: Annotated[list[float] | None, Parameter(consume_multiple=True)] = None
    hold_hours: Annotated[
        int | None, Parameter(validator=validators.Number(gte=1, lte=LONGEST_MINUTES // 60))
    ] = None


@running.command
def proposals(
    do: Literal["approve", "edit", "decline"] | None = None,
    number: int | None = None,
    *,
    workload: str | None = None,
    edits: ProposalEdits = ProposalEdits(),
    who: Who = None,
    why: Why = NONE_GIVEN,
    as_json: AsJson = False,
) -> int:
    """List the proposed rollouts to batch, and those decided within a month; or approve, edit or decline one.

    Proposals are made each week, for consumers who certainly read late. approve starts the rollout. A declined rollout is not
    proposed again for a month.

    Example: lanes proposals decline 3 --why "the auditors need them at once"

    Exit code 1 when it is refused, 2 when there is no such proposal or an argument is missing.

    Args:
        do: The action on a proposal. Without it, proposals are listed.
        number: Number of the proposal.
        workload: To list: only proposals for this workload.
        who: Your name. The default: the user of this shell.
    """
    if do is None:
        return _list(workload, as_json)
    if number is None:
        raise running.WrongUsage(f"{do} which? Say its number; `lanes proposals` lists them")
    with running.transaction() as (connection, _):
        workload_name = kept.workload_of(connection, ProposalId(number))
    if workload_name is None:
        raise running.WrongUsage(f"there is no proposal {number}; `lanes proposals` lists them")
    fields: dict[str, Any] = {"proposal": number, "action": do, "playbook": edits.playbook}
    fields |= {"percents": edits.percents or [], "hold_hours": edits.hold_hours}
    fields |= {"who": who} if who else {}

    from lanes.commands.actions import DecideProposal

    code = running.perform(DecideProposal, workload_name, why, as_json, **fields)
    if do == "approve":
        from lanes.stand import reaching

        with suppress(StandError):  # Prefect is unavailable: the hourly run will begin the rollout
            reaching.ask_for(runs.migrate())
    return code


def _list(workload: str | None, as_json: bool) -> int:
    with running.transaction() as (connection, now):
        if workload is not None:
            workloads.check_known(connection, workload)
        rows = kept.listing(connection, workload, now=now)
    if as_json:
        running.print_json({"proposals": [proposal_data(each) for each in rows]})
        return 0

    from lanes.report.proposal import NONE_OPEN, table

    if not rows:
        print(NONE_OPEN)
    else:
        running.print_table(table(rows), width=160)
    return 0


def proposal_data(proposal: ProposedRollout) -> dict[str, Any]:
    """Return a proposal as JSON-like data."""
    figures = {**asdict(proposal.figures), "too_early": asdict(proposal.figures.too_early)}
    playbook = proposal.playbook.model_dump(mode="json")
    return {**asdict(proposal), "playbook": playbook, "figures": figures}
