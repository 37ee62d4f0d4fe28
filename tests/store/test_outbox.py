"""Events out and the watermark of events in."""

from datetime import timedelta

from sqlalchemy import Connection, Engine, text

from lanes.store import outbox
from lanes.store.doors import watermarks
from tests.conftest import NOON, later

LEASE = timedelta(seconds=15)


def add(connection: Connection, *names: str) -> None:
    outbox.add(connection, [outbox.EventOut.of_workload(f"lanes.{name}", "letters", {"key": name}) for name in names], now=NOON)


def take(connection: Connection, limit: int = 10, *, who: str = "us", s: float = 0) -> list[outbox.Outgoing]:
    """What this publisher may publish, so many seconds after noon."""
    return outbox.take(connection, limit, publisher=who, lease=LEASE, now=later(seconds=s))


def test_events_are_taken_oldest_first_and_bounded(connection: Connection) -> None:
    add(connection, "one", "two", "three")
    first, second = take(connection, 2)
    assert (first.event, second.event) == ("lanes.one", "lanes.two")
    assert (first.resource, first.payload, first.occurred_at) == ("lanes.workload.letters", {"key": "one"}, NOON)


def test_an_event_waits_until_it_is_dropped_and_keeps_its_id(connection: Connection) -> None:
    add(connection, "one", "two")
    taken = take(connection)
    assert take(connection) == taken
    outbox.drop(connection, taken[:1])
    assert take(connection) == taken[1:]
    outbox.drop(connection, [])
    outbox.drop(connection, taken)
    assert take(connection) == []


def test_events_behind_those_that_stay_can_be_taken(connection: Connection) -> None:
    add(connection, "one", "two", "three")
    first, *_ = take(connection, 2)
    behind = outbox.take(connection, 1, behind=first, publisher="us", lease=LEASE, now=NOON)
    assert [each.event for each in behind] == ["lanes.two"]


def test_one_publisher_at_a_time_takes_events(pool: Engine) -> None:
    with pool.begin() as setup:
        add(setup, "one", "two", "three")
    with pool.begin() as one:
        assert len(take(one, 2)) == 2
    with pool.begin() as two:
        assert take(two, who="them") == []
    with pool.begin() as one:
        outbox.leave(one, publisher="us", now=NOON)
    with pool.begin() as two:
        assert len(take(two, who="them")) == 3


def test_a_publisher_that_is_taking_its_turn_makes_nobody_wait(pool: Engine) -> None:
    with pool.begin() as setup:
        add(setup, "one")
    with pool.connect() as one, pool.connect() as two:
        assert len(take(one)) == 1
        two.execute(text("set lock_timeout = '1s'"))
        assert take(two, who="them") == []


def test_a_publisher_that_died_leaves_its_events_to_the_next_when_its_lease_ends(pool: Engine) -> None:
    with pool.begin() as setup:
        add(setup, "one")
    with pool.begin() as one:
        assert len(take(one)) == 1
    with pool.begin() as two:
        assert take(two, who="them", s=LEASE.total_seconds() - 0.1) == []
        assert len(take(two, who="them", s=LEASE.total_seconds())) == 1


def test_only_its_own_turn_can_be_left(connection: Connection) -> None:
    add(connection, "one")
    assert take(connection)
    outbox.leave(connection, publisher="them", now=NOON)
    assert take(connection, who="them") == []


def test_a_turn_is_taken_only_where_something_waits(connection: Connection) -> None:
    assert take(connection) == []
    add(connection, "one")
    assert len(take(connection, who="them")) == 1


def test_events_that_are_being_published_are_not_locked(pool: Engine) -> None:
    with pool.begin() as setup:
        add(setup, "one")
    with pool.connect() as one, pool.begin() as two:
        taken = take(one)
        two.execute(text("set lock_timeout = '1s'"))
        outbox.drop(two, taken)


def test_an_event_is_told_only_if_its_fact_is_committed(pool: Engine) -> None:
    with pool.connect() as teller:
        add(teller, "one")
        teller.rollback()
    with pool.connect() as publisher:
        assert take(publisher) == []


def test_a_watermark_never_goes_back(connection: Connection) -> None:
    assert watermarks.seen_until(connection, "arrivals") is None
    for minutes, seen in ((5, 5), (3, 5), (5, 5), (8, 8)):
        watermarks.advance(connection, "arrivals", later(minutes=minutes))
        assert watermarks.seen_until(connection, "arrivals") == later(minutes=seen)
    assert watermarks.seen_until(connection, "other") is None
