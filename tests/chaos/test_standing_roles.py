"""Standing runs killed in the middle of their work are replaced while Prefect's automations are switched off.

One stand of its own: no other test should go without automations.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lanes.standing.roles import STANDING, Role, StandingRun
from tests.running_stand import RunningStand, put_up, take_down
from tests.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
REPLACED_WITHIN_S = 75  # 20 while the one before may begin, and the start of a process


@pytest.fixture(scope="module")
def stand(open_folder: Path) -> Iterator[RunningStand]:
    """Put up a stand without automations, whose roles are all held."""
    up = put_up(open_folder / "unautomated")
    try:
        automations = (
            up.prefect.post("automations/filter", json={"limit": 200}).raise_for_status().json()
        )
        assert automations
        for each in automations:
            up.prefect.delete(f"automations/{each['id']}").raise_for_status()
        for each in STANDING:
            until(lambda role=each.role: up.holder(role), what=f"a first run of {each.flow}")
        yield up
    finally:
        take_down(up)


def replaced(stand: RunningStand, role: Role, before: int) -> bool:
    """Another session holds the role."""
    now = stand.holder(role)
    return now is not None and now.session != before


@pytest.mark.parametrize("killed", STANDING, ids=lambda run: run.flow)
def test_a_killed_standing_run_is_replaced_by_those_that_live(
    stand: RunningStand, killed: StandingRun
) -> None:
    before = stand.kill_holder(killed.role)
    until(
        lambda: replaced(stand, killed.role, before),
        within_s=REPLACED_WITHIN_S,
        what=f"another run of {killed.flow}",
    )


def test_standing_runs_that_were_all_killed_at_once_are_replaced_by_the_supervisor(
    stand: RunningStand,
) -> None:
    before = {each.role: stand.kill_holder(each.role) for each in STANDING}
    for role, session in before.items():
        until(
            lambda r=role, s=session: replaced(stand, r, s),
            within_s=REPLACED_WITHIN_S,
            what=f"another {role.name}",
        )
    said = (stand.home / "logs" / "supervisor.log").read_text()
    assert "asked for a run of it" in said


def test_a_role_that_was_filled_is_asked_for_no_more(stand: RunningStand) -> None:
    """Runs last: no more runs were made than died, and those at the beginning (fewer when an hourly one took over)."""
    for each in STANDING:
        made = stand.prefect.post(
            "flow_runs/filter",
            json={
                "deployments": {"name": {"any_": [each.flow]}},
                "flow_runs": {
                    "state": {
                        "type": {
                            "any_": ["SCHEDULED", "PENDING", "RUNNING", "CRASHED", "COMPLETED"]
                        }
                    }
                },
                "limit": 200,
            },
        )
        began = [
            run
            for run in made.raise_for_status().json()
            if run["start_time"] and not run["auto_scheduled"]
        ]
        assert len(began) <= 3, (
            each.flow,
            [(run["name"], run["state_name"], run["start_time"]) for run in began],
        )
