"""The runs that Lanes asks for: of deployments that exist, and one a minute where that is wanted."""

from pathlib import Path

import pytest
import yaml

from lanes.standing import runs
from lanes.standing.runs import Deployment
from tests.conftest import NOON, later


def test_the_deployments_are_those_of_prefect_yaml(checkout: Path) -> None:
    declared = yaml.safe_load((checkout / "prefect.yaml").read_text())["deployments"]
    assert [each["name"] for each in declared] == [each.value for each in Deployment]
    assert [each["entrypoint"].rpartition(".")[2] for each in declared] == [
        each.value for each in Deployment
    ]


@pytest.mark.parametrize("s", [0, 59.9])
def test_all_who_ask_within_a_minute_for_the_same_reason_ask_for_one_run(s: float) -> None:
    wanted = runs.depart("letters")
    assert wanted.once_a_minute("deadline", NOON) == wanted.once_a_minute(
        "deadline", later(seconds=s)
    )


def test_a_run_of_submit_tells_whose_it_is() -> None:
    assert runs.departing_workload(runs.depart("letters").parameters) == "letters"
    for everything in ({}, {"departure": None}, {"departure": {"workload": None}}):
        assert runs.departing_workload(everything) is None


def test_another_minute_or_another_reason_is_another_run() -> None:
    wanted = runs.depart("letters")
    assert wanted.key is None
    asked = [("deadline", 0), ("deadline", 60), ("retry", 0)]
    assert len({wanted.once_a_minute(why, later(seconds=s)).key for why, s in asked}) == len(asked)
