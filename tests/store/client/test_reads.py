"""Every way to read an answer: whether the read is recorded, for which reader, and with which delay."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import Engine, text

from lanes import client
from lanes.cli import app
from lanes.store.advice.advice import evidence
from lanes.store.database import clock
from lanes.words import Lane
from tests.conftest import NOON
from tests.examples import admit, publish
from tests.store.client.ends import answer

Way = Callable[[Engine, str], object]
LATE = timedelta(minutes=3)


def by_sql(pool: Engine, workload: str, key: str = "k") -> None:
    query = text("select output from lanes.read_result(:workload, :key, 'me')")
    with pool.begin() as connection:
        connection.execute(query, {"workload": workload, "key": key}).one()


def by_event(pool: Engine, workload: str) -> None:
    """Read the answer of the item that the event names, as a program that acts on events does."""
    query = text("select event, payload from lanes.event_outbox where resource = :resource")
    with pool.begin() as connection:
        told = connection.execute(query, {"resource": f"lanes.workload.{workload}"}).one()
    assert told.event == "lanes.item.answered"
    by_sql(pool, workload, told.payload["key"])


def by_view(pool: Engine, workload: str) -> None:
    with pool.begin() as connection:
        for view in ("current_results", "item_status"):
            query = text(f"select * from lanes.{view} where workload = :workload")
            connection.execute(query, {"workload": workload}).one()


async def follow(workload: str) -> None:
    async for _ in client.aresults(workload, follow=True, quiet_s=0, reader="me"):
        pass


RECORDED: dict[str, Way] = {
    "sql": by_sql,
    "event": by_event,
    "read": lambda _, of: client.read_result(of, "k", reader="me"),
    "aread": lambda _, of: asyncio.run(client.aread_result(of, "k", reader="me")),
    "wait": lambda _, of: client.wait(of, "k", reader="me"),
    "await": lambda _, of: asyncio.run(client.await_result(of, "k", reader="me")),
    "list": lambda _, of: list(client.results(of, reader="me")),
    "follow": lambda _, of: asyncio.run(follow(of)),
    "command": lambda _, of: app(["results", of, "--reader", "me"]),
}
NOT_RECORDED: dict[str, Way] = {
    "view": by_view,
    "unnamed-list": lambda _, of: list(client.results(of)),
    "unnamed-command": lambda _, of: app(["results", of]),
}


@pytest.mark.slow
def test_every_read_by_a_named_reader_is_recorded_with_its_delay_and_a_select_is_not(
    pool: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    ways = RECORDED | NOT_RECORDED
    with pool.begin() as connection:
        answered_at = clock(connection) - LATE
        for name in ways:
            publish(connection, name, now=NOON)
            admit(connection, "k", now=answered_at, workload=name, lane=Lane.REALTIME)
    answer(pool, now=answered_at)
    for name, way in ways.items():
        way(pool, name)
    capsys.readouterr()
    with pool.begin() as connection:
        now = clock(connection)
        query = text(
            "select workload, reader, read_at - answered_at as delay"
            " from lanes.read r join lanes.item i on i.id = r.item_id"
        )
        found = connection.execute(query).all()
        uses = {name: evidence(connection, name, since=answered_at, now=now) for name in ways}
    assert sorted(each.workload for each in found) == sorted(RECORDED)
    assert {each.reader for each in found} == {"me"}
    assert all(LATE <= each.delay <= now - answered_at for each in found)
    for name, seen in uses.items():
        (use,) = seen.consumers
        read = (1, 0) if name in RECORDED else (0, 1)
        assert (name, use.reads, use.unknown) == (name, *read)
        assert (use.at_once, use.later) == (0, 0)
