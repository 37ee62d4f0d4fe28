"""Which changes of the environment ask for new workers and a new supervisor, and what ends with them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from lanes.settings import Settings
from lanes.stand.prefect_api import PrefectApi
from lanes.stand.processes import runs_below
from lanes.stand.services import supervisor, warm_workers, worker_name
from lanes.stand.supervisor import cancel_standing
from lanes.stand.worksite import Site
from tests.prefect_standin import PrefectStandIn
from tests.waiting import until

# a worker that started a run
PARENT = """
import os, subprocess, sys
subprocess.run(["sleep", "60"], env={**os.environ, "PREFECT__FLOW_RUN_ID": sys.argv[1]})
"""


@pytest.fixture
def needed(
    home: Path, prefect: PrefectStandIn, monkeypatch: pytest.MonkeyPatch
) -> dict[str, list[Any]]:
    """What each process of a stand with a Prefect of somebody's own was made from, in order."""
    made: dict[str, list[Any]] = {}

    def ensure(site: Site, name: str, command: Any, *, depends_on: Any, **_: Any) -> Any:
        made.setdefault(name, []).append((*command, json.dumps(dict(depends_on))))
        return None, False

    monkeypatch.setattr(Site, "ensure", ensure)
    return made


def put_up(home: Path, prefect: PrefectStandIn, **variables: str) -> None:
    settings = Settings.model_validate({"PREFECT_API_URL": prefect.api_url, **variables})
    site = Site(settings, home, home, prefect_api_url=prefect.api_url)
    warm_workers(site)
    supervisor(site)


@pytest.mark.parametrize("variable", ["PREFECT_API_AUTH_STRING", "PREFECT_API_KEY"])
def test_a_new_login_of_prefect_asks_for_new_workers_and_a_new_supervisor(
    home: Path,
    prefect: PrefectStandIn,
    needed: dict[str, list[Any]],
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
) -> None:
    for login in ("user:old", "user:old", "user:new"):
        monkeypatch.setenv(variable, login)
        put_up(home, prefect)
    assert set(needed) == {"worker-realtime", "worker-batch", "supervisor"}
    assert [len(set(each)) for each in needed.values()] == [2, 2, 2]
    assert [each[0] == each[1] for each in needed.values()] == [True, True, True]


def test_hosts_have_workers_of_different_names_which_stay(
    home: Path, prefect: PrefectStandIn, needed: dict[str, list[Any]]
) -> None:
    for host in ("alpha", "alpha", "beta"):
        put_up(home, prefect, LANES_HOST=host)
    first, again, other = needed["worker-batch"]
    assert first == again
    assert "batch-alpha" in first
    assert "batch-beta" in other
    assert worker_name("batch", Settings()) == f"batch-{Settings().host}"


def test_only_standing_runs_of_the_workers_that_end_are_shown_as_cancelled(
    prefect: PrefectStandIn,
) -> None:
    for flow in ("collect", "collect", "report"):
        prefect.has_run(flow, "RUNNING")
    ours, theirs, report = prefect.runs
    worker = subprocess.Popen([sys.executable, "-c", PARENT, ours.id])
    try:
        until(lambda: runs_below(worker.pid) == [ours.id])
        with PrefectApi(prefect.api_url, environment={}) as api:
            cancel_standing(api, [worker.pid], why="the stand was stopped")
            assert [each.state for each in (ours, theirs, report)] == [
                "CANCELLED",
                "RUNNING",
                "RUNNING",
            ]
            cancel_standing(api, [], why="no worker of ours runs")
            assert theirs.state == "RUNNING"
            cancel_standing(api, None, why="the stand was stopped")
            assert theirs.state == "CANCELLED"
    finally:
        for child in psutil.Process(worker.pid).children():
            child.kill()
        worker.wait()
