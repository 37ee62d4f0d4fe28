"""Remedies for an incident: commands to copy, and the form to open."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from lanes.money.budget import Period
from lanes.promises.incident import EVERYBODY, Incident, IncidentState, Promise, batch_of_subject
from lanes.standing import runs
from lanes.standing.runs import Deployment, WantedRun

MOST_COMMAND = 1_000  # characters, more than any command has, because a cut command cannot run
DEADLINES = "lanes report --all   # section Deadlines by reason, and Predicted batch times"
SPENT = (
    "select s.lane, s.purpose, s.model, count(*) as responses, sum(s.cost_usd) as usd from lanes.spend s"
    " where s.workload = '{0}' and s.billed_at >= (select max(began_at) from lanes.budget_status where workload = '{0}'"
    " and period = '{1}') group by 1, 2, 3 order by 5 desc"
)
MISSING = "select key, error, started_at from lanes.attempt_log where batch_id = {} and outcome = 'missing'"

DEFINITION = "select jsonb_build_object($$name$$, workload) || spec from lanes.version where workload = $${}$$ and number = {}"
# Promises that break if no run of a deployment begins; the deployment uses the batch work pool.
KEPT_BY = {
    Promise.BATCH_NEVER_STARTED: Deployment.DEPART,
    Promise.COLLECT_STOPPED: Deployment.COLLECT,
}


class FormTarget(StrEnum):
    """The object in the Prefect UI that a form belongs to."""

    DEPLOYMENT = "deployment"  # its form, filled in with the known values
    BLOCK = "block"  # the editor of a workload
    PROVIDER = "provider"  # the editor of the account that answers
    RUN = "run"  # the run that waits for a person: Resume in its menu


@dataclass(frozen=True)
class FormLink:
    """A form to open, by the name of its deployment or block, with the known parameters."""

    label: str
    where: FormTarget
    name: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)


def commands(incident: Incident) -> list[str]:
    """Return the commands to type, in order, each with a comment on its effect."""
    workload = shlex.quote(incident.workload)
    pause = [
        f"lanes pause {workload}   # asks nothing more of it, until",
        f"lanes resume {workload}",
    ]
    match incident.promise:
        case Promise.BATCH_SLOW | Promise.BATCH_UNCLEAR:
            return ["lanes batches   # what each holds, and what each way out may cost"]
        case Promise.BATCH_INCOMPLETE:
            number = batch_of_subject(incident.subject)
            asked = (
                []
                if number is None
                else [f'lanes psql -c "{MISSING.format(number)}"   # which items are asked again']
            )
            return [*asked, f"lanes depart {workload}   # asks them again now: answers end this"]
        case Promise.AUTHORITATIVE_FAILED:
            return [
                f"lanes replay {workload} --only failed   # once the cause is fixed: asks these again, in batch",
                f"lanes diff {workload}   # what that would change; `lanes promote` makes it count",
            ]
        case Promise.BATCH_FAILING:
            return [
                f"lanes depart {workload}   # tries failed items again: good batches end this",
                *pause,
            ]
        case Promise.BATCH_INVALID | Promise.REALTIME_FAILING:
            return pause
        case Promise.FEED_SILENT:
            return ["lanes doctor   # whether Lanes itself is well", *pause]
        case Promise.ITEMS_FAILED:
            return [f"lanes retry {workload} --all   # once the cause is fixed"]
        case Promise.BATCH_NEVER_STARTED:
            return [f"lanes depart {workload}   # asks for a run of depart now"]
        case Promise.COLLECT_STOPPED:
            return ["lanes doctor   # whether Prefect, its workers and standing runs live"]
        case Promise.QUALITY_DRIFT | Promise.MODEL_CHANGED:
            accepted = f"lanes accept-quality {workload}   # answers from now on are the reference"
            return [
                accepted,
                *(
                    _list_rollback_commands(incident)
                    if incident.promise is Promise.QUALITY_DRIFT
                    else []
                ),
            ]
        case Promise.REALTIME_SLOW:
            return ["lanes status"]
        case Promise.PROVIDER_DOWN:
            return [
                "lanes doctor   # which models do not answer, since when, and when they are asked again"
            ]
        case Promise.ROLE_TAKEN:
            return [
                "lanes doctor   # which sessions hold roles of Lanes, and the statement that ends each"
            ]
        case Promise.WEBHOOK_GONE:
            name = shlex.quote(incident.subject.rpartition(" ")[2])
            return [
                f"lanes webhooks test {name}   # once it answers again: what waits is sent",
                f"lanes webhooks remove {name}   # if its program ended on purpose",
            ]
        case Promise.BUDGET:
            return [
                f"lanes budget {workload}   # shows it; --hard or --soft sets it",
                f"lanes psql -c {shlex.quote(_build_spending_query(incident))}   # what the money was spent on",
            ]
        case Promise.PROVIDER_FROZEN if incident.workload == EVERYBODY:
            return [
                "lanes up   # once ANTHROPIC_API_KEY is set: takes the new key",
                "lanes doctor   # what is refused",
            ]
        case Promise.PROVIDER_FROZEN if incident.subject.startswith("version "):
            return [
                f"lanes export {workload} > {workload}.yaml   # correct it, then",
                f"lanes publish {workload}.yaml   # the kept items continue with it automatically",
                f"lanes resume {workload}   # or asks the same version again",
            ]
        case Promise.PROVIDER_FROZEN:
            return ["lanes doctor   # which models the account may ask", *pause]
        case Promise.DEADLINE_AT_RISK:
            return [f"lanes depart {workload}   # sends what waits for a batch now", DEADLINES]
        case Promise.DEADLINE_MISSED | Promise.CHANCE_WRONG:
            return [DEADLINES]
        case Promise.ROUTING_SHIFTED | Promise.GUARDS_FIRE:
            return [f"lanes why {workload}   # which reason, consumer and version moved what"]
        case Promise.READ_LATE:
            return [
                f"lanes proposals --workload {workload}   # what a batch would save; approve it there"
            ]
        case _:
            return []


def form(incident: Incident) -> FormLink | None:
    """Return the form that helps to resolve the incident, if any."""
    match incident.promise:
        case Promise.BATCH_NEVER_STARTED:
            return _deployment("Let it depart now", runs.depart(incident.workload))
        case Promise.COLLECT_STOPPED:
            return _deployment("Let it collect now", runs.collect())
        case Promise.BATCH_UNCLEAR | Promise.BATCH_SLOW:
            return _deployment(
                "Decide about the batch",
                runs.decide_batch(incident.workload, **_read_batch(incident)),
            )
        case Promise.REALTIME_SLOW | Promise.REALTIME_FAILING | Promise.DEADLINE_AT_RISK:
            return _deployment("Move its traffic", runs.set_split(incident.workload))
        case Promise.ROUTING_SHIFTED | Promise.GUARDS_FIRE | Promise.READ_LATE:
            return _deployment("Move its traffic", runs.set_split(incident.workload))
        case Promise.BATCH_FAILING | Promise.FEED_SILENT:
            return _deployment("Pause it", runs.pause(incident.workload))
        case Promise.BILL_DIFFERS:
            return _deployment("Compare again", runs.reconcile())
        case Promise.BUDGET:
            return _deployment(
                "Raise the budget", runs.set_budget(incident.workload, **_read_budget(incident))
            )
        case Promise.QUALITY_DRIFT | Promise.MODEL_CHANGED:
            return _deployment("Accept the new answers", runs.accept_quality(incident.workload))
        case Promise.DEADLINE_MISSED | Promise.CHANCE_WRONG:
            return FormLink("Ask for more confidence", FormTarget.BLOCK, incident.workload)
        case Promise.PROVIDER_FROZEN if incident.workload == EVERYBODY:
            return FormLink("Set the key, then `lanes up`", FormTarget.PROVIDER)
        case Promise.AUTHORITATIVE_FAILED:
            return _deployment("Replay it", runs.replay(incident.workload))
        case Promise.WORKLOAD_INVALID | Promise.BATCH_INVALID | Promise.PROVIDER_FROZEN:
            return FormLink("Edit the workload", FormTarget.BLOCK, incident.workload)
        case Promise.RULE_RAISES:
            return FormLink("Edit the workload", FormTarget.BLOCK, incident.workload)
        case Promise.APPROVAL_WAITS:
            return FormLink("Answer it (Resume)", FormTarget.RUN)
        case _:
            return None


def list_handling_forms(incident: Incident) -> list[WantedRun]:
    """Return the forms that acknowledge and silence an open incident, filled in."""
    if incident.state is not IncidentState.OPEN:
        return []
    known = {"workload": incident.workload, "incident": incident.id}
    return [runs.handle_incident(action=each, **known) for each in ("acknowledge", "silence")]


def _build_spending_query(of: Incident) -> str:
    """Return the query for the workload's spending in the period of its budget, by lane, purpose and model."""
    return SPENT.format(of.workload.replace("'", "''"), _read_budget(of).get("period", Period.DAY))


