"""The workers of a host: when they do not start, when they end by themselves, and which settings ask for new ones."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from lanes.errors import SetupError, StandError
from lanes.settings import Settings
from lanes.stand import serving
from lanes.stand.services import endpoint, supervisor, warm_workers, worker_name
from lanes.stand.worksite import Site
from tests.prefect_standin import PrefectStandIn

WAITS = ("http.server", "0", "--bind", "127.0.0.1")  # until it is asked to end


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The pools whose workers, programs that only wait, are started in the test; its signals are as before afterwards."""
    pools: list[str] = []

    def command(pool: str, settings: Settings) -> tuple[str, ...]:
        pools.append(pool)
        return WAITS

    monkeypatch.setattr(serving, "worker_command", command)
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
    yield pools
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def environment(database_url: str, prefect: PrefectStandIn) -> dict[str, str]:
    return {"LANES_DATABASE_URL": database_url, "PREFECT_API_URL": prefect.api_url}


def test_no_worker_starts_on_the_schema_of_a_newer_release(
    pool: Engine, environment: dict[str, str], started: list[str]
) -> None:
    with pool.begin() as connection:
        connection.execute(text("update lanes.alembic_version set version_num = '9999'"))
    with pytest.raises(SetupError, match="it was made by a newer one, and there is no way back"):
        serving.serve(["realtime", "batch"], Settings(), environment)
    assert started == []


def test_no_worker_starts_before_its_release_was_deployed(
    pool: Engine, environment: dict[str, str], started: list[str]
) -> None:
    with pool.begin() as connection:
        connection.execute(text("update lanes.alembic_version set version_num = '0140'"))
    said = r"of this release \(the next is 0141\): run `lanes deploy`"
    with pytest.raises(SetupError, match=said):
        serving.serve(["realtime", "batch"], Settings(), environment)
    assert started == []


def test_the_workers_end_with_an_error_once_prefect_refuses_their_login(
    environment: dict[str, str],
    started: list[str],
    prefect: PrefectStandIn,
    capfd: pytest.CaptureFixture[str],
) -> None:
    prefect.breaks(status=401)
    assert serving.serve(["realtime", "batch"], Settings(), environment) == 1
    assert started == ["realtime", "batch"]
    said = capfd.readouterr().err
    assert "refuses us: set PREFECT_API_KEY or PREFECT_API_AUTH_STRING" in said
    assert "The workers end, with exit code 1: where the login was changed" in said


def test_workers_of_many_machines_poll_every_two_seconds_unless_their_host_says_otherwise() -> None:
    polls = "PREFECT_WORKER_QUERY_SECONDS"
    assert serving.worker_environment({})[polls] == "2"
    assert serving.worker_environment({polls: "5"})[polls] == "5"


@pytest.fixture
def needed(
    home: Path, prefect: PrefectStandIn, monkeypatch: pytest.MonkeyPatch
) -> dict[str, list[Any]]:
    """What each process of a stand on a Prefect server of the user was made from, in order."""
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


def test_the_stand_in_takes_the_place_of_no_provider_that_other_machines_use(
    home: Path, prefect: PrefectStandIn, needed: dict[str, list[Any]]
) -> None:
    prefect.blocks["lanes"] = {"api_key": "sk-geheim", "base_url": "https://llm.example.com"}
    settings = Settings.model_validate({"PREFECT_API_URL": prefect.api_url})
    with pytest.raises(StandError, match=r"names the provider https://llm\.example\.com, and this"):
        endpoint(Site(settings, home, home))
    assert needed == {}
