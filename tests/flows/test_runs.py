"""What Lanes asks for is what the flows take."""

from datetime import UTC, datetime
from typing import Any

import pytest
from prefect import Flow

from flows.act import act
from flows.answer import answer
from flows.collect import collect
from flows.migrate import migrate
from flows.report import report
from flows.submit import submit
from flows.watch import watch
from lanes.standing import runs
from lanes.standing.runs import WantedRun
from tasks.act import Deed

FLOWS: list[Flow[..., Any]] = [answer, submit, collect, watch, migrate, act, report]
SIGNED = {"deed": Deed.SET_SPLIT, "workload": "letters", "percent": 5, "who": "w", "why": "y"}


@pytest.mark.parametrize(
    "wanted",
    [
        runs.answer(), runs.answer(standing=True), runs.collect(), runs.watch(), runs.migrate(), runs.submit("letters"),
        runs.report(datetime(2026, 11, 24, tzinfo=UTC)), runs.act(**SIGNED),
    ],
    ids=lambda wanted: str(wanted.parameters) if wanted.parameters else wanted.deployment,
)  # fmt: skip
def test_a_run_that_is_asked_for_is_of_a_flow_that_takes_all_its_parameters(wanted: WantedRun) -> None:
    (flow,) = [each for each in FLOWS if each.name == wanted.deployment]
    taken = flow.validate_parameters(dict(wanted.parameters))
    for name, said in wanted.parameters.items():
        assert taken[name].model_fields_set == set(said)
