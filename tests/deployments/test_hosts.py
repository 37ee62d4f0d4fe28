"""Two hosts that share one Postgres and one Prefect: a stand, and the installed wheel with a home of its own."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lanes.stand.deploying import release
from lanes.stand.info import STAND_IN_KEY
from tests.running_stand import RunningStand, put_up, take_down
from tests.waiting import until
from tests.wheel import installed, run

pytestmark = pytest.mark.slow

STEP = {"prefect.deployments.steps.set_working_directory": {"directory": "/their/checkout"}}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStand]:
    """Start the shared servers and the host alpha."""
    stand = put_up(tmp_path_factory.mktemp("alpha"), LANES_HOST="alpha")
    yield stand
    take_down(stand)


@pytest.fixture(scope="module")
def lanes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel, and return its `lanes` command."""
    python = installed(tmp_path_factory.mktemp("installed"))
    return python.with_name("lanes")


@pytest.fixture
def beta(shared: RunningStand, tmp_path: Path) -> dict[str, str]:
    """Return the environment of the host beta, which uses the servers of the host alpha."""
    return shared.environment | {
        "LANES_HOME": str(tmp_path / "home"),
        "LANES_HOST": "beta",
        "ANTHROPIC_API_KEY": STAND_IN_KEY,
    }


def deployments(stand: RunningStand) -> dict[str, dict[str, Any]]:
    found = stand.prefect.post("deployments/filter", json={"limit": 200}).json()
    return {each["name"]: each for each in found}


def automations(stand: RunningStand) -> list[str]:
    found = stand.prefect.post("automations/filter", json={"limit": 200}).json()
    return sorted(each["name"] for each in found)


def diagnosis(beta: dict[str, str], lanes: Path, within: Path) -> dict[str, dict[str, str]]:
    done = subprocess.run(
        [lanes, "doctor", "--json"], cwd=within, env=beta, text=True, capture_output=True
    )
    return {each["check"]: each for each in json.loads(done.stdout)}


def test_two_concurrent_deploys_of_a_wheel_leave_one_set_of_deployments_without_a_folder(
    shared: RunningStand, lanes: Path, beta: dict[str, str], tmp_path: Path
) -> None:
    before = deployments(shared), automations(shared)
    of_answer = before[0]["answer"]["id"]
    shared.prefect.patch(f"deployments/{of_answer}", json={"pull_steps": [STEP]}).raise_for_status()
    said = diagnosis(beta, lanes, tmp_path)["deployments"]
    assert said["verdict"] == "wrong"
    assert (
        "answer load their code from /their/checkout, a folder of one machine" in said["sentence"]
    )
    homes = [{**beta, "LANES_HOME": str(tmp_path / each)} for each in ("home", "other")]
    with ThreadPoolExecutor(2) as both:
        ends = both.map(
            lambda each: run(lanes, "deploy", "--json", within=tmp_path, variables=each), homes
        )
        releases = {json.loads(each)["release"] for each in ends}
    after = deployments(shared)
    assert (
        {each["version"] for each in after.values()} == releases == {release()}
    )  # the checkout has the same release
    assert [name for name, each in after.items() if each["pull_steps"] or each["path"]] == []
    assert {name: each["id"] for name, each in after.items()} == {
        name: each["id"] for name, each in before[0].items()
    }
    assert automations(shared) == before[1]
    assert diagnosis(beta, lanes, tmp_path)["deployments"]["verdict"] == "ok"


def test_a_foreground_worker_is_named_after_its_host_runs_flows_and_stops_cleanly(
    shared: RunningStand, lanes: Path, beta: dict[str, str], tmp_path: Path
) -> None:
    (ours,) = [each for each in shared.info.processes if each.name == "worker-batch"]
    os.killpg(ours.pid, signal.SIGKILL)
    lost = _running(shared, "collect")
    worker = subprocess.Popen(
        [lanes, "worker", "--pool", "batch"],
        cwd=tmp_path,
        env=beta,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        report = shared.run("report")
        until(lambda: _state(shared, report) == "COMPLETED")
        names = {
            pool: {each["name"] for each in shared.prefect.post(path, json={}).json()}
            for pool in ("realtime", "batch")
            if (path := f"work_pools/{pool}/workers/filter")
        }
        assert names == {"realtime": {"realtime-alpha"}, "batch": {"batch-alpha", "batch-beta"}}
        until(lambda: _running(shared, "collect") - lost)
    finally:
        worker.terminate()
        said, _ = worker.communicate(timeout=60)
    assert worker.returncode == 0, said
    assert "batch-beta" in said
    assert _running(shared, "collect") <= lost, said  # Prefect may mark those as crashed


def test_a_worker_with_an_outdated_login_reports_it_and_exits_with_an_error(
    lanes: Path, beta: dict[str, str], tmp_path: Path
) -> None:
    replaced = beta | {"PREFECT_API_AUTH_STRING": "lanes:replaced"}
    ended = subprocess.run(
        [lanes, "worker"], cwd=tmp_path, env=replaced, text=True, capture_output=True, timeout=90
    )
    assert ended.returncode == 1
    assert "refuses us: set PREFECT_API_KEY or PREFECT_API_AUTH_STRING" in ended.stderr


def _state(stand: RunningStand, run_id: str) -> str:
    return stand.prefect.get(f"flow_runs/{run_id}").json()["state_type"]


def _running(stand: RunningStand, flow: str) -> set[str]:
    asked = {
        "deployments": {"name": {"any_": [flow]}},
        "flow_runs": {"state": {"type": {"any_": ["RUNNING"]}}},
    }
    return {each["id"] for each in stand.prefect.post("flow_runs/filter", json=asked).json()}
