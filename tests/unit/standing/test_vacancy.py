"""Requests for standing runs by a chosen clock: which run, and when. Requests within ten seconds for one reason are one run."""

from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from lanes.standing import runs
from lanes.standing.roles import (
    BEGINNING_FOR,
    DOUBTED_AFTER,
    LOOK_EVERY_S,
    PENDING_FOR,
    SOON,
    STANDING,
    DeploymentRun,
    Role,
    StandingRun,
    Vacancies,
    may_take_role,
    never_free,
    replacement,
)
from lanes.standing.runs import Deployment, WantedRun
from tests.conftest import NOON, later

ALL = {each.role for each in STANDING}


def due(vacancies: Vacancies, *free: Role, s: float) -> set[Role]:
    """Return the roles to request `s` seconds after noon while these are free and the others are held."""
    return {each.role for each in vacancies.to_ask(STANDING, ALL - set(free), later(seconds=s))}


@pytest.mark.parametrize("role", [each.role for each in STANDING])
def test_a_role_that_is_free_for_one_polling_interval_is_requested(role: Role) -> None:
    seen = Vacancies()
    assert due(seen, role, s=0) == set()
    assert due(seen, role, s=0.7) == set()
    assert due(seen, role, s=LOOK_EVERY_S) == {role}


def test_a_role_that_was_held_in_between_counts_as_newly_free() -> None:
    seen = Vacancies()
    assert due(seen, Role.COLLECTOR, s=0) == set()
    assert due(seen, s=1) == set()
    assert due(seen, Role.COLLECTOR, s=2) == set()
    assert due(seen, Role.COLLECTOR, s=4) == {Role.COLLECTOR}


def test_a_role_is_requested_once_and_again_12_seconds_later_if_it_is_still_free() -> None:
    seen = Vacancies()
    due(seen, Role.WATCHER, s=0)
    assert due(seen, Role.WATCHER, s=20) == {Role.WATCHER}
    seen.record_request(Role.WATCHER, later(seconds=21))
    assert due(seen, Role.WATCHER, s=32) == set()
    assert due(seen, Role.WATCHER, s=33) == {Role.WATCHER}


def test_a_request_that_failed_is_repeated_at_the_next_poll() -> None:
    seen = Vacancies()
    due(seen, Role.WATCHER, s=0)
    assert due(seen, Role.WATCHER, s=20) == due(seen, Role.WATCHER, s=25) == {Role.WATCHER}


def test_a_role_that_was_filled_and_is_free_again_is_requested_without_a_back_off() -> None:
    seen = Vacancies()
    due(seen, Role.COLLECTOR, s=0)
    due(seen, Role.COLLECTOR, s=20)
    seen.record_request(Role.COLLECTOR, later(seconds=20))
    due(seen, s=21)
    due(seen, Role.COLLECTOR, s=22)
    assert due(seen, Role.COLLECTOR, s=24) == {Role.COLLECTOR}


def test_the_time_that_a_role_is_free_counts_for_each_role_separately() -> None:
    seen = Vacancies()
    due(seen, Role.COLLECTOR, s=0)
    due(seen, Role.COLLECTOR, Role.KEEPER, s=1.5)
    assert due(seen, Role.COLLECTOR, Role.KEEPER, s=2) == {Role.COLLECTOR}
    assert due(seen, *ALL, s=3) == {Role.COLLECTOR, Role.KEEPER}


def test_the_keepers_role_may_be_free_if_no_drain_is_kept_warm() -> None:
    assert {each.role for each in never_free(keep_warm=2)} == {*ALL, Role.STANDBY}
    assert {each.role for each in never_free(keep_warm=1)} == ALL
    assert {each.role for each in never_free(keep_warm=0)} == {Role.COLLECTOR, Role.WATCHER}


