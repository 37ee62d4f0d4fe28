"""Database errors that quote no payload, and pooled connections that are alive without a check for each transaction."""

import logging
import re
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, bindparam, event, insert, text
from sqlalchemy.exc import DBAPIError, OperationalError, StatementError
from sqlalchemy.pool import ConnectionPoolEntry

from lanes.doors.item import Submission
from lanes.store import engines
from lanes.store.database import Database, engine
from lanes.store.doors import items
from lanes.store.tables import item
from tests.conftest import NOON
from tests.examples import publish

SECRET = "Winterbourne"
Asked = Callable[[Connection], object]


def payload_with_nul(connection: Connection) -> object:
    return items.admit(
        connection, [Submission("letters", {"text": SECRET + "\x00"}, "p")], door="client", now=NOON
    )


def payload_that_is_no_json(connection: Connection) -> object:
    return connection.execute(text("select cast(:it as jsonb)"), {"it": f"{{{SECRET}"})


def time_that_is_none(connection: Connection) -> object:
    return connection.execute(text("select cast(:it as timestamptz)"), {"it": SECRET})


def row_that_lacks_a_value(connection: Connection) -> object:
    return connection.execute(
        text(
            "insert into lanes.item (workload, key, payload) values ('letters', 'k', jsonb_build_object('text', :it))"
        ).bindparams(bindparam("it", SECRET))
    )


def row_that_breaks_a_check(connection: Connection) -> object:
    row: dict[str, Any] = {
        "workload": "letters",
        "key": "k",
        "payload": {"text": SECRET},
        "content_hash": b"",
        "pin": "express",
        "occurred_at": NOON,
        "received_at": NOON,
        "source": "sql",
    }
    return connection.execute(insert(item).values(row))


REFUSED = [
    payload_with_nul,
    payload_that_is_no_json,
    time_that_is_none,
    row_that_lacks_a_value,
    row_that_breaks_a_check,
]


def everything_said(error: BaseException) -> str:
    """Render the error as a log shows it, with the whole chain of causes."""
    return "".join(traceback.format_exception(error)) + repr(error) + str(error)


@pytest.mark.parametrize("ask", REFUSED)
def test_a_rejected_value_appears_in_no_error_and_no_log(
    database_url: str, ask: Asked, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    pool = engine(database_url)
    try:
        with pool.begin() as connection:
            publish(connection, now=NOON)
        with pytest.raises(StatementError) as raised, pool.begin() as connection:
            ask(connection)
    finally:
        pool.dispose()
    assert SECRET not in everything_said(raised.value)
    assert SECRET not in caplog.text


@pytest.mark.parametrize("ask", REFUSED)
async def test_a_rejected_value_appears_in_no_error_of_an_asynchronous_database(
    database_url: str, ask: Asked
) -> None:
    async with Database(database_url) as db:
        await db.run(publish, now=NOON)
        with pytest.raises(StatementError) as raised:
            await db.run(ask)
    assert SECRET not in everything_said(raised.value)


def test_a_database_error_still_names_the_constraint_and_the_sqlstate(database_url: str) -> None:
    pool = engine(database_url)
    with pool.begin() as connection:
        publish(connection, now=NOON)
    with pytest.raises(DBAPIError) as raised, pool.begin() as connection:
        row_that_breaks_a_check(connection)
    pool.dispose()
    assert 'violates check constraint "ck_item_pin_known"' in str(raised.value)
    assert "23514" in str(raised.value)


def test_only_the_module_engines_creates_an_engine_directly(checkout: Path) -> None:
    rooms = ("lanes", "blocks", "tasks", "flows", "migrations")
    made = [
        file.relative_to(checkout).as_posix()
        for room in rooms
        for file in sorted((checkout / room).rglob("*.py"))
        if re.search(r"\b(?<!discreet_)create_(async_)?engine\(", file.read_text())
    ]
    assert made == ["lanes/store/engines.py"]


Statements = list[str]


def session(connection: Connection) -> int:
    return connection.execute(text("select pg_backend_pid()")).scalar_one()


def ended(pool: Engine, session: int) -> None:
    """Terminate the session and wait until the server confirms its end."""
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
async def test_a_connection_that_the_server_ended_is_replaced_before_its_next_use(
    database_url: str, pool: Engine, use: Use
) -> None:
    async with Database(database_url) as db:
        first = await use(db)
        assert await use(db) == first
        ended(pool, first)
        assert await use(db) != first


async def test_every_idle_connection_that_the_server_ended_is_replaced(
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


async def test_a_connection_that_ends_in_use_fails_only_its_own_transaction(
    database_url: str, pool: Engine
) -> None:
    async with Database(database_url) as db:
        with pytest.raises(OperationalError):
            await ended_in_use(db, pool)
        assert await db.run(session)


async def test_a_connection_is_pinged_only_after_it_was_idle(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Statements()

    def lies_idle(_: object, entry: ConnectionPoolEntry) -> None:
        entry.info["seen"] -= engines.BELIEVED_S

    async with Database(database_url) as db:
        engine = db._engine.sync_engine  # pyright: ignore[reportPrivateUsage]
        ping = engine.dialect.do_ping
        monkeypatch.setattr(
            engine.dialect, "do_ping", lambda connection: asked.append("asked") or ping(connection)
        )
        for _ in range(3):
            await db.run(session)
        assert asked == []
        event.listen(engine, "checkin", lies_idle)
        await db.run(session)
        assert asked == []
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


async def test_a_look_opens_no_transaction_and_statements_are_committed_individually(
    database_url: str, pool: Engine
) -> None:
    async with Database(database_url) as db:
        began = Statements()
        event.listen(db._engine.sync_engine, "commit", lambda _: began.append("commit"))  # pyright: ignore[reportPrivateUsage]
        await db.look(session)
        async with db.statements() as run:
            await run(lambda connection: connection.execute(text("create table kept ()")))
            with pool.begin() as reader:
                assert reader.execute(text("select to_regclass('kept') is not null")).scalar_one()
        assert began == []
        await db.run(lambda connection: connection.execute(text("create table also_kept ()")))
        assert began == ["commit"]
