"""What real time is up against, as a router reads it: limits, what waits, and how fast it is answered."""

import pytest
from sqlalchemy import Connection, Engine, text

from lanes.money.budget import Budget, Period
from lanes.routing.capacity import Kind, Limit
from lanes.store.database import Database
from lanes.store.money import budgets
from lanes.store.realtime import limits
from lanes.store.routing import room
from lanes.words import Lane
from lanes.workload.version import Version
from tasks import route as router
from tasks.room import Rooms
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.passing_time import PassingTime
from tests.store.tries import claim, rows, save, tried

MODEL = "claude-haiku-5-5"


def waits(connection: Connection, number: int, **of: int) -> Version:
    letters = publish(connection, now=NOON, **of)
    admit(connection, *(f"k{n}" for n in range(number)), now=NOON, lane=Lane.REALTIME)
    route(connection, now=NOON)
    return letters


def answer(connection: Connection, number: int, *, at_s: float) -> None:
    made = claim(connection, places=number, now=later(seconds=at_s))
    save(connection, *(tried(each, at=later(seconds=at_s)) for each in made), now=later(seconds=at_s))


def test_nothing_is_known_of_a_lane_where_nothing_happened(connection: Connection) -> None:
    seen = room.load(connection, now=NOON)
    assert (dict(seen.limits), seen.ahead, seen.waits_since, seen.served_per_s) == ({}, [], None, None)


def test_what_waits_and_how_fast_it_is_answered_is_known_once_some_waited(connection: Connection) -> None:
    letters = waits(connection, 30)
    answer(connection, 10, at_s=4)
    early, late = (room.load(connection, now=later(seconds=after)) for after in (4.5, 10))
    assert [(each.version, each.items) for each in late.ahead] == [(letters, 20)]
    assert early.served_per_s is None
    assert late.served_per_s == pytest.approx(1.0)
    assert late.waits_since == NOON


def test_work_that_rests_is_paused_or_has_no_money_holds_nobody_up(connection: Connection) -> None:
    waits(connection, 5)
    connection.execute(text("update lanes.work set ready_at = :at"), {"at": later(minutes=5)})
    assert room.load(connection, now=later(minutes=1)).waits_since is None
    connection.execute(text("update lanes.work set ready_at = :at"), {"at": NOON})
    assert room.load(connection, now=later(minutes=1)).waits_since == NOON
    budgets.put(connection, Budget("letters", None, Period.DAY, "UTC", None, 0), who="ada", why="test", now=NOON)  # pyright: ignore[reportArgumentType]
    connection.execute(text("update lanes.budget set refused_at = :at"), {"at": later(seconds=30)})
    assert room.load(connection, now=later(minutes=1)).ahead == []
    connection.execute(text("update lanes.budget set refused_at = null"))
    assert len(room.load(connection, now=later(minutes=1)).ahead) == 1
    connection.execute(text("update lanes.workload set paused_at = :at"), {"at": NOON})
    assert room.load(connection, now=later(minutes=1)).ahead == []


def test_the_limits_are_those_that_were_told_last_and_lately(connection: Connection) -> None:
    for account, left, at in (("acme", 30, 5), ("other", 50, 2)):
        told = {MODEL: [Limit(Kind.REQUESTS, 60, left, later(minutes=1), later(seconds=at))]}
        limits.exchange(connection, account, told, now=later(seconds=at))
    (known,) = room.load(connection, now=later(seconds=6)).limits[MODEL]
    assert known.remaining == 30
    assert not room.load(connection, now=later(minutes=3)).limits


async def test_a_router_sends_what_may_wait_to_batch_once_real_time_is_full(
    db: Database, pool: Engine, passing_time: PassingTime
) -> None:
    now = await db.now()
    with pool.begin() as setup:
        publish(setup, now=now, split_percent=100, patience_s=10)
        admit(setup, *(f"k{n}" for n in range(60)), now=now)
    rooms = Rooms()
    assert await router.route_received(db, 100, rooms=rooms) == 60
    with pool.begin() as drain:
        at = now
        made = claim(drain, places=6, now=at)
        save(drain, *(tried(each, at=at) for each in made), now=at)
    passing_time.passes(seconds=8)
    with pool.begin() as sender:
        later_on = await db.now()
        admit(sender, "free", now=later_on)
        admit(sender, "urgent", now=later_on, urgent=True)
        admit(sender, "due", now=later_on, due_at=later_on.replace(year=later_on.year + 1))
    assert await router.route_received(db, 100, rooms=rooms) == 3
    with pool.begin() as reader:
        said = {each.key: each for each in rows(reader, "route_log")}
    assert (said["free"].lane, said["free"].reason, said["free"].binds) == ("batch", "capacity", None)
    assert said["free"].explanation.startswith("real time is full: 54 items wait, and ")
    assert (said["urgent"].lane, said["due"].lane) == ("realtime", "realtime")
