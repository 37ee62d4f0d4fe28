"""Changes of the environment that require new workers and a new supervisor."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from lanes.errors import StandError
from lanes.settings import Settings
from lanes.stand.services import endpoint, supervisor, warm_workers, worker_name
from lanes.stand.worksite import LAST, Site
from tests.prefect_standin import PrefectStandIn
from tests.waiting import until

LOOKS_LAST = (
    "import os, signal, sys\n"
    "def last(*_):\n"
    "    os.kill(int(sys.argv[1]), 0)\n"
    "    print('it lived', flush=True)\n"
    "    sys.exit()\n"
    "signal.signal(signal.SIGTERM, last); print('up', flush=True)\n"
    "while True: signal.pause()"
)


@pytest.fixture
def needed(
    home: Path, prefect: PrefectStandIn, monkeypatch: pytest.MonkeyPatch
) -> dict[str, list[Any]]:
    """Record, in order, the definition of each process of a stand that uses the user's own Prefect server."""
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
def test_a_new_login_of_prefect_requires_new_workers_and_a_new_supervisor(
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


def test_workers_have_stable_names_that_differ_between_hosts(
    home: Path, prefect: PrefectStandIn, needed: dict[str, list[Any]]
) -> None:
    for host in ("alpha", "alpha", "beta"):
        put_up(home, prefect, LANES_HOST=host)
    first, again, other = needed["worker-batch"]
    assert first == again
    assert "batch-alpha" in first
    assert "batch-beta" in other
    assert worker_name("batch", Settings()) == f"batch-{Settings().host}"


def test_the_stand_in_does_not_replace_a_provider_that_other_machines_use(
    home: Path, prefect: PrefectStandIn, needed: dict[str, list[Any]]
) -> None:
    prefect.provider_blocks["lanes"] = {
        "api_key": "sk-geheim",
        "base_url": "https://llm.example.com",
    }
    settings = Settings.model_validate({"PREFECT_API_URL": prefect.api_url})
    with pytest.raises(StandError, match=r"names the provider https://llm\.example\.com, and this"):
        endpoint(Site(settings, home, home))
    assert needed == {}


@pytest.mark.parametrize("used", LAST)
def test_workers_end_before_a_service_that_their_runs_use_is_replaced(
    home: Path, used: str
) -> None:
    site = Site(Settings(), home, home)
    how = {"environment": os.environ, "depends_on": {}}
    provider, _ = site.ensure(used, ["sleep", "600"], **how)
    looks = [sys.executable, "-c", LOOKS_LAST, str(provider.pid)]
    worker, _ = site.ensure("worker-realtime", looks, **how)
    until(lambda: worker.output() == "up\n")
    newer, _ = site.ensure(used, ["sleep", "601"], **how)
    assert worker.output() == "up\nit lived\n"
    assert [each.pid for each in site.processes.list_recorded()] == [newer.pid]
    site.processes.stop(newer)
