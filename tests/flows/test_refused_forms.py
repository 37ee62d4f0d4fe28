"""Mistakes in forms are refused with a sentence that says where the mistake is, and change nothing."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import State, StateType
from prefect.exceptions import ParameterTypeError
from prefect.utilities.schema_tools.validation import ValidationError, validate
from sqlalchemy import Connection, Engine, text

from lanes.store.database import Database
from lanes.workload.form import offer_workloads
from tasks.connections import Connections
from tasks.runs import REFUSED
from tests.conftest import NOON
from tests.examples import publish
from tests.flows.deployed import flow_of, schema_of
from tests.prefect_standin import PrefectStandIn

SIGNED = {"workload": "letters", "who": "ada", "why": "so"}
LONG = "x" * 501
GOOD: dict[str, tuple[str, dict[str, Any]]] = {
    "depart": ("departure", {}),
    "pause": ("action", SIGNED),
    "accept_quality": ("action", SIGNED),
    "end_split": ("action", {**SIGNED, "consumer": "desk"}),
    "remove_budget": ("action", SIGNED),
    "abort_rollout": ("action", SIGNED),
    "hold_rollout": ("action", SIGNED),
    "promote_rollout": ("action", SIGNED),
    "extend_rollout": ("action", {**SIGNED, "hours": 24}),
    "decide_proposal": ("action", {**SIGNED, "proposal": 3, "action": "approve"}),
    "promote": ("action", SIGNED),
    "retry": ("action", SIGNED),
    "job": ("action", {**SIGNED, "job": "week.csv"}),
    "cancel": ("action", {**SIGNED, "key": "a"}),
    "explain": ("action", {**SIGNED, "key": "a"}),
    "preview": ("action", {**SIGNED, "key": "a"}),
    "label": ("action", {**SIGNED, "key": "a", "expected": {"category": "a"}}),
    "set_split": ("split", {**SIGNED, "percent": 12}),
    "set_budget": ("budget", {**SIGNED, "hard_usd": 3}),
    "set_overhead": (
        "overhead",
        {**SIGNED, "lane": "batch", "kind": "engineering", "monthly_usd": 5},
    ),
    "decide_batch": ("decision", {**SIGNED, "batch": 41, "action": "give_up", "sure": True}),
    "handle_incident": ("action", {**SIGNED, "incident": 12, "action": "silence"}),
    "replay": ("reading", {"workload": "letters"}),
    "migrate": ("order", {**SIGNED}),
    "advise": ("question", {"workload": "letters"}),
    "report": ("period", {}),
    "tidy": ("retention", {}),
    "answer": ("wake", {}),
}
BY_PREFECT: list[tuple[str, dict[str, Any], str]] = [
    ("depart", {"workload": "nobody"}, "'nobody' is not one of ['letters']"),
    ("depart", {"workload": ""}, "'' is not one of ['letters']"),
    ("depart", {"workload": "Letters\x00"}, "is not one of ['letters']"),
    ("depart", {"workload": 7}, "7 is not one of"),
    ("depart", {"worklaod": "letters"}, "'worklaod' was unexpected"),
    ("pause", {"workload": "nobody"}, "'nobody' is not one of ['letters']"),
    ("pause", {"why": ""}, "'' should be non-empty"),
    ("pause", {"why": LONG}, "is too long"),
    ("set_overhead", {"workload": "nobody"}, "'nobody' is not one of ['*', 'letters']"),
    ("decide_batch", {"action": "explode"}, "'explode' is not one of ['adopt'"),
    ("set_split", {"percent": 101}, "101 is greater than the maximum of 100"),
    ("set_budget", {"hard_us": 3}, "'hard_us' was unexpected"),
    ("promote", {"generation": 10**23}, "is greater than the maximum"),
    ("cancel", {"key": ""}, "'' should be non-empty"),
    ("set_split", {"percent": -1}, "-1 is less than the minimum of 0"),
    ("set_split", {"percent": "many"}, "'many' is not of type 'number'"),
    ("set_split", {"consumer": LONG}, "is too long"),
    ("set_budget", {"hard_usd": -3}, "-3 is less than the minimum of 0"),
    ("set_budget", {"period": "year"}, "'year' is not one of ['day', 'month']"),
    ("set_overhead", {"lane": "fast"}, "'fast' is not one of ['realtime', 'batch']"),
    ("set_overhead", {"monthly_usd": 1e10}, "is greater than the maximum"),
    ("extend_rollout", {"hours": 0}, "0 is less than the minimum of 1"),
    ("extend_rollout", {"hours": 721}, "721 is greater than the maximum of 720"),
    ("decide_proposal", {"action": "ship"}, "'ship' is not one of ['approve', 'edit', 'decline']"),
    ("decide_proposal", {"percents": [101]}, "101 is greater than the maximum of 100"),
    ("decide_proposal", {"playbook": "none"}, "'none' is not one of ['batch-to-realtime'"),
    ("decide_batch", {"batch": 0}, "0 is less than the minimum of 1"),
    ("decide_batch", {"batch": 10**23}, "is greater than the maximum"),
    ("handle_incident", {"action": "hide"}, "'hide' is not one of ['silence', 'acknowledge']"),
    ("handle_incident", {"hours": 721}, "721 is greater than the maximum of 720"),
    ("handle_incident", {"workload": "nobody"}, "'nobody' is not one of ['*', 'letters']"),
    ("replay", {"workload": "nobody"}, "'nobody' is not one of ['letters']"),
    ("replay", {"version": 10**30}, "is greater than the maximum"),
    ("replay", {"from_position": 10**25}, "is greater than the maximum"),
    ("replay", {"why": LONG}, "is too long"),
    ("migrate", {"workload": "nobody"}, "'nobody' is not one of ['letters']"),
    ("migrate", {"playbook": "sideways"}, "'sideways' is not one of"),
    ("migrate", {"why": LONG}, "is too long"),
    ("advise", {"days": 0}, "0 is less than the minimum of 1"),
    ("advise", {"items_per_month": 0}, "0 is less than or equal to the minimum of 0"),
    ("advise", {"items_per_month": 1e300}, "is greater than the maximum"),
    ("report", {"hours": 721}, "721 is greater than the maximum of 720"),
    ("tidy", {"refused_days": 0}, "0 is less than the minimum of 1"),
    ("tidy", {"reads_days": 29}, "29 is less than the minimum of 30"),
]
BY_THE_FORM: list[tuple[str, dict[str, Any], str]] = [
    ("pause", {"why": "   "}, "action.why: .*at least 1 character"),
    ("pause", {"who": "a\x00b"}, "action.who: .*NUL .*cannot be stored"),
    ("set_split", {"consumer": "z\ud800"}, "split.consumer: .*unicode"),
    ("replay", {"who": "a\x00b"}, "reading.who: .*NUL .*cannot be stored"),
    ("set_overhead", {"from_date": "yesterday"}, "overhead.from_date: .*valid date"),
    ("report", {"since": "then"}, "period.since: .*valid date"),
    ("answer", {"event_id": "no uuid"}, "wake.event_id: .*valid UUID"),
    ("replay", {"who": " "}, "reading.who: .*at least 1 character"),
]
BY_THE_FLOW: list[tuple[str, dict[str, Any], str]] = [
    ("depart", {"workload": "nobody"}, 'no workload "nobody"; correct the name, or publish it'),
    ("pause", {"workload": "nobody"}, 'no workload "nobody"; correct the name'),
    ("pause", {"workload": "*"}, r'no workload "\*"; correct the name'),
    ("accept_quality", {}, 'no answers of workload "letters" have changed; see `lanes alerts`'),
    ("end_split", {}, 'consumer "desk" of workload "letters" has no split of its own'),
    ("remove_budget", {}, "no such budget: letters, day budget; `lanes budget` shows all"),
    ("abort_rollout", {}, "no open rollout; see lanes.rollout_log"),
    ("hold_rollout", {}, "no open rollout; see lanes.rollout_log"),
    ("promote_rollout", {}, "no open rollout; see lanes.rollout_log"),
    ("extend_rollout", {}, "no open rollout; see lanes.rollout_log"),
    ("decide_proposal", {}, 'workload "letters" has no proposal 3: `lanes proposals` lists them'),
    ("promote", {}, "was never replayed"),
    ("retry", {"workload": "nobody"}, 'workload "nobody"'),
    ("job", {}, 'no job "week.csv"; `lanes jobs` lists the newest'),
    ("cancel", {}, 'workload "letters" has no item "a"'),
    ("label", {}, 'workload "letters" has no item "a"'),
    ("label", {"expected": {"category": "z"}}, "expected: its label breaks the schema at category"),
    ("label", {"expected": {"sort": "a"}}, 'its label names "sort", which is no field'),
    ("label", {"workload": "nobody"}, 'workload "nobody" has no published version'),
    ("explain", {}, 'workload "letters" has no item "a"'),
    ("preview", {}, 'workload "letters" has no item "a" whose input is kept'),
    ("set_split", {"workload": "nobody"}, 'no workload "nobody"; correct the name'),
    ("set_budget", {"workload": "nobody"}, 'no workload "nobody"; correct the name'),
    ("set_budget", {"hard_usd": None}, "needs soft_usd, hard_usd or both"),
    ("set_budget", {"soft_usd": 9}, r"soft_usd \(\$9.00\) is above hard_usd \(\$3.00\)"),
    ("set_budget", {"hard_usd": 1e-12}, "hard_usd are 0, or 0.0000000001 US dollars at least"),
    (
        "set_budget",
        {"zone": "Mars/Olympus"},
        '"Mars/Olympus" is not an IANA time zone; for example Europe/Berlin',
    ),
    ("set_overhead", {"from_date": "2099-01-01"}, "2099-01-01 is after today"),
    ("set_overhead", {"workload": "nobody"}, 'no workload "nobody"; correct the name'),
    (
        "decide_batch",
        {"batch": 424242},
        'workload "letters" has no batch 424242: see `lanes batches`',
    ),
    ("decide_batch", {"action": "adopt"}, "provider_batch: say which"),
    (
        "handle_incident",
        {},
        "no incident 12 of letters is open: `lanes alerts` lists those that are",
    ),
    (
        "replay",
        {"workload": "nobody"},
        'workload "nobody" has no published version; publish it, or correct',
    ),
    ("replay", {"version": 99}, "no version 99; its versions are 1 to 1"),
    (
        "replay",
        {"from_position": 50, "to_position": 3},
        "position 50 is after .*; name the lower one first",
    ),
    (
        "replay",
        {"from_position": 10**15},
        "has no items from position 1000000000000000 on, it has none: nothing to replay",
    ),
    (
        "migrate",
        {"workload": "nobody"},
        'workload "nobody" has no published version; publish it, or correct',
    ),
    ("migrate", {"who": "", "why": ""}, "who and why: .* fill both in"),
    ("migrate", {"file": "/nowhere/at all.yaml"}, 'there is no file "/nowhere/at all.yaml"'),
    ("migrate", {"file": "/"}, 'there is no file "/"'),
    ("migrate", {"file": __file__}, "line 1"),
    ("migrate", {"file": "a\x00b"}, "file holds the character NUL"),
    (
        "advise",
        {"workload": "nobody"},
        'workload "nobody" has no published version; publish it, or correct',
    ),
    (
        "report",
        {"since": "2099-01-01T00:00:00Z"},
        "since: 2099-01-01 00:00 UTC is in the future .* choose an earlier moment",
    ),
]
TASKS = [
    ("tasks.by_hand", "perform"),
    ("flows.replay", "begin_replay"),
    ("flows.advise", "write_advice"),
    ("flows.report", "write_report"),
    ("flows.depart", "publish_workloads"),
]
EVERYTHING = """
select (select json_agg(s) from lanes.split s)::text, (select json_agg(w) from lanes.workload w)::text,
       (select count(*) from lanes.budget), (select count(*) from lanes.overhead), (select count(*) from lanes.generation),
       (select count(*) from lanes.rollout), (select count(*) from lanes.proposal)
