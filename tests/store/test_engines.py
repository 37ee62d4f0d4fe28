"""What the database refuses is not quoted by the errors about it: no payload ends in a log, or in the state of a run."""

import logging
import re
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, bindparam, insert, text
from sqlalchemy.exc import DBAPIError, StatementError

from lanes.doors.item import Submission
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
    """As a log shows it: the whole chain of causes."""
    return "".join(traceback.format_exception(error)) + repr(error) + str(error)


@pytest.mark.parametrize("ask", REFUSED)
def test_a_value_that_is_refused_stands_in_no_message(
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
async def test_nor_in_those_that_tasks_log(database_url: str, ask: Asked) -> None:
    async with Database(database_url) as db:
        await db.run(publish, now=NOON)
        with pytest.raises(StatementError) as raised:
            await db.run(ask)
    assert SECRET not in everything_said(raised.value)


def test_an_error_still_says_what_was_wrong_and_of_what(database_url: str) -> None:
    pool = engine(database_url)
    with pool.begin() as connection:
        publish(connection, now=NOON)
    with pytest.raises(DBAPIError) as raised, pool.begin() as connection:
        row_that_breaks_a_check(connection)
    pool.dispose()
    assert 'violates check constraint "ck_item_pin_known"' in str(raised.value)
    assert "23514" in str(raised.value)


def test_every_engine_of_ours_is_discreet(checkout: Path) -> None:
    rooms = ("lanes", "blocks", "tasks", "flows", "migrations")
    made = [
        file.relative_to(checkout).as_posix()
        for room in rooms
        for file in sorted((checkout / room).rglob("*.py"))
        if re.search(r"\b(?<!discreet_)create_(async_)?engine\(", file.read_text())
    ]
    assert made == ["lanes/store/engines.py"]
