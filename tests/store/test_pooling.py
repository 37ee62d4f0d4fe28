"""Connections are given out alive, and known as ours, without a statement for each transaction."""

from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.exc import OperationalError

from lanes.store import pooling
from lanes.store.database import Database

Seen = list[str]


def session(connection: Connection) -> int:
    return connection.execute(text("select pg_backend_pid()")).scalar_one()


def ended(pool: Engine, session: int) -> None:
    """The server has ended it, and said so."""
    with pool.begin() as operator:
        assert operator.execute(
            text("select pg_terminate_backend(:session, 5000)"), {"session": session}
        ).scalar_one()


Use = Callable[[Database], Awaitable[int]]


async def begun(db: Database) -> int:
    return await db.run(session)


async def looked(db: Database) -> int:
    return await db.look(session)


@pytest.mark.parametrize("use", [begun, looked])
async def test_a_connection_that_the_server_ended_is_replaced_before_anybody_uses_it(
    database_url: str, pool: Engine, use: Use
) -> None:
    async with Database(database_url) as db:
        first = await use(db)
        assert await use(db) == first
        ended(pool, first)
        assert await use(db) != first


async def test_every_idle_connection_is_replaced_after_a_restart(
    database_url: str, pool: Engine
) -> None:
    async with Database(database_url) as db:
        async with db.transaction() as one, db.transaction() as two:
            sessions = {await one(session), await two(session)}
        for each in sessions:
            ended(pool, each)
        async with db.transaction() as one, db.transaction() as two:
            assert not sessions & {await one(session), await two(session)}


async def ended_in_use(db: Database, pool: Engine) -> None:
    async with db.transaction() as run:
        ended(pool, await run(session))
        await run(session)


async def test_a_connection_that_ends_in_use_fails_that_transaction_alone(
    database_url: str, pool: Engine
) -> None:
    async with Database(database_url) as db:
        with pytest.raises(OperationalError):
            await ended_in_use(db, pool)
        assert await db.run(session)


async def test_a_connection_is_asked_whether_it_lives_only_once_it_lay_idle(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Seen()
    async with Database(database_url) as db:
        engine = db._engine.sync_engine  # pyright: ignore[reportPrivateUsage]
        ping = engine.dialect.do_ping
        monkeypatch.setattr(
            engine.dialect, "do_ping", lambda connection: asked.append("asked") or ping(connection)
        )
        for _ in range(3):
            await db.run(session)
        assert asked == []
        monkeypatch.setattr(pooling, "BELIEVED_S", 0.0)
        await db.run(session)
        assert asked == ["asked"]


async def test_the_sessions_of_a_database_are_those_of_its_open_connections(
    database_url: str, pool: Engine
) -> None:
    async with Database(database_url) as db:
        assert not db.sessions
        first = await db.run(session)
        assert set(db.sessions) == {first}
        ended(pool, first)
        assert set(db.sessions) != {await db.run(session), first}
        assert set(db.sessions) == {await db.run(session)}
    assert not db.sessions


async def test_a_look_begins_no_transaction_and_statements_are_each_committed_by_themselves(
    database_url: str, pool: Engine
) -> None:
    async with Database(database_url) as db:
        began = Seen()
        event.listen(db._engine.sync_engine, "commit", lambda _: began.append("commit"))  # pyright: ignore[reportPrivateUsage]
        await db.look(session)
        async with db.statements() as run:
            await run(lambda connection: connection.execute(text("create table kept ()")))
            with pool.begin() as reader:
                assert reader.execute(text("select to_regclass('kept') is not null")).scalar_one()
        assert began == []
        await db.run(lambda connection: connection.execute(text("create table also_kept ()")))
        assert began == ["commit"]
