"""Takeover of roles after runs, and then a whole host, are killed; no more runs are requested than died.

The stand's automations are deleted, because Lanes must not need them. One host consists of the stand's workers, supervisor and
runs; a second `lanes worker` with its runs is the other host.
"""

import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from lanes.stand.local import POOLS
from lanes.standing.roles import BEGINNING_FOR, DOUBTED_AFTER, STANDING, Role, StandingRun
from tests.running_stand import RunningStand, put_up, take_down
from tests.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.alone]
WITHIN_S = 15
REPLACED_WITHIN_S = 75  # 20 s in which the previous request may still start, and a process start
ROLES = (Role.ROUTER, Role.KEEPER, Role.COLLECTOR, Role.WATCHER)


@pytest.fixture(scope="module")
def stand(open_folder: Path) -> Iterator[RunningStand]:
    """Start a stand without automations, and wait until every standing role is held."""
    up = put_up(open_folder / "hosts")
    try:
        automations = up.prefect.post("automations/filter", json={"limit": 200}).raise_for_status()
        assert automations.json()
        for each in automations.json():
            up.prefect.delete(f"automations/{each['id']}").raise_for_status()
        for each in STANDING:
            until(lambda role=each.role: up.holder(role), what=f"a first run of {each.flow}")
        yield up
    finally:
        take_down(up)


def replaced(stand: RunningStand, role: Role, before: int) -> bool:
    """Return whether a different session holds the role now."""
    now = stand.holder(role)
    return now is not None and now.session != before


@pytest.mark.parametrize("killed", STANDING, ids=lambda run: run.flow)
def test_another_run_takes_the_role_of_a_killed_standing_run(
    stand: RunningStand, killed: StandingRun
) -> None:
    before = stand.kill_holder(killed.role)
    until(
        lambda: replaced(stand, killed.role, before),
        within_s=REPLACED_WITHIN_S,
        what=f"another run of {killed.flow}",
    )


