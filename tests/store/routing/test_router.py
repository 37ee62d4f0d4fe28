"""Positions, routes and work that the router saves, once for each item; one file because all of it is written at once."""

from collections import Counter

import pytest
from sqlalchemy import Connection, Engine, literal, text
from sqlalchemy.exc import OperationalError

from lanes.ids import ItemId
from lanes.json_data import characters
from lanes.routing.route import decide
from lanes.store.database import LOCK_PATIENCE
from lanes.store.doors import items, unrouted
from lanes.store.doors.unrouted import Begins, RoutedUpTo
from lanes.store.routing import routes
from lanes.store.workload import workloads
from lanes.words import Lane
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.tries import explained, rows


def test_positions_follow_the_order_of_admission_across_routings(connection: Connection) -> None:
    publish(connection, now=NOON)
    admit(connection, "c", "a", "b", now=NOON)
    route(connection, now=NOON)
    admit(connection, "e", "d", now=later(seconds=1))
    route(connection, now=later(seconds=1))
    assert [each.key for each in rows(connection, "item", "position")] == ["c", "a", "b", "e", "d"]


def test_each_item_gets_one_route_and_one_work(connection: Connection) -> None:
    letters = publish(connection, now=NOON)
    admit(connection, "a", now=NOON, lane=Lane.REALTIME)
    admit(connection, "b", now=NOON)
    route(connection, now=later(seconds=3))
    route(connection, now=later(seconds=4))
    assert [
        (each.key, each.lane, each.reason) for each in rows(connection, "route_log", "key")
    ] == [
        ("a", "realtime", "pinned"),
        ("b", "batch", "split"),
    ]
    work = rows(connection, "work", "item_id")
    assert [(each.lane, each.purpose, each.state, each.version_id) for each in work] == [
        ("realtime", "answer", "ready", letters.id),
        ("batch", "answer", "ready", letters.id),
    ]
    assert {each.ready_at for each in work} == {later(seconds=3)}


def test_rank_is_the_due_time_less_the_call_else_receipt_plus_patience(
    connection: Connection,
) -> None:
    publish(connection, now=NOON, patience_s=90)
    admit(connection, "due", now=NOON, due_at=later(seconds=30), lane=Lane.REALTIME)
    admit(connection, "patient", now=NOON, lane=Lane.REALTIME)
    route(connection, now=later(seconds=5))
    assert [each.rank_at for each in rows(connection, "work", "item_id")] == [
        later(seconds=28),
        later(seconds=90),
    ]