def _list_rollback_commands(incident: Incident) -> list[str]:
    """Return the commands that put the version before the subject's version in force again, if there is one."""
    number = incident.subject.rpartition("version ")[2]
    if not number.isdecimal() or (before := int(number) - 1) < 1:
        return []
    query = shlex.quote(DEFINITION.format(incident.workload, before))
    file = shlex.quote(f"{incident.workload}-{before}.yaml")
    return [
        f"lanes psql -Atc {query} > {file}   # writes the definition of version {before}",
        f"lanes publish {file}   # puts that version in force again",
    ]


def explain(workload: str, key: str) -> str:
    """Return the command that explains an item."""
    return f"lanes explain {shlex.quote(workload)} {shlex.quote(key)}"


def _deployment(label: str, of: WantedRun) -> FormLink:
    return FormLink(label, FormTarget.DEPLOYMENT, of.deployment, of.parameters)


def _read_batch(of: Incident) -> dict[str, Any]:
    number = batch_of_subject(of.subject)
    return {} if number is None else {"batch": number}


def _read_budget(incident: Incident) -> dict[str, Any]:
    """Return the fields of the budget that the incident's subject names."""
    period, budget, whose = incident.subject.partition(" budget")
    if not budget or period not in list(Period):
        return {}
    return (
        {"period": period, "consumer": whose.removeprefix(" of ")} if whose else {"period": period}
    )