def test_requests_within_ten_seconds_share_a_key_that_other_roles_and_later_requests_do_not() -> (
    None
):
    keeper, collector, _ = STANDING
    assert replacement(keeper, NOON) == replacement(keeper, later(seconds=9))
    asked = [
        replacement(keeper, NOON),
        replacement(collector, NOON),
        replacement(keeper, later(seconds=10)),
    ]
    assert len({each.key for each in asked}) == 3


@pytest.mark.parametrize(
    ("state", "age", "comes"),
    [
        ("SCHEDULED", timedelta(0), True),
        # Late: no worker took it, and none would take another.
        ("SCHEDULED", timedelta(days=2), True),
        ("SCHEDULED", -SOON, True),  # requested by an automation
        ("SCHEDULED", timedelta(minutes=-30), False),  # a future run of the hourly schedule
        ("PENDING", DOUBTED_AFTER - timedelta(seconds=1), True),
        ("PENDING", DOUBTED_AFTER, False),
        ("RUNNING", BEGINNING_FOR - timedelta(seconds=1), True),
        # The run lives without the role, or was killed unnoticed.
        ("RUNNING", BEGINNING_FOR, False),
        ("CRASHED", timedelta(0), False),
        ("COMPLETED", timedelta(0), False),
    ],
)
def test_a_run_may_take_its_role_until_it_should_hold_it(
    state: str, age: timedelta, comes: bool
) -> None:
    assert (
        may_take_role([DeploymentRun("CRASHED", NOON), DeploymentRun(state, NOON - age)], NOON)
        is comes
    )


def test_only_one_more_run_is_requested_while_processes_start_slowly() -> None:
    slow = [DeploymentRun("PENDING", NOON), DeploymentRun("PENDING", NOON + DOUBTED_AFTER)]
    assert may_take_role(slow, NOON + 2 * DOUBTED_AFTER)
    assert not may_take_role(slow, NOON + PENDING_FOR)


def test_schedules_and_automations_request_the_same_runs_as_the_code(
    checkout: Path,
) -> None:
    deployments = {
        each["name"]: each
        for each in yaml.safe_load((checkout / "prefect.yaml").read_text())["deployments"]
    }
    scheduled = [
        StandingRun(run.role, WantedRun(Deployment(run.flow), schedule.get("parameters", {})))
        for run in STANDING
        for schedule in deployments[run.flow]["schedules"]
    ]
    assert scheduled == list(STANDING)
    declared = yaml.safe_load((checkout / "tasks" / "automations.yaml").read_text())
    replacing = {each["deployment"]: each["parameters"] for each in declared}
    assert [replacing[run.next.deployment.address] for run in STANDING] == [
        run.next.parameters for run in STANDING
    ]
    assert replacing[runs.migrate().deployment.address] == runs.migrate().parameters


def test_the_deployments_are_those_of_prefect_yaml(checkout: Path) -> None:
    declared = yaml.safe_load((checkout / "prefect.yaml").read_text())["deployments"]
    assert [each["name"] for each in declared] == [each.value for each in Deployment]
    assert [each["entrypoint"].rpartition(".")[2] for each in declared] == [
        each.value for each in Deployment
    ]


@pytest.mark.parametrize("s", [0, 59.9])
def test_requests_within_a_minute_for_one_reason_are_one_run(s: float) -> None:
    wanted = runs.depart("letters")
    assert wanted.once_a_minute("deadline", NOON) == wanted.once_a_minute(
        "deadline", later(seconds=s)
    )


def test_the_parameters_of_a_depart_run_name_its_workload() -> None:
    assert runs.departing_workload(runs.depart("letters").parameters) == "letters"
    for everything in ({}, {"departure": None}, {"departure": {"workload": None}}):
        assert runs.departing_workload(everything) is None


def test_another_minute_or_another_reason_is_another_run() -> None:
    wanted = runs.depart("letters")
    assert wanted.key is None
    asked = [("deadline", 0), ("deadline", 60), ("retry", 0)]
    assert len({wanted.once_a_minute(why, later(seconds=s)).key for why, s in asked}) == len(asked)
