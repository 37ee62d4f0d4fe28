"""The router's capacity guard: when real time is full, items that may wait go to batch, and no others do."""

from datetime import datetime

import pytest
from sqlalchemy import Connection, Engine

from lanes.store.database import Database
from lanes.store.realtime.load import TIMED
from lanes.store.workload.accounts import LaneAccount
from tasks import router
from tasks.router import Rooms
from tests.examples import admit, publish
from tests.passing_time import PassingTime
from tests.store.tries import claimed_item, rows, save, tried


def time_calls(connection: Connection, *, now: datetime, calls: int = TIMED) -> None:
    """Record `calls` calls of another workload that took a second each."""
    publish(connection, "known", now=now)
    for number in range(calls):
        save(
            connection,
            tried(claimed_item(connection, f"known {number}", now=now, workload="known"), at=now),
        )


@pytest.mark.slow
async def test_items_that_may_wait_go_to_batch_once_real_time_is_full_and_bound_items_stay(
    db: Database, pool: Engine
) -> None:
    now = await db.now()
    # One call at a time, of one second: one item per second.
    rooms = Rooms(lambda: [LaneAccount("acme", most_calls=1)])
    with pool.begin() as sender:
        time_calls(sender, now=now)
        publish(
            sender, now=now, split_percent=100, patience_s=5, urgent_when='payload.text == "help"'
        )
        admit(sender, *(f"k{n}" for n in range(9)), now=now)
        admit(sender, "urgent", now=now, urgent=True)
        admit(sender, "help", now=now, payload={"text": "help"})
        admit(sender, "due", now=now, due_at=now.replace(year=now.year + 1))
    assert await router.route_received(db, 100, rooms=rooms) == 12
    with pool.begin() as reader:
        said = {each.key: each for each in rows(reader, "route_log")}
    free = [said[f"k{n}"] for n in range(9)]
    full = [each for each in free if each.reason == "capacity"]
    # Five earlier items are answered within an item's five seconds, and two of those five were bound.
    assert len(full) == 6
    assert {each.lane for each in full} == {"batch"}
    assert all(
        each.explanation.startswith("real time is full: with ") and each.binds is None
        for each in full
    )
    assert {said[key].lane for key in ("urgent", "help", "due")} == {"realtime"}


@pytest.mark.slow
async def test_a_lane_with_too_few_timed_calls_is_never_full(db: Database, pool: Engine) -> None:
    now = await db.now()
    with pool.begin() as sender:
        time_calls(sender, now=now, calls=TIMED - 1)
        publish(sender, now=now, split_percent=100, patience_s=5)
        admit(sender, *(f"k{n}" for n in range(99)), now=now)
    assert (
        await router.route_received(
            db, 100, rooms=Rooms(lambda: [LaneAccount("acme", most_calls=1)])
        )
        == 99
    )
    with pool.begin() as reader:
        assert {each.lane for each in rows(reader, "route_log")} == {"realtime"}


async def test_the_load_is_not_read_when_only_bound_items_go_to_real_time(
    db: Database, pool: Engine
) -> None:
    rooms = Rooms(lambda: [LaneAccount("acme")])
    now = await db.now()
    with pool.begin() as sender:
        publish(sender, now=now, split_percent=0)
        admit(sender, "a", now=now, urgent=True)
    assert await router.route_received(db, rooms=rooms) == 1
    assert rooms._room is None


@pytest.mark.slow
async def test_bound_items_use_up_the_room_that_a_recent_look_measured(
    db: Database, pool: Engine, passing_time: PassingTime
) -> None:
    rooms = Rooms(lambda: [LaneAccount("acme", most_calls=1)])
    now = await db.now()
    with pool.begin() as sender:
        time_calls(sender, now=now)
        publish(sender, now=now, split_percent=100, patience_s=5)
        publish(sender, "bound", now=now, split_percent=0, weight=100, max_share_percent=100)
        admit(sender, "first", now=now)
    assert await router.route_received(db, rooms=rooms) == 1
    with pool.begin() as sender:
        admit(sender, *(f"u{n}" for n in range(50)), now=now, workload="bound", urgent=True)
    assert await router.route_received(db, rooms=rooms) == 50
    with pool.begin() as sender:
        admit(sender, "next", now=now)
    assert await router.route_received(db, rooms=rooms) == 1
    with pool.begin() as reader:
        said = {each.key: each.reason for each in rows(reader, "route_log")}
    assert (said["first"], said["next"]) == ("split", "capacity")
    passing_time.passes(seconds=5)
    with pool.begin() as sender:
        admit(sender, "later", now=await db.now(), workload="bound", urgent=True)
    looked_at = rooms._looked_at
    assert await router.route_received(db, rooms=rooms) == 1
    assert rooms._looked_at == looked_at


async def test_failing_rules_and_odd_times_lose_no_item_and_harm_no_neighbour(
    db: Database, pool: Engine
) -> None:
    now = await db.now()
    odd: list[dict[str, object]] = [{}, {"n": "many"}, {"n": None}, {"n": 2**70}, {"n": 4}]
    with pool.begin() as sender:
        rules = {"urgent_when": "payload.n > 3", "batch_when": "payload.n / 0 == 1"}
        publish(sender, "odd", now=now, value_usd=1, half_life_s=1, **rules)
        publish(sender, now=now, split_percent=100)
        for number, payload in enumerate(odd):
            admit(sender, f"k{number}", now=now, workload="odd", payload=payload)
        admit(sender, "sound", now=now)
        admit(
            sender,
            "ancient",
            now=now,
            workload="odd",
            payload={},
            occurred_at=now.replace(year=1900),
        )
        admit(
            sender,
            "to come",
            now=now,
            workload="odd",
            payload={},
            occurred_at=now.replace(year=2200),
        )
    assert await router.route_received(db, 100, rooms=Rooms(lambda: [LaneAccount("acme")])) == 8
    with pool.begin() as reader:
        said = {each.key: each for each in rows(reader, "route_log")}
    assert "which this item lacks; guard it with has()" in said["k0"].explanation
    assert said["k4"].reason == "urgent_rule"
    assert (said["ancient"].lane, said["ancient"].reason) == ("batch", "value")
    assert (said["to come"].lane, said["to come"].reason) == ("realtime", "value")
    assert (said["sound"].lane, said["sound"].reason) == ("realtime", "split")
