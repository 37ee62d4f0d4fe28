"""Events out and the watermark of events in."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, text

from lanes.store import outbox
from lanes.store.doors import items
from tests.conftest import NOON, later
from tests.store.tries import explained

LEASE = timedelta(seconds=15)


def add(connection: Connection, *names: str) -> None:
    outbox.add(
        connection,
        [
            outbox.EventOut.about_workload(f"lanes.{name}", "letters", {"key": name})
            for name in names
        ],
        now=NOON,
    )


def take(
    connection: Connection, most: int = 10, *, who: str = "us", s: float = 0
) -> list[outbox.Outgoing]:
    """Return the events that this publisher may publish `s` seconds after noon."""
    return outbox.take(connection, most, publisher=who, lease=LEASE, now=later(seconds=s)).events


def test_events_are_taken_oldest_first_up_to_a_limit(connection: Connection) -> None:
    add(connection, "one", "two", "three")
    first, second = take(connection, 2)
    assert (first.event, second.event) == ("lanes.one", "lanes.two")
    assert (first.resource, first.payload, first.occurred_at) == (
        "lanes.workload.letters",
        {"key": "one"},
        NOON,
    )


def test_an_event_remains_with_its_id_until_it_is_dropped(connection: Connection) -> None:
    add(connection, "one", "two")
    taken = take(connection)
    assert take(connection, s=1) == taken
    outbox.drop(connection, taken[:1])
    assert take(connection, s=2) == taken[1:]
    outbox.drop(connection, [])
    outbox.drop(connection, taken)
    assert take(connection, s=3) == []


def test_events_after_a_given_event_can_be_taken(connection: Connection) -> None:
    add(connection, "one", "two", "three")
    first, *_ = take(connection, 2)
    behind = {first.precedence: first.id}
    taken = outbox.take(
        connection, 1, behind=behind, publisher="us", lease=LEASE, now=later(seconds=1)
    )
    assert [each.event for each in taken.events] == ["lanes.two"]


def test_only_one_publisher_at_a_time_takes_events(pool: Engine) -> None:
    with pool.begin() as setup:
        add(setup, "one", "two", "three")
    with pool.begin() as one:
        assert len(take(one, 2)) == 2
    with pool.begin() as two:
        assert take(two, who="them") == []
    with pool.begin() as one:
        outbox.leave(one, publisher="us", now=NOON)
    with pool.begin() as two:
        assert len(take(two, who="them", s=1)) == 3


def test_a_publisher_that_is_taking_events_does_not_block_another(pool: Engine) -> None:
    with pool.begin() as setup:
        add(setup, "one")
    with pool.connect() as one, pool.connect() as two:
        assert len(take(one)) == 1
        two.execute(text("set lock_timeout = '1s'"))
        assert take(two, who="them") == []


def test_the_next_publisher_takes_the_events_of_a_dead_one_when_the_lease_ends(
    pool: Engine,
) -> None:
    with pool.begin() as setup:
        add(setup, "one")
    with pool.begin() as one:
        assert len(take(one)) == 1
    with pool.begin() as two:
        assert take(two, who="them", s=LEASE.total_seconds() - 0.1) == []
        assert len(take(two, who="them", s=LEASE.total_seconds())) == 1


def test_a_publisher_can_release_only_its_own_lease(connection: Connection) -> None:
    add(connection, "one")
    assert take(connection)
    outbox.leave(connection, publisher="them", now=NOON)
    assert take(connection, who="them", s=1) == []


def test_a_publisher_gets_a_lease_only_if_events_are_waiting(connection: Connection) -> None:
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


def test_an_event_is_published_only_if_its_transaction_commits(pool: Engine) -> None:
    with pool.connect() as teller:
        add(teller, "one")
        teller.rollback()
    with pool.connect() as publisher:
        assert take(publisher) == []


# -- order and pace


def add_items(connection: Connection, name: str, *keys: str, **payload: Any) -> None:
    told = [
        outbox.EventOut.about_workload(f"lanes.item.{name}", "letters", {"key": key, **payload})
        for key in keys
    ]
    outbox.add(connection, told, now=NOON)


def test_urgent_events_are_taken_before_answers_without_ack(connection: Connection) -> None:
    add_items(connection, "answered", "a1", "a2")
    add_items(connection, "failed", "f")
    add_items(connection, "answered", "asked", ack=True)
    add(connection, "incident.opened", "work.waiting", "batch.collected")
    add_items(connection, "corrected", "c")
    assert [each.payload["key"] for each in take(connection)] == [
        "incident.opened",
        "work.waiting",
        "batch.collected",
        "f",
        "asked",
        "c",
        "a1",
        "a2",
    ]
    assert [each.payload["key"] for each in take(connection, 4, s=1)][-1] == "f"


def test_a_later_urgent_event_overtakes_waiting_answers(connection: Connection) -> None:
    add_items(connection, "answered", *map(str, range(400)))
    second = timedelta(seconds=1)
    for each in range(3):
        taken = outbox.take(connection, 100, publisher="us", lease=LEASE, now=NOON + each * second)
        outbox.drop(connection, taken.events)
    add_items(connection, "failed", "f")
    taken = outbox.take(connection, 100, publisher="us", lease=LEASE, now=NOON + 3 * second)
    assert [each.payload["key"] for each in taken.events] == ["f", *map(str, range(300, 399))]


def test_the_rate_limit_holds_across_publishers(connection: Connection) -> None:
    add_items(connection, "answered", *map(str, range(2_000)))
    moments: list[float] = []
    at = 0.0
    while at < 3:
        who = "us" if round(at * 100) % 2 else "them"
        taken = outbox.take(
            connection, 50, publisher=who, lease=timedelta(0), now=later(seconds=at)
        )
        outbox.drop(connection, taken.events)
        moments += [at] * len(taken.events)
        at += taken.after.total_seconds() or 0.01
    assert len(moments) == 600
    assert (
        max(sum(begin <= each < begin + 1 for each in moments) for begin in moments) == outbox.PER_S
    )


def test_a_single_event_delays_the_next_one_by_five_milliseconds_only(
    connection: Connection,
) -> None:
    add(connection, "one")
    assert len(take(connection)) == 1
    paced = outbox.take(connection, 50, publisher="us", lease=LEASE, now=NOON)
    assert (paced.events, paced.after) == ([], timedelta(milliseconds=5))
    assert len(take(connection, s=0.005)) == 1


def test_a_publisher_without_the_turn_or_within_its_pause_reads_no_event(
    connection: Connection,
) -> None:
    add(connection, "one", "two")
    statements: list[str] = []
    event.listen(connection, "before_cursor_execute", lambda *args: statements.append(args[2]))
    assert len(take(connection, 1)) == 1
    assert [each for each in statements if "event_outbox" in each]
    statements.clear()
    assert take(connection, who="them", s=1) == []
    assert take(connection, s=0.004) == []
    assert [each for each in statements if "event_outbox" in each] == []


def test_a_clock_that_was_set_back_does_not_stop_the_publisher(connection: Connection) -> None:
    add(connection, "one")
    assert len(take(connection, s=3600)) == 1
    assert len(take(connection, s=0)) == 1


@pytest.mark.parametrize("kept", [None, 0, 1, 2])
def test_events_after_given_events_are_taken_for_every_precedence(
    connection: Connection, kept: int | None
) -> None:
    add(connection, "one")
    add_items(connection, "failed", "f")
    add_items(connection, "answered", "a")
    stay = {each.precedence: each.id for each in take(connection) if each.precedence == kept}
    add(connection, "two")
    add_items(connection, "failed", "g")
    add_items(connection, "answered", "b")
    taken = outbox.take(
        connection, 50, behind=stay, publisher="us", lease=LEASE, now=later(seconds=1)
    ).events
    expected = ["one", "two", "f", "g", "a", "b"]
    assert [each.payload["key"] for each in taken] == [
        each for place, each in enumerate(expected) if place / 2 != kept
    ]


@pytest.mark.slow
@pytest.mark.parametrize("plans", ["force_custom_plan", "force_generic_plan"])
def test_the_first_events_of_a_large_outbox_are_found_by_index(
    connection: Connection, plans: str
) -> None:
    connection.execute(
        text("""
        insert into lanes.event_outbox (event, resource, payload, occurred_at)
        select case when n % 10000 = 0 then 'lanes.item.failed' else 'lanes.item.answered' end, 'r', '{}', :now
          from generate_series(1, 100000) n
        """),
        {"now": NOON},
    )
    connection.execute(text("analyze lanes.event_outbox"))
    connection.execute(text(f"set local plan_cache_mode = {plans}"))
    assert "using ix_event_outbox_first" in explained(connection, outbox.urgent(50), name="urgent")
    plan = explained(connection, outbox.answers(50), name="answers")
    assert "using pk_event_outbox" in plan
    assert "Sort" not in plan


def test_a_watermark_never_moves_back(connection: Connection) -> None:
    assert items.read_watermark(connection, "arrivals") is None
    for minutes, seen in ((5, 5), (3, 5), (5, 5), (8, 8)):
        items.advance_watermark(connection, "arrivals", later(minutes=minutes))
        assert items.read_watermark(connection, "arrivals") == later(minutes=seen)
    assert items.read_watermark(connection, "other") is None
