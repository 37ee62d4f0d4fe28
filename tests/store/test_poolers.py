"""Poolers in transaction mode, which work uses and which roles, LISTEN and migrations refuse; session names and limits."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from lanes.errors import SetupError, StandError
from lanes.settings import Settings
from lanes.stand.database import check_own
from lanes.store import engines, signals
from lanes.store.database import Database, engine
from lanes.store.figures import folding
from lanes.store.schema import upgrade
from lanes.store.signals import Role, RoleLock, listening, wake
from tests.conftest import NOON
from tests.examples import admit, publish, route
from tests.poolers import needs_pgbouncer, pooler

LIMITS = ("tcp_keepalives_idle", "tcp_user_timeout", "idle_in_transaction_session_timeout")
OTHER_PID = engines.BEGIN_SESSION.replace("select pg_backend_pid()", "select pg_backend_pid() + 1")
REFUSAL = "is behind a pooler such as PgBouncer, .* set LANES_DIRECT_DATABASE_URL to the address of Postgres"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("pgbouncer")
    for each in (made, *made.parents[:3]):
        each.chmod(0o755)
    return made


@pytest.fixture
def pooled(database_url: str, folder: Path) -> Iterator[str]:
    """Start a pooler whose clients share one session; yield its address."""
    with pooler(database_url, folder, mode="transaction", size=1) as url:
        yield url


def limits(connection: Connection) -> list[str]:
    return [
        connection.execute(text(f"select current_setting('{each}')")).scalar_one()
        for each in LIMITS
    ]


def name(connection: Connection) -> str:
    return connection.execute(text("select current_setting('application_name')")).scalar_one()


async def test_a_session_names_its_part_its_host_and_its_process(
    database_url: str, pool: Engine
) -> None:
    async with (
        Database(database_url, part="drain") as db,
        RoleLock(database_url, Role.ROUTER) as role,
        listening(database_url),
    ):
        await role.try_take()
        told = await db.run(name)
        with pool.connect() as connection:
            seen = text(
                "select application_name from pg_stat_activity where application_name like :of"
            )
            found = connection.execute(seen, {"of": f"lanes %@%:{os.getpid()}"}).scalars().all()
    host = os.uname().nodename[:28]
    wanted = {f"lanes {part}@{host}:{os.getpid()}" for part in ("drain", "router", "listen")}
    assert told in wanted
    assert wanted <= set(found)


async def test_a_session_sets_tcp_keepalives_and_an_idle_transaction_timeout(
    database_url: str,
) -> None:
    async with Database(database_url) as db:
        told, _, idle = await db.run(limits)
    # The value is 0 on a Unix socket, which has no TCP.
    assert (told, idle) == ("4", "5min") or (told, idle) == ("0", "5min")


async def test_a_role_and_a_listener_refuse_a_pooler_and_name_the_variable_to_set(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "BEGIN_SESSION", OTHER_PID)
    with pytest.raises(SetupError, match=REFUSAL):
        await RoleLock(database_url, Role.ROUTER).try_take()
    with pytest.raises(SetupError, match=REFUSAL):
        async with listening(database_url):
            pass


async def test_a_migration_and_a_rebuild_refuse_a_pooler(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "BEGIN_SESSION", OTHER_PID)
    with pytest.raises(SetupError, match=REFUSAL):
        upgrade(database_url)
    through = engine(database_url)
    with pytest.raises(SetupError, match=REFUSAL):
        folding.rebuild(through, since=None, until=NOON, told=lambda *_: None)
    through.dispose()


def settings(url: str, direct: str | None = None) -> Settings:
    given = {"LANES_DATABASE_URL": url, "LANES_DIRECT_DATABASE_URL": direct}
    return Settings.model_validate({name: each for name, each in given.items() if each})


@needs_pgbouncer
def test_a_stand_behind_a_pooler_needs_a_direct_address_of_the_same_database(
    database_url: str, own_database_url: str, pooled: str
) -> None:
    with pytest.raises(SetupError, match=REFUSAL):
        check_own(settings(pooled))
    with pytest.raises(SetupError, match=REFUSAL):
        check_own(settings(database_url, pooled))
    with pytest.raises(StandError, match="lead to two databases"):
        check_own(settings(pooled, own_database_url))
    work, direct = check_own(settings(pooled, database_url))
    assert work.port != direct.port


@needs_pgbouncer
async def test_work_through_a_pooler_prepares_and_sets_nothing_and_is_notified_of_commits(
    database_url: str, pooled: str
) -> None:
    async with (
        Database(pooled, direct_url=database_url) as one,
        Database(pooled, direct_url=database_url) as two,
        listening(one.direct_url, but=one.sessions, of=one.sender) as heard,
    ):
        await one.run(publish, now=NOON)
        for number in range(8):  # psycopg prepares a statement the fifth time
            for db in (one, two):
                await db.run(admit, f"{number}-{id(db)}", now=NOON)
        assert not one.sessions  # another client has the same session
        heard.clear()
        await two.run(wake)
        async with asyncio.timeout(10):
            await heard.wait()
        prepared = "select count(*) from pg_prepared_statements"
        assert await one.run(lambda c: c.execute(text(prepared)).scalar_one()) == 0
        assert (await one.run(limits))[2] == "0"
        assert (await one.run(name)).startswith("lanes ")


@needs_pgbouncer
async def test_a_drain_behind_a_pooler_is_not_woken_by_its_own_routing(
    database_url: str, pooled: str
) -> None:
    async with (
        Database(pooled, direct_url=database_url) as one,
        Database(pooled, direct_url=database_url) as two,
        listening(database_url) as all_commits,
        listening(database_url, but=one.sessions, of=one.sender) as others,
        asyncio.timeout(20),
    ):
        await one.run(publish, now=NOON)
        for router, is_own in ((one, True), (two, False)):
            await router.run(admit, f"of {router.sender}", now=NOON)
            await asyncio.gather(all_commits.wait(), others.wait())
            all_commits.clear()
            others.clear()
            await router.run(route, now=NOON)
            await all_commits.wait()
            if is_own:
                assert not others.is_set()
            else:
                await others.wait()


@needs_pgbouncer
async def test_statements_are_prepared_on_a_pooler_that_supports_prepared_statements(
    database_url: str, folder: Path
) -> None:
    kept = pooler(database_url, folder, mode="transaction", size=2, prepared=200)
    with kept as url:
        async with Database(url) as one, Database(url) as two:
            await one.run(publish, now=NOON)
            for number in range(12):  # the clients take turns on both sessions
                for db in (one, two):
                    await asyncio.gather(
                        *(db.run(admit, f"{number}-{id(db)}-{i}", now=NOON) for i in "ab")
                    )
            with pytest.raises(DBAPIError):  # a rollback makes psycopg forget them all
                await one.run(lambda c: c.execute(text("select 1 / 0")))
            for number in range(6):
                await asyncio.gather(
                    *(db.run(admit, f"later {number}-{id(db)}", now=NOON) for db in (one, two))
                )
            names = "select name from pg_prepared_statements where statement like '%lanes.admit%'"
            found = await two.run(lambda c: c.execute(text(names)).scalars().all())
    assert found
    assert all(each.startswith("PGBOUNCER_") for each in found)


@needs_pgbouncer
@pytest.mark.parametrize("mode", ["transaction", "session"])
async def test_no_prepared_statement_remains_on_a_pooler_that_does_not_support_them(
    database_url: str, folder: Path, mode: str
) -> None:
    found = text("select count(*) from pg_prepared_statements")
    with pooler(database_url, folder, mode=mode, size=1) as url:
        for _ in range(2):
            async with Database(url) as db:
                assert await db.run(lambda c: c.execute(found).scalar_one()) == 0
                driver: Any = await db.run(lambda c: c.connection.driver_connection)
                assert driver.prepare_threshold is None
