"""Conditions in which the workers of a host do not start, or end by themselves."""

import signal
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text

from lanes.errors import SetupError
from lanes.settings import Settings
from lanes.stand import serving
from tests.prefect_standin import PrefectStandIn

WAITS = ("http.server", "0", "--bind", "127.0.0.1")  # waits until SIGTERM


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Record the pools of started workers, replaced by programs that only wait; restore the signal handlers afterwards."""
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


def test_workers_poll_every_two_seconds_unless_their_environment_says_otherwise() -> None:
    polls = "PREFECT_WORKER_QUERY_SECONDS"
    assert serving.worker_environment({})[polls] == "2"
    assert serving.worker_environment({polls: "5"})[polls] == "5"