def test_the_supervisor_replaces_standing_runs_that_were_all_killed_at_once(
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


def starts_slowly(stand: RunningStand, run: dict[str, Any]) -> bool:
    """Return whether the run's process started so slowly that one more run was requested."""
    states = stand.prefect.get("flow_run_states/", params={"flow_run_id": run["id"]}).json()
    at = {each["type"]: datetime.fromisoformat(each["timestamp"]) for each in states}
    return "PENDING" in at and at.get("RUNNING", datetime.now(UTC)) - at["PENDING"] > DOUBTED_AFTER


def test_no_more_runs_are_requested_than_died_or_started_slowly(stand: RunningStand) -> None:
    """Run after the kills above: each flow has its first run, one run per kill, and one per slow start.

    There are fewer when an hourly scheduled run took over. Drains that were requested because work waited do not count.
    """
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
        asked = [
            run
            for run in made.raise_for_status().json()
            if not run["auto_scheduled"]
            and each.next.parameters.items() <= run["parameters"].items()
        ]
        began = [run for run in asked if run["start_time"]]
        assert len(began) <= 3 + sum(starts_slowly(stand, run) for run in asked), (
            each.flow,
            [(run["name"], run["state_name"], run["start_time"]) for run in began],
        )


def kill(processes: Iterable[int]) -> None:
    """Kill these processes and their descendants, as the death of their host does."""
    family = [psutil.Process(pid) for pid in processes]
    family += [child for each in family for child in each.children(recursive=True)]
    for each in family:
        with suppress(psutil.NoSuchProcess):
            each.kill()


@pytest.fixture(scope="module")
def other_host(stand: RunningStand, open_folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run `lanes worker` as a second host next to the stand's own workers and supervisor."""
    said = {"LANES_HOST": "other", "LANES_HOME": str(open_folder / "other")}
    running = subprocess.Popen(
        [sys.executable, "-m", "lanes", "worker"], env=stand.environment | said
    )
    yield running
    if running.poll() is None:
        kill([running.pid])


def stages(stand: RunningStand, flow: str, since: datetime) -> list[dict[str, float]]:
    """Return for each run created after `since` the seconds until its creation and until each of its states."""
    found: list[dict[str, float]] = []
    runs = {"deployments": {"name": {"any_": [flow]}}, "sort": "EXPECTED_START_TIME_ASC"}
    for run in stand.prefect.post("flow_runs/filter", json=runs).json():
        if datetime.fromisoformat(run["created"]) > since:
            states = stand.prefect.get("flow_run_states/", params={"flow_run_id": run["id"]}).json()
            moments = [("CREATED", run["created"])]
            moments += [(each["type"], each["timestamp"]) for each in states]
            found.append(
                {
                    name: round((datetime.fromisoformat(at) - since).total_seconds(), 1)
                    for name, at in moments
                }
            )
    return found


def test_the_other_host_takes_the_roles_of_a_dead_host_within_15_seconds(
    stand: RunningStand, other_host: subprocess.Popen[bytes]
) -> None:
    for pool in POOLS:
        until(
            lambda pool=pool: (
                "ONLINE"
                in {
                    each["status"]
                    for each in stand.prefect.post(
                        f"work_pools/{pool}/workers/filter", json={}
                    ).json()
                    if each["name"] == f"{pool}-other"
                }
            ),
            what=f"the other worker of {pool}",
        )
    before = {role: until(lambda r=role: stand.holder(r), what=role.name).session for role in ROLES}
    time.sleep(BEGINNING_FOR.total_seconds())  # so that no recent start masks a free role
    hosts = [each.pid for each in stand.info.processes if each.name.startswith(("worker", "super"))]
    died, died_at = time.monotonic(), datetime.now(UTC)
    kill(hosts)
    taken: dict[Role, float] = {}
    while len(taken) < len(ROLES) and time.monotonic() - died < 120:
        for role in set(ROLES) - taken.keys():
            now = stand.holder(role)
            if now is not None and now.session != before[role]:
                taken[role] = round(time.monotonic() - died, 1)
        time.sleep(0.1)
    print("takeover_s", {role.name: taken.get(role) for role in ROLES})
    for each in STANDING:
        print("stages_s", each.flow, stages(stand, each.flow, died_at))
    assert taken.keys() == set(ROLES)
    assert max(taken.values()) <= WITHIN_S


def test_a_host_that_receives_sigterm_waits_until_its_drain_has_saved_every_call(
    stand: RunningStand, other_host: subprocess.Popen[bytes]
) -> None:
    stand.endpoint.post("_control/faults", json={"where": "messages", "kind": "stall"})
    put = (
        "select lanes.submit('tickets', jsonb_build_object('text', 'Paper ' || k, 'title', 'k'), key => 's' || k,"
        " urgent => true) from generate_series(1, 16) k"
    )
    stand.rows(put)
    claimed = "select count(*) from lanes.work where state = 'claimed'"
    until(lambda: stand.value(claimed) == 16, what="16 claims")
    asked = {
        "deployments": {"name": {"any_": ["answer"]}},
        "flow_runs": {"state": {"type": {"any_": ["RUNNING"]}}},
        "sort": "START_TIME_DESC",  # the dead host's runs still count as running
        "limit": 1,
    }
    (run,) = stand.prefect.post("flow_runs/filter", json=asked).json()
    other_host.send_signal(signal.SIGTERM)
    until(lambda: stand.holder(Role.ROUTER) is None, within_s=20, what="a free role")
    assert other_host.poll() is None
    stand.endpoint.delete("_control/faults")
    assert other_host.wait(60) == 0
    attempts = "select outcome, count(*) from lanes.attempt_log where key like 's%' group by 1"
    assert [tuple(each) for each in stand.rows(attempts)] == [("valid", 16)]
    ended = stand.prefect.get(f"flow_runs/{run['id']}").json()
    assert ended["state_name"] == "Completed"
