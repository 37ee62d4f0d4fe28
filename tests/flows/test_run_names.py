"""Flows accept the runs that Lanes requests, and the list of runs names the action and the workload."""

from datetime import UTC, datetime
from typing import Any

import pytest

from lanes.standing import runs
from lanes.standing.runs import WantedRun
from tests.flows.deployed import flow_of

SIGNED = {"workload": "tickets", "who": "ada", "why": "so"}
NAMES: list[tuple[str, dict[str, Any], str]] = [
    ("depart", {"departure": {"workload": "tickets"}}, "depart tickets"),
    ("depart", {"departure": {}}, "depart everything"),
    ("pause", {"action": SIGNED}, "pause tickets"),
    ("accept_quality", {"action": SIGNED}, "accept quality tickets"),
    ("abort_rollout", {"action": SIGNED}, "abort rollout tickets"),
    ("promote_rollout", {"action": SIGNED}, "promote rollout tickets"),
    ("extend_rollout", {"action": {**SIGNED, "hours": 24}}, "extend rollout tickets by 24 h"),
    (
        "decide_proposal",
        {"action": {**SIGNED, "proposal": 3, "action": "decline"}},
        "decline proposal 3 of tickets",
    ),
    ("cancel", {"action": {**SIGNED, "key": "a"}}, "cancel tickets"),
    ("set_split", {"split": {**SIGNED, "percent": 30}}, "set split tickets to 30 %"),
    ("end_split", {"action": {**SIGNED, "consumer": "desk"}}, "end split tickets"),
    (
        "set_budget",
        {"budget": {**SIGNED, "hard_usd": 20, "period": "month"}},
        "set budget tickets by month",
    ),
    (
        "set_overhead",
        {"overhead": {**SIGNED, "lane": "batch", "kind": "engineering", "monthly_usd": 250}},
        "set overhead tickets batch engineering",
    ),
    (
        "decide_batch",
        {"decision": {**SIGNED, "batch": 41, "action": "resubmit"}},
        "what if: resubmit batch 41 of tickets",
    ),
    (
        "decide_batch",
        {"decision": {**SIGNED, "batch": 41, "action": "give_up", "sure": True}},
        "give up batch 41 of tickets",
    ),
    (
        "handle_incident",
        {"action": {**SIGNED, "incident": 12, "action": "silence"}},
        "silence incident 12 of tickets",
    ),
    ("migrate", {"order": {"workload": "tickets"}}, "migrate tickets by batch-to-realtime"),
    (
        "migrate",
        {"order": {"workload": "tickets", "file": "/srv/books/slow.yaml"}},
        "migrate tickets by slow.yaml",
    ),
    ("migrate", {"order": {}}, "migrate an open rollout without a run"),
    ("replay", {"reading": {"workload": "tickets"}}, "replay tickets"),
    ("replay", {"reading": {"workload": "tickets", "version": 3}}, "replay tickets by version 3"),
    ("advise", {"question": {"workload": "tickets"}}, "advise on tickets, 30 days"),
    ("report", {"period": {"hours": 6}}, "report, 6 h"),
    (
        "report",
        {"period": {"since": datetime(2026, 11, 24, 12, tzinfo=UTC)}},
        "report, since 2026-11-24 12:00+00:00",
    ),
]


@pytest.mark.parametrize(
    ("deployment", "filled_in", "name"), NAMES, ids=[name for _, _, name in NAMES]
)
def test_a_run_is_named_after_its_action_and_its_workload(
    deployment: str, filled_in: dict[str, Any], name: str
) -> None:
    flow = flow_of(deployment)
    assert str(flow.flow_run_name).format(**flow.validate_parameters(filled_in)) == name


@pytest.mark.parametrize(
    "wanted",
    [
        runs.answer(),
        runs.answer(standing=True),
        runs.collect(),
        runs.watch(),
        runs.migrate(),
        runs.migrate(workload="letters", playbook="batch-to-realtime", who="ada", why="so"),
        runs.depart("letters"),
    ],
    ids=lambda wanted: str(wanted.parameters) if wanted.parameters else wanted.deployment,
)
def test_a_requested_run_has_a_flow_that_accepts_all_its_parameters(
    wanted: WantedRun,
) -> None:
    flow = flow_of(wanted.deployment)
    taken = flow.validate_parameters(dict(wanted.parameters))
    for name, said in wanted.parameters.items():
        assert taken[name].model_fields_set == set(said)


@pytest.mark.parametrize(
    "wanted",
    [
        runs.set_split("letters"),
        runs.set_budget("letters", period="month", consumer="acme"),
        runs.decide_batch("letters", batch=41),
        runs.handle_incident(workload="letters", incident=12, action="silence"),
        runs.pause("letters"),
    ],
    ids=lambda wanted: wanted.deployment,
)
def test_a_prefilled_form_has_all_the_fields_that_are_filled_in(wanted: WantedRun) -> None:
    flow = flow_of(wanted.deployment)
    ((parameter, said),) = wanted.parameters.items()
    form = flow.fn.__annotations__[parameter].model_fields
    assert said.keys() <= form.keys()


def test_a_request_of_lanes_is_not_checked_against_the_choices_of_a_form() -> None:
    asked = runs.depart("published-a-moment-ago").request()
    assert asked == {
        "parameters": {"departure": {"workload": "published-a-moment-ago"}},
        "enforce_parameter_schema": False,
    }
    assert (
        runs.depart("letters")
        .once_a_minute("deadline", datetime(2026, 11, 24, tzinfo=UTC))
        .request()["idempotency_key"]
    )