"""


def written(deployment: str, wrong: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of a form that is filled in correctly except for `wrong`."""
    parameter, good = GOOD[deployment]
    return {parameter: good | wrong}


def named(case: tuple[str, dict[str, Any], str]) -> str:
    deployment, wrong, _ = case
    return f"{deployment} {wrong}"[:60].encode("ascii", "backslashreplace").decode()


@pytest.mark.parametrize("deployment", GOOD)
def test_forms_without_a_mistake_are_accepted(deployment: str) -> None:
    validate(
        written(deployment, {}),
        offer_workloads(schema_of(deployment), ["letters"]),
        raise_on_error=True,
    )


@pytest.mark.parametrize("case", BY_PREFECT, ids=named)
def test_prefect_creates_no_run_with_a_value_that_the_form_excludes(
    case: tuple[str, dict[str, Any], str],
) -> None:
    deployment, wrong, why = case
    # Prefect's server validates in the same way, and checks no formats.
    with pytest.raises(ValidationError, match=re.escape(why)):
        validate(
            written(deployment, wrong),
            offer_workloads(schema_of(deployment), ["letters"]),
            raise_on_error=True,
        )


@pytest.mark.parametrize(
    "deployment", [each for each in GOOD if each not in ("answer", "report", "tidy")]
)
def test_prefect_creates_no_run_with_a_parameter_of_another_name(deployment: str) -> None:
    ((parameter, good),) = written(deployment, {}).items()
    schema = offer_workloads(schema_of(deployment), ["letters"])
    with pytest.raises(ValidationError, match=f"'x{parameter}' was unexpected"):
        validate({parameter: good, f"x{parameter}": good}, schema, raise_on_error=True)


