"""Events out and the watermark of events in."""

from sqlalchemy import Connection, Engine

from lanes.store import outbox, watermarks
from tests.conftest import NOON, later


def add(connection: Connection, *names: str) -> None:
    for name in names:
        outbox.add(connection, f"lanes.{name}", "lanes.workload.letters", {"key": name}, now=NOON)


def test_events_are_taken_oldest_first_and_bounded(connection: Connection) -> None:
    add(connection, "one", "two", "three")
    first, second = outbox.take(connection, 2)
    assert (first.event, second.event) == ("lanes.one", "lanes.two")
    assert (first.resource, first.payload, first.occurred_at) == ("lanes.workload.letters", {"key": "one"}, NOON)


def test_an_event_waits_until_it_is_dropped_and_keeps_its_id(connection: Connection) -> None:
    add(connection, "one", "two")
    taken = outbox.take(connection, 10)
    assert outbox.take(connection, 10) == taken
    outbox.drop(connection, taken[:1])
    assert outbox.take(connection, 10) == taken[1:]
    outbox.drop(connection, [])
    outbox.drop(connection, taken)
    assert outbox.take(connection, 10) == []


def test_two_publishers_at_once_take_different_events(pool: Engine) -> None:
    with pool.begin() as setup:
        add(setup, "one", "two", "three")
    with pool.connect() as one, pool.connect() as two:
        assert [each.event for each in outbox.take(one, 2)] == ["lanes.one", "lanes.two"]
        assert [each.event for each in outbox.take(two, 2)] == ["lanes.three"]


def test_a_publisher_that_dies_leaves_its_events_to_the_next(pool: Engine) -> None:
    with pool.begin() as setup:
        add(setup, "one")
    with pool.connect() as one:
        outbox.drop(one, outbox.take(one, 1))
        one.rollback()
    with pool.connect() as two:
        assert len(outbox.take(two, 1)) == 1


def test_an_event_is_told_only_if_its_fact_is_committed(pool: Engine) -> None:
    with pool.connect() as teller:
        add(teller, "one")
        teller.rollback()
    with pool.connect() as publisher:
        assert outbox.take(publisher, 10) == []


def test_a_watermark_never_goes_back(connection: Connection) -> None:
    assert watermarks.seen_until(connection, "arrivals") is None
    for minutes, seen in ((5, 5), (3, 5), (5, 5), (8, 8)):
        watermarks.advance(connection, "arrivals", later(minutes=minutes))
        assert watermarks.seen_until(connection, "arrivals") == later(minutes=seen)
    assert watermarks.seen_until(connection, "other") is None
