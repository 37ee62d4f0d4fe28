"""What Lanes asks for is what the flows take."""

from datetime import UTC, datetime

import pytest

from lanes.standing import runs
from lanes.standing.runs import WantedRun
from tests.flows.deployed import flow_of


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
def test_a_run_that_is_asked_for_is_of_a_flow_that_takes_all_its_parameters(
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
def test_a_form_that_is_opened_filled_in_has_all_the_fields_that_are(wanted: WantedRun) -> None:
    flow = flow_of(wanted.deployment)
    ((parameter, said),) = wanted.parameters.items()
    form = flow.fn.__annotations__[parameter].model_fields
    assert said.keys() <= form.keys()


def test_what_lanes_asks_for_is_not_held_against_the_choices_of_a_form() -> None:
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