def test_work_stores_its_due_time_and_bound_lane_and_an_amendment_keeps_both(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    due = later(seconds=-30)
    admit(connection, "asked", now=NOON, lane=Lane.BATCH)
    admit(connection, "free", now=NOON)
    admit(connection, "late", now=NOON, due_at=due)
    route(connection, now=NOON)
    stands = [("batch", None), (None, None), ("realtime", due)]
    assert [(each.binds, each.due_at) for each in rows(connection, "work", "item_id")] == stands
    assert [each.binds for each in rows(connection, "route_log", "key")] == [
        "batch",
        None,
        "realtime",
    ]
    for key in ("asked", "free", "late"):
        connection.execute(
            text("select lanes.amend('letters', :key, :payload)"),
            {"key": key, "payload": '{"text": "anew"}'},
        )
    live = connection.execute(
        text("select binds, due_at from lanes.work where state = 'ready' order by item_id")
    ).all()
    assert [tuple(each) for each in live] == stands


def test_two_concurrent_routers_route_each_item_once(pool: Engine) -> None:
    with pool.begin() as setup:
        publish(setup, now=NOON)
        admit(setup, "a", "b", now=NOON)
    with pool.connect() as one, pool.connect() as two:
        assert routes.begin(one, LOCK_PATIENCE).alone
        assert not routes.begin(two, LOCK_PATIENCE).alone
        route(one, now=NOON)
        one.commit()
        assert routes.begin(two, LOCK_PATIENCE).alone
        assert unrouted.lock_received(two, 10) == []
        route(two, now=NOON)
        two.commit()
    with pool.begin() as reader:
        assert len(rows(reader, "route_log")) == len(rows(reader, "work")) == 2


def test_only_a_routing_transaction_commits_asynchronously(pool: Engine) -> None:
    def waits(connection: Connection) -> str:
        return connection.execute(text("show synchronous_commit")).scalar_one()

    with pool.connect() as connection:
        connection.execute(text("set synchronous_commit = on"))
        connection.commit()
        assert routes.begin(connection, LOCK_PATIENCE).alone
        assert waits(connection) == "off"
        connection.commit()
        assert waits(connection) == "on"


def test_a_router_that_dies_leaves_its_items_to_the_next_router(pool: Engine) -> None:
    with pool.begin() as setup:
        publish(setup, now=NOON)
        admit(setup, "a", now=NOON)
    with pool.connect() as one:
        assert routes.begin(one, LOCK_PATIENCE).alone
        route(one, now=NOON)
        one.rollback()
    with pool.begin() as two:
        assert routes.begin(two, LOCK_PATIENCE).alone
        assert [each.arrived.key for each in unrouted.lock_received(two, 10)] == ["a"]


def test_an_item_that_the_router_has_read_cannot_be_canceled_before_its_route(pool: Engine) -> None:
    with pool.begin() as setup:
        publish(setup, now=NOON)
        admit(setup, "a", now=NOON)
    with pool.connect() as router, pool.connect() as owner:
        unrouted.lock_received(router, 10)
        owner.execute(text("set lock_timeout = '1ms'"))
        with pytest.raises(OperationalError, match="lock timeout"):
            items.cancel(owner, "letters", "a")


def test_a_canceled_item_is_not_routed(connection: Connection) -> None:
    publish(connection, now=NOON)
    admit(connection, "a", "b", now=NOON)
    assert items.cancel(connection, "letters", "a") == "canceled"
    route(connection, now=NOON)
    assert [each.key for each in rows(connection, "route_log")] == ["b"]


def test_a_route_names_the_version_in_force_when_it_was_decided(connection: Connection) -> None:
    publish(connection, now=NOON)
    admit(connection, "a", now=NOON)
    route(connection, now=NOON)
    publish(connection, now=NOON, instructions="Sort it better.")
    admit(connection, "b", now=NOON)
    route(connection, now=NOON)
    assert [each.version for each in rows(connection, "route_log", "key")] == [1, 2]
    assert workloads.read_versions(connection)["letters"].number == 2


def test_received_items_are_returned_oldest_first_up_to_the_limit(connection: Connection) -> None:
    publish(connection, now=NOON)
    admit(connection, "c", "a", "b", now=NOON, entity="e", consumer="desk", urgent=True)
    first, second = unrouted.lock_received(connection, 2)
    assert (first.arrived.key, second.arrived.key) == ("c", "a")
    assert (first.arrived.entity, first.arrived.consumer, first.arrived.urgent) == (
        "e",
        "desk",
        True,
    )


def test_saving_no_decisions_changes_nothing(connection: Connection) -> None:
    routes.save(connection, [], now=NOON)
    assert rows(connection, "route_log") == []


def test_urgent_items_are_routed_first_then_due_items_then_the_rest_in_order_of_receipt(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    admit(connection, "plain", now=NOON)
    admit(connection, "due later", now=NOON, due_at=later(hours=2))
    admit(connection, "due", now=NOON, due_at=later(hours=1))
    admit(connection, "urgent", now=NOON, urgent=True)
    admit(connection, "last", now=NOON)
    order = [each.arrived.key for each in unrouted.lock_received(connection, 10)]
    assert order == ["urgent", "due", "due later", "plain", "last"]
    assert [each.arrived.key for each in unrouted.lock_received(connection, 1)] == ["urgent"]


def test_a_flood_of_one_workload_does_not_delay_the_others(connection: Connection) -> None:
    publish(connection, "flood", now=NOON)
    publish(connection, now=NOON)
    admit(connection, *(f"f{n}" for n in range(50)), now=NOON, workload="flood", urgent=True)
    admit(connection, "a", "b", now=NOON)
    taken = Counter(each.arrived.workload for each in unrouted.lock_received(connection, 20))
    assert taken == {"flood": 10, "letters": 2}
    assert len(unrouted.lock_received(connection, 20, of=["flood"])) == 20


def test_a_read_of_received_items_is_bounded_by_bytes_but_returns_at_least_one_item(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    for key in "abcd":
        admit(connection, key, now=NOON, payload={"text": "x" * 10_000})
    assert len(unrouted.lock_received(connection, 10, most_bytes=25_000)) == 3
    assert len(unrouted.lock_received(connection, 10, most_bytes=1)) == 1


@pytest.mark.parametrize(
    "payload",
    [{"text": "x"}, {"text": 'é "quoted" \n 字', "n": [1, 2.5, None, True], "deep": {"a": {}}}],
)
def test_a_payload_that_no_rule_reads_is_measured_but_not_loaded(
    connection: Connection, payload: dict[str, object]
) -> None:
    letters = publish(connection, now=NOON)
    admit(
        connection,
        "a",
        now=NOON,
        payload=payload,
        consumer="desk",
        entity="e",
        due_at=later(days=1),
        lane=Lane.BATCH,
    )
    (read,) = unrouted.lock_received(connection, 1)
    (unread,) = unrouted.lock_received(connection, 1, unread=["letters"])
    assert (read.arrived.payload, unread.arrived.payload) == (payload, {})
    assert unread.arrived.characters == read.arrived.characters == characters(payload)
    assert unread.arrived._replace(payload=payload) == read.arrived
    decided = [
        decide(each.arrived, letters, workloads.splits(connection), now=NOON)
        for each in (read, unread)
    ]
    assert decided[0] == decided[1]


def test_positions_routes_and_work_are_written_in_order_of_receipt(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    admit(connection, *(f"k{n}" for n in range(300)), now=NOON)
    admit(connection, "urgent", now=NOON, urgent=True)
    route(connection, now=NOON)
    positions = [each.position for each in rows(connection, "item", "id")]
    assert positions == sorted(set(positions))
    for written in ("route", "work"):
        of = [each.item_id for each in rows(connection, written, "id")]
        assert of == [each.id for each in rows(connection, "item", "id")]


@pytest.mark.slow
@pytest.mark.parametrize("plans", ["force_custom_plan", "force_generic_plan"])
def test_queries_for_received_items_use_the_index_among_50000_received_and_50000_routed_items(
    connection: Connection, plans: str
) -> None:
    publish(connection, now=NOON)
    publish(connection, "other", now=NOON)
    connection.execute(
        text("""
        insert into lanes.item (workload, key, payload, content_hash, urgent, occurred_at, received_at, source, position)
        select 'letters', 'k' || n, '{}', '', n % 100 = 0, :now, :now, 'sql', case when n <= 50000 then n end
          from generate_series(1, 100000) n
        """),
        {"now": NOON},
    )
    connection.execute(text("analyze lanes.item"))
    connection.execute(text(f"set local plan_cache_mode = {plans}"))
    parts = {
        "urgent": unrouted.URGENT,
        "due": unrouted.match_due(literal(NOON)),
        "behind": unrouted.match_backlog(literal(60_000)),
    }
    asked = {
        "looking": unrouted.have_received(),
        "taking": unrouted.head("letters", 500),
        "measuring": unrouted.head("letters", 500, read=False),
        **{f"taking_{part}": unrouted.head("letters", 500, part=of) for part, of in parts.items()},
    }
    for name, query in asked.items():
        plan = explained(connection, query, name=name)
        assert "ix_item_received" in plan
        assert "Seq Scan on item" not in plan
        assert "Sort" not in plan
    assert unrouted.has_received(connection)
    assert {each.arrived.urgent for each in unrouted.lock_received(connection, 500)} == {True}


def test_a_read_from_the_cursor_returns_urgent_and_due_items_before_newer_plain_items(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    publish(connection, "other", now=NOON)
    for key, fields in {
        "passed": {},
        "last": {},
        "plain": {},
        "due": {"due_at": later(hours=1)},
        "urgent": {"urgent": True},
    }.items():
        admit(connection, key, now=NOON, **fields)
    passed, last = (
        each
        for each in unrouted.lock_received(connection, 10)
        if each.arrived.key in ("passed", "last")
    )
    since = unrouted.came_last([last, passed], before={})
    waiting = unrouted.find_received(connection, since=since)
    assert since == {"letters": RoutedUpTo(None, last.id)}
    assert [
        each.arrived.key for each in unrouted.lock_received(connection, 10, waiting=waiting)
    ] == [
        "urgent",
        "due",
        "plain",
    ]
    assert [
        each.arrived.key for each in unrouted.lock_received(connection, 2, waiting=waiting)
    ] == [
        "urgent",
        "due",
    ]
    assert [
        each.arrived.key
        for each in unrouted.lock_received(connection, 10, most_bytes=1, waiting=waiting)
    ] == ["urgent"]
    assert list(unrouted.find_received(connection, since=since)) == ["letters"]


def test_due_items_are_read_from_the_cursor_and_urgent_items_always(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    for hours in (1, 2, 3):
        admit(connection, f"due in {hours} h", now=NOON, due_at=later(hours=hours))
    admit(connection, "plain", now=NOON)
    (first, second) = unrouted.lock_received(connection, 2)
    since = unrouted.came_last([second, first], before={"letters": RoutedUpTo(None, first.id)})
    waiting = unrouted.find_received(connection, since=since)
    assert since == {"letters": RoutedUpTo(later(hours=2), first.id)}
    keys = [each.arrived.key for each in unrouted.lock_received(connection, 10, waiting=waiting)]
    assert keys == ["due in 2 h", "due in 3 h", "plain"]
    admit(connection, "urgent", now=NOON, urgent=True, due_at=later(minutes=1))
    admit(connection, "due sooner", now=NOON, due_at=later(minutes=1))
    waiting = unrouted.find_received(connection, since=since)
    assert unrouted.lock_received(connection, 1, waiting=waiting)[0].arrived.key == "urgent"
    assert [each.arrived.key for each in unrouted.lock_received(connection, 2)] == [
        "urgent",
        "due sooner",
    ]
    assert unrouted.came_last([], before=since) == {}


def test_a_search_for_received_items_reports_where_each_workload_begins_in_the_index(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    publish(connection, "bills", now=NOON)
    publish(connection, "notes", now=NOON)
    admit(connection, "plain", "another", now=NOON)
    admit(connection, "due", now=NOON, workload="bills", due_at=later(hours=1))
    plain, *_ = rows(connection, "item", "id")
    begins = {
        "letters": Begins(False, None, plain.id),
        "bills": Begins(False, later(hours=1), None),
    }
    assert unrouted.find_received(connection) == begins
    assert routes.begin(connection, LOCK_PATIENCE).workloads == begins


def test_a_workload_is_full_once_it_used_up_its_share_in_items_or_in_bytes(
    connection: Connection,
) -> None:
    for name in ("letters", "large", "notes"):
        publish(connection, name, now=NOON)
    admit(connection, *"abcd", now=NOON)
    admit(connection, "a", now=NOON, workload="large", payload={"text": "x" * 50_000})
    admit(connection, "a", now=NOON, workload="notes")
    admit(connection, *"bcd", now=NOON, workload="notes", urgent=True)
    taken = unrouted.lock_received(connection, 9)
    assert unrouted.find_full(taken, 9, workloads=3) == {"letters"}
    assert unrouted.find_full(taken, 900, workloads=100) == {"large"}
    assert unrouted.find_full(taken, 1, workloads=3) == {
        "letters",
        "large",
    }  # of notes only urgent ones


def test_a_backlog_is_left_out_and_due_items_too_if_they_are_the_backlog() -> None:
    due = later(hours=1)
    begins = {
        "letters": Begins(True, due, ItemId(1)),
        "bills": Begins(True, due, None),
        "notes": Begins(False, due, None),
        "other": Begins(False, due, ItemId(2)),
    }
    assert unrouted.leave_out_backlogs(begins, of=[]) == begins
    assert unrouted.leave_out_backlogs(begins, of=["letters", "bills", "notes"]) == {
        "letters": Begins(True, due, None),
        "bills": Begins(True, None, None),
        "other": begins["other"],
    }


def test_a_read_from_the_cursor_does_not_find_items_up_to_the_cursor(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    publish(connection, "other", now=NOON)
    admit(connection, "a", now=NOON)
    (only,) = unrouted.lock_received(connection, 10)
    since = unrouted.came_last([only], before={})
    waiting = unrouted.find_received(connection, since=since)
    assert unrouted.lock_received(connection, 10, waiting=waiting) == []
    assert not unrouted.has_received(connection, since=since)
    assert unrouted.has_received(connection, since={"other": RoutedUpTo(None, only.id)})
    assert unrouted.has_received(connection)