@pytest.mark.parametrize("case", BY_THE_FORM, ids=named)
def test_a_mistake_that_only_the_flow_detects_is_reported_with_the_name_of_its_field(
    case: tuple[str, dict[str, Any], str],
) -> None:
    deployment, wrong, why = case
    flow = flow_of(deployment)
    with pytest.raises(ParameterTypeError, match=why):
        flow.validate_parameters(written(deployment, wrong))


@pytest.mark.slow
async def test_an_impossible_request_ends_its_run_as_refused_with_the_reason_and_changes_nothing(
    at: Connections, pool: Engine, prefect: PrefectStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    @asynccontextmanager
    async def database() -> AsyncIterator[Database]:
        yield at.db

    @asynccontextmanager
    async def connections() -> AsyncIterator[Connections]:
        yield at

    for module in (
        "flows.replay",
        "flows.advise",
        "flows.migrate",
        "flows.report",
        "tasks.by_hand",
    ):
        monkeypatch.setattr(import_module(module), "database", database)
    monkeypatch.setattr(import_module("flows.depart"), "connections", connections)
    for module, name in TASKS:  # called, not run: no server receives their events
        monkeypatch.setattr(import_module(module), name, getattr(import_module(module), name).fn)
    monkeypatch.setattr("prefect.runtime.flow_run.get_id", lambda: str(uuid4()))
    with pool.begin() as connection:
        publish(connection, now=NOON)
        before = everything(connection)
    said: dict[str, str] = {}
    for case in BY_THE_FLOW:
        deployment, wrong, _ = case
        flow = flow_of(deployment)
        ended = await flow.fn(**flow.validate_parameters(written(deployment, wrong)))
        assert isinstance(ended, State), (case, ended)
        assert (ended.type, ended.name) == (StateType.FAILED, REFUSED)
        said[named(case)] = ended.message or ""
    assert [
        (named(each), said[named(each)])
        for each in BY_THE_FLOW
        if not re.search(each[2], said[named(each)])
    ] == []
    with pool.begin() as connection:
        assert everything(connection) == before


def everything(connection: Connection) -> Any:
    """Return everything that these forms could have changed."""
    return connection.execute(text(EVERYTHING)).one()
