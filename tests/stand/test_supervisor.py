"""The supervisor, which replaces standing runs over HTTP: real locks, and a Prefect that answers or does not."""

from collections.abc import Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, create_engine, text

from lanes.stand.prefect_api import PrefectApi
from lanes.stand.supervisor import Supervisor, ask_for_standing
from lanes.standing.roles import STANDING, Role, StandingRun, Vacancies
from lanes.store.signals import CLASS, RoleLock
from tests.databases import Databases
from tests.prefect_standin import PrefectStandIn

FLOWS = [each.flow for each in STANDING]


@pytest.fixture
def api(prefect: PrefectStandIn) -> Iterator[PrefectApi]:
    with PrefectApi(prefect.api_url, environment={}, timeout_s=0.5) as opened:
        yield opened


def supervisor(pool: Engine, api: PrefectApi, said: list[str], *, keep_warm: int = 1) -> Supervisor:
    """Make a supervisor that requests a run as soon as it finds a free role."""
    return Supervisor(
        pool, api, say=said.append, vacancies=Vacancies(free_for=timedelta(0)), keep_warm=keep_warm
    )


@pytest.mark.parametrize("free", STANDING, ids=lambda run: run.flow)
async def test_a_run_is_requested_once_for_a_free_role(
    pool: Engine, database_url: str, prefect: PrefectStandIn, api: PrefectApi, free: StandingRun
) -> None:
    async with AsyncExitStack() as held:
        for each in STANDING:
            if each is not free:
                assert await (
                    await held.enter_async_context(RoleLock(database_url, each.role))
                ).try_take()
        looker = supervisor(pool, api, said := [])
        looker.look()
        looker.look()
    assert [prefect.asked(flow) for flow in FLOWS] == [
        [each.next.parameters] if each is free else [] for each in STANDING
    ]
    assert said == [f"no process held the role of {free.flow}: asked for a run of it"]


def test_all_three_standing_runs_are_requested_when_none_is_running(
    pool: Engine, prefect: PrefectStandIn, api: PrefectApi
) -> None:
    supervisor(pool, api, []).look()
    assert [prefect.asked(each.flow) for each in STANDING] == [
        [each.next.parameters] for each in STANDING
    ]


def test_no_drain_is_requested_if_none_is_kept_warm(
    pool: Engine, prefect: PrefectStandIn, api: PrefectApi
) -> None:
    supervisor(pool, api, [], keep_warm=0).look()
    assert {each.flow for each in prefect.runs} == {"collect", "watch"}


def test_requests_of_the_same_minute_create_one_standing_run(
    prefect: PrefectStandIn, api: PrefectApi
) -> None:
    collector = next(each for each in STANDING if each.role is Role.COLLECTOR)
    now = datetime.now(UTC)
    assert ask_for_standing(api, collector, now)
    assert not ask_for_standing(api, collector, now + timedelta(minutes=1))  # the run is on its way
    prefect.runs[0].state = "CRASHED"
    assert ask_for_standing(api, collector, now)  # the same minute, so the same run
    assert len(prefect.runs) == 1
    assert ask_for_standing(api, collector, now + timedelta(minutes=1))
    assert len(prefect.runs) == 2


@pytest.mark.slow
@pytest.mark.parametrize("trouble", [{"hangs": True}, {"status": 503}])
def test_an_outage_of_prefect_is_reported_once_for_each_run_and_waited_out(
    pool: Engine, prefect: PrefectStandIn, api: PrefectApi, trouble: dict[str, Any]
) -> None:
    prefect.breaks(**trouble)
    looker = supervisor(pool, api, said := [], keep_warm=0)
    looker.look()
    looker.look()
    assert len(said) == 2  # one message for each run
    prefect.heals()
    looker.look()
    assert {each.flow for each in prefect.runs} == {"collect", "watch"}


def test_a_session_of_another_user_that_holds_a_role_is_named_once_and_recorded(
    pool: Engine, databases: Databases, database_url: str, prefect: PrefectStandIn, api: PrefectApi
) -> None:
    """Expect the supervisor to record it: with all standing roles taken, perhaps no drain runs that could."""
    looker = supervisor(pool, api, said := [])
    with psycopg.connect(
        databases.as_superuser(database_url).replace("+psycopg", ""), application_name="psql"
    ) as foreign:
        for each in STANDING:
            foreign.execute(f"select pg_advisory_lock({CLASS}, {int(each.role)})".encode())
        looker.look()
        looker.look()
        assert [each.split(", which is")[0].split(" (")[0] for each in said] == [
            f"role {each.role.name.lower()} is held by session {foreign.info.backend_pid} of user postgres"
            for each in STANDING
        ]
        assert states(pool) == ["open"] * len(STANDING)
        foreign.execute("select pg_advisory_unlock_all()")
        looker.look()
    assert states(pool) == ["resolved"] * len(STANDING)
    assert {each.flow for each in prefect.runs} == set(FLOWS)


def states(pool: Engine) -> list[str]:
    """Return the states of the incidents about taken roles."""
    with pool.connect() as connection:
        return list(
            connection.execute(
                text("select state from lanes.incident_log where promise = 'role_taken'")
            ).scalars()
        )


def test_an_outage_of_the_database_is_reported_once(
    prefect: PrefectStandIn, api: PrefectApi
) -> None:
    away = create_engine("postgresql+psycopg://nobody@127.0.0.1:1/nowhere")
    looker = supervisor(away, api, said := [])
    looker.look()
    looker.look()
    assert len(said) == 1
    assert prefect.requests == []
