"""`lanes proposals`: the rollouts to batch that the advice proposes, and what a person decides about them."""

from contextlib import suppress
from dataclasses import asdict
from typing import Annotated, Any, Literal

from cyclopts import Parameter, validators

from lanes.advice.proposals import ProposedRollout
from lanes.commands.options import NONE_GIVEN, AsJson, Why, check_reason
from lanes.commands.running import (
    WrongUsage,
    command,
    perform,
    print_json,
    print_table,
    transaction,
)
from lanes.errors import StandError
from lanes.ids import ProposalId
from lanes.rollouts.playbook import LONGEST_MINUTES
from lanes.standing import runs
from lanes.store.advice import proposals as kept
from lanes.store.workload import workloads

Who = Annotated[
    str | None, Parameter(validator=lambda kind, said: said is None or check_reason(kind, said))
]


@command
def proposals(
    do: Literal["approve", "edit", "decline"] | None = None,
    number: int | None = None,
    *,
    workload: str | None = None,
    playbook: str = "",
    percents: Annotated[list[float] | None, Parameter(consume_multiple=True)] = None,
    hold_hours: Annotated[
        int | None, Parameter(validator=validators.Number(gte=1, lte=LONGEST_MINUTES // 60))
    ] = None,
    who: Who = None,
    why: Why = NONE_GIVEN,
    as_json: AsJson = False,
) -> int:
    """List the rollouts to batch that are proposed, and those decided within a month; or approve, edit or decline one.

    Proposals are made each week, for consumers who surely read late. approve starts the rollout. A declined one is not proposed
    again for a month.

    Example: lanes proposals decline 3 --why "the auditors need them at once"

    Exit code 1 when it is refused, 2 when there is no such proposal or something is missing.

    Args:
        do: What to do with a proposal; without it, they are listed.
        number: Number of the proposal.
        workload: To list: those of this workload.
        playbook: To approve or edit: another playbook, a file of migrations/playbooks without its ending.
        percents: To approve or edit: the percent to real-time of each step.
        hold_hours: To approve or edit: longest time of each step.
        who: Your name. The default: the user of this shell.
    """
    if do is None:
        return _listed(workload, as_json)
    if number is None:
        raise WrongUsage(f"{do} which? Say its number; `lanes proposals` lists them")
    with transaction() as (connection, _):
        whose = kept.workload_of(connection, ProposalId(number))
    if whose is None:
        raise WrongUsage(f"there is no proposal {number}; `lanes proposals` lists them")
    given: dict[str, Any] = {"proposal": number, "action": do, "playbook": playbook or None}
    given |= {"percents": percents or [], "hold_hours": hold_hours}
    given |= {"who": who} if who else {}

    from lanes.commands.actions import DecideProposal

    code = perform(DecideProposal, whose, why, as_json, **given)
    if do == "approve":
        from lanes.stand import reaching

        with suppress(StandError):  # Prefect is away: the hourly run leads the rollout
            reaching.ask_for(runs.migrate())
    return code


def _listed(workload: str | None, as_json: bool) -> int:
    with transaction() as (connection, now):
        if workload is not None:
            workloads.check_known(connection, workload)
        found = kept.listing(connection, workload, now=now)
    if as_json:
        print_json({"proposals": [as_data(each) for each in found]})
        return 0

    from lanes.report.proposal import NONE_OPEN, table

    if not found:
        print(NONE_OPEN)
    else:
        print_table(table(found), width=160)
    return 0


def as_data(of: ProposedRollout) -> dict[str, Any]:
    """Return a proposal as data."""
    figures = {**asdict(of.figures), "too_early": asdict(of.figures.too_early)}
    playbook = of.playbook.model_dump(mode="json")
    return {**asdict(of), "playbook": playbook, "figures": figures}
