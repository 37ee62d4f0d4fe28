"""Batch work that cannot wait for the off-peak window."""

from datetime import datetime

import pytest
from sqlalchemy import Connection

from lanes.store import workloads
from lanes.store.deadlines import pressing, put_off
from lanes.words import Lane
from tests.conftest import NOON, later
from tests.examples import admit, publish, route


@pytest.mark.parametrize(
    ("due_at", "expected"),
    [
        (None, []),
        (later(hours=10, minutes=59), ["letters"]),  # the window opens at 22:00, a batch takes an hour
        (later(hours=11), []),
        (later(minutes=-1), []),  # missed already
    ],
)
def test_only_work_that_the_window_would_miss_presses(
    connection: Connection, due_at: datetime | None, expected: list[str]
) -> None:
    publish(connection, now=NOON)
    admit(connection, "k", now=NOON, lane=Lane.BATCH, due_at=due_at)
    route(connection, now=NOON)
    assert pressing(connection, now=NOON) == expected


def test_nothing_presses_while_the_window_is_open(connection: Connection) -> None:
    publish(connection, now=NOON)
    admit(connection, "k", now=NOON, lane=Lane.BATCH, due_at=later(hours=10, minutes=30))
    route(connection, now=NOON)
    assert pressing(connection, now=later(hours=10)) == []


def test_work_that_a_run_could_not_send_is_asked_for_again_at_its_time_and_no_longer_once_it_left(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    admit(connection, "k", now=NOON, lane=Lane.BATCH)
    route(connection, now=NOON)
    put_off(connection, {"letters": later(minutes=2)}, of=None)
    assert pressing(connection, now=later(minutes=1)) == []
    assert pressing(connection, now=later(minutes=2)) == ["letters"]
    workloads.pause(connection, "letters", since=NOON)
    assert pressing(connection, now=later(minutes=2)) == []
    workloads.pause(connection, "letters", since=None)
    put_off(connection, {}, of="bills")
    assert pressing(connection, now=later(minutes=2)) == ["letters"]
    put_off(connection, {}, of=None)
    assert pressing(connection, now=later(minutes=2)) == []


def test_nothing_is_asked_for_where_no_work_waits(connection: Connection) -> None:
    publish(connection, now=NOON)
    put_off(connection, {"letters": NOON}, of="letters")
    assert pressing(connection, now=NOON) == []
