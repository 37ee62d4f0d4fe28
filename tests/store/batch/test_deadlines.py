"""Batch work that cannot wait for the off-peak window."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import Connection

from lanes.store.batch.ready_work import list_pressing, put_off
from lanes.store.replays import replays
from lanes.store.workload import workloads
from lanes.words import Lane, Outcome
from tests.conftest import NOON, later
from tests.examples import admit, begin_replay, publish, route
from tests.store.tries import claim, rows, save, tried

AT_22_05 = later(hours=10, minutes=5)


def wait_for_batch(
    connection: Connection, key: str, *, due_at: datetime | None, workload: str = "letters"
) -> None:
    """Route an item to the batch lane at noon."""
    admit(connection, key, now=NOON, lane=Lane.BATCH, due_at=due_at, workload=workload)
    route(connection, now=NOON)


@pytest.mark.parametrize(
    ("due_at", "expected"),
    [
        (None, []),
        (
            later(hours=15, minutes=41),
            ["letters"],
        ),  # the window opens at 22:00, 95 % return within 339 minutes, a run takes two
        (later(hours=15, minutes=42), []),
        (later(minutes=-1), []),  # already missed
    ],
)
def test_work_is_pressing_only_if_the_off_peak_window_would_miss_its_deadline(
    connection: Connection, due_at: datetime | None, expected: list[str]
) -> None:
    publish(connection, now=NOON)
    wait_for_batch(connection, "k", due_at=due_at)
    assert list_pressing(connection, now=NOON) == expected


def test_an_item_due_in_65_minutes_at_22_05_is_pressing_although_the_window_is_open(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    wait_for_batch(connection, "k", due_at=AT_22_05 + timedelta(minutes=65))
    assert list_pressing(connection, now=AT_22_05) == ["letters"]


def test_an_item_is_not_pressing_if_the_next_run_returns_it_in_time(connection: Connection) -> None:
    publish(connection, now=NOON)
    wait_for_batch(connection, "k", due_at=AT_22_05 + timedelta(minutes=396, seconds=40))
    assert list_pressing(connection, now=AT_22_05) == []


def test_an_overdue_item_does_not_hide_pressing_neighbours(connection: Connection) -> None:
    publish(connection, now=NOON)
    publish(connection, "bills", now=NOON)
    wait_for_batch(connection, "overdue", due_at=later(minutes=-30))
    assert list_pressing(connection, now=NOON) == []
    wait_for_batch(connection, "k", due_at=later(hours=5))
    wait_for_batch(connection, "k", due_at=later(days=2), workload="bills")
    assert list_pressing(connection, now=NOON) == ["letters"]


def test_items_of_a_paused_workload_are_not_pressing(connection: Connection) -> None:
    publish(connection, now=NOON)
    wait_for_batch(connection, "k", due_at=later(hours=5))
    workloads.pause(connection, "letters", since=NOON)
    assert list_pressing(connection, now=NOON) == []


def test_the_authoritative_pass_of_an_answered_item_waits_for_the_window(
    connection: Connection,
) -> None:
    publish(connection, now=NOON, mode="lambda")
    admit(connection, "k", now=NOON, lane=Lane.REALTIME, due_at=later(hours=5))
    route(connection, now=NOON)
    (claimed,) = claim(connection)
    save(connection, tried(claimed))
    assert [(each.lane, each.state) for each in rows(connection, "work", "id")] == [
        ("realtime", "done"),
        ("batch", "ready"),
    ]
    assert list_pressing(connection, now=later(minutes=1)) == []


def test_work_of_a_replay_is_not_pressing(connection: Connection) -> None:
    publish(connection, now=NOON)
    admit(connection, "k", now=NOON, lane=Lane.REALTIME, due_at=later(days=1, minutes=1))
    route(connection, now=NOON)
    begun = begin_replay(connection)
    replays.read_some(connection, begun.id, now=NOON)
    assert list_pressing(connection, now=later(hours=23)) == []


def test_an_item_that_real_time_gave_up_is_pressing_by_its_due_time(connection: Connection) -> None:
    publish(connection, now=NOON, mode="lambda", max_failures=1, split_percent=100)
    admit(connection, "k", now=NOON, due_at=later(hours=9))
    route(connection, now=NOON)
    (claimed,) = claim(connection)
    save(connection, tried(claimed, Outcome.ERRORED, error="broken"))
    assert [(each.lane, each.state) for each in rows(connection, "work", "id")] == [
        ("realtime", "failed"),
        ("batch", "ready"),
    ]
    assert list_pressing(connection, now=later(minutes=1)) == ["letters"]


def test_postponed_work_is_not_pressing_before_its_time(connection: Connection) -> None:
    publish(connection, now=NOON)
    wait_for_batch(connection, "k", due_at=later(hours=5))
    put_off(connection, {"letters": later(minutes=10)}, of="letters")
    assert list_pressing(connection, now=later(minutes=9)) == []
    assert list_pressing(connection, now=later(minutes=10)) == ["letters"]


def test_postponed_work_is_pressing_from_its_time_until_a_run_has_sent_it(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    admit(connection, "k", now=NOON, lane=Lane.BATCH)
    route(connection, now=NOON)
    put_off(connection, {"letters": later(minutes=2)}, of=None)
    assert list_pressing(connection, now=later(minutes=1)) == []
    assert list_pressing(connection, now=later(minutes=2)) == ["letters"]
    workloads.pause(connection, "letters", since=NOON)
    assert list_pressing(connection, now=later(minutes=2)) == []
    workloads.pause(connection, "letters", since=None)
    put_off(connection, {}, of="bills")
    assert list_pressing(connection, now=later(minutes=2)) == ["letters"]
    put_off(connection, {}, of=None)
    assert list_pressing(connection, now=later(minutes=2)) == []


def test_a_postponed_workload_without_waiting_work_is_not_pressing(connection: Connection) -> None:
    publish(connection, now=NOON)
    put_off(connection, {"letters": NOON}, of="letters")
    assert list_pressing(connection, now=NOON) == []
