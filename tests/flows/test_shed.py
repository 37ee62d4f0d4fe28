"""The second look at work in real time: all free work leaves once it is certain that real time cannot serve it."""

from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from sqlalchemy import Connection, text

from lanes.money.budget import Budget, Period
from lanes.realtime.circuit import Fault
from lanes.routing.capacity import Limit, LimitKind
from lanes.routing.load import Load
from lanes.routing.shedding import SETTLED
from lanes.store.database import Database
from lanes.store.money import budgets
from lanes.store.realtime import circuits, load
from lanes.store.routing import second_look
from lanes.store.workload.accounts import LaneAccount
from lanes.words import Lane
from tasks.second_look import Shedder
from tests.conftest import NOON
from tests.examples import admit, publish, route
from tests.passing_time import PassingTime
from tests.store.tries import crowd, rows

MODEL = "claude-haiku-5-5"
LANE = Load(NOON, per_s=10)


def free(connection: Connection, *, now: datetime) -> None:
    """Admit two items that a split sends to real time, and one for which a user waits."""
    publish(connection, now=now, split_percent=100)
    admit(connection, "a", now=now)
    admit(connection, "b", now=now, consumer="desk")
    admit(connection, "urgent", now=now, urgent=True)
    route(connection, now=now)


def down(connection: Connection, account: str = "acme", *, now: datetime) -> None:
    """Record the outage of a model from now on."""
    circuits.record_fault(
        connection, account, MODEL, Fault("529: overloaded", 3, now, now), now=now
    )


async def lanes(db: Database) -> dict[str, str]:
    """Return the lane of each item by its key."""
    return {each.key: each.lane for each in await db.run(rows, "item_status")}


async def test_free_work_of_a_model_in_an_outage_leaves_once_the_outage_has_lasted_some_time(
    db: Database, passing_time: PassingTime
) -> None:
    await db.run(free, now=await db.now())
    await db.run(down, now=await db.now())
    shedder = Shedder(db, "acme")
    assert await shedder.look(LANE) == 0
    passing_time.passes(seconds=SETTLED.total_seconds())
    assert await Shedder(db, "others").look(LANE) == 0
    assert await shedder.look(LANE) == 2
    assert await lanes(db) == {"a": "batch", "b": "batch", "urgent": "realtime"}
    assert await shedder.look(LANE) == 0
    said = {each.explanation for each in await db.run(rows, "route_log", reason="shed")}
    assert all("has not answered since" in each and "529: overloaded" in each for each in said)


async def test_items_of_a_consumer_beyond_its_soft_limit_leave(db: Database) -> None:
    now = await db.now()
    await db.run(free, now=now)
    soft = Budget("letters", "desk", Period.DAY, "UTC", Decimal(0), None)
    await db.run(budgets.put, soft, who="ada", why="trial", now=now)
    assert await Shedder(db, "acme").look(LANE) == 1
    assert await lanes(db) == {"a": "realtime", "b": "batch", "urgent": "realtime"}


def many(connection: Connection, *, patience_s: int = 60, now: datetime) -> None:
    """Admit 20 free items at once, each with this patience."""
    publish(connection, now=now, split_percent=100, patience_s=patience_s)
    admit(connection, *(f"k{nth:02}" for nth in range(20)), now=now)
    route(connection, now=now)


async def test_work_that_exceeds_the_limits_in_the_providers_headers_leaves(
    db: Database,
) -> None:
    """The limit is one request in ten seconds; the patience suffices for nine requests before an item."""
    now = await db.now()
    await db.run(many, patience_s=95, now=now)
    told = Limit(LimitKind.REQUESTS, 6, 0, now + timedelta(minutes=1), now)
    await db.run(load.exchange_limits, "acme", {MODEL: [told]}, now=now)
    assert (
        await Shedder(db, "acme").look(await db.run(load.snapshot, LaneAccount("acme"), now=now))
        == 10
    )
    said = {each.explanation for each in await db.run(rows, "route_log", reason="shed")}
    assert sum(f"the work before it for {MODEL} takes 100 s, " in each for each in said) == 1


def admit_crowd(connection: Connection, *, now: datetime) -> None:
    """Add 20,000 waiting items, each with its route."""
    letters = publish(connection, now=now)
    crowd(connection, letters, Lane.REALTIME)
    connection.execute(
        text("""
        insert into lanes.route (item_id, version_id, lane, reason, explanation, realtime_usd, batch_usd, decided_at)
        select item_id, version_id, lane, 'split', 'bucket 1', 0.002, 0.001, :now from lanes.work
        """),
        {"now": now},
    )


@pytest.mark.slow
async def test_twenty_thousand_items_leave_in_one_look_the_latest_rank_first(
    db: Database, passing_time: PassingTime
) -> None:
    await db.run(admit_crowd, now=await db.now())
    await db.run(down, now=await db.now())
    passing_time.passes(seconds=SETTLED.total_seconds())
    shedder, began = Shedder(db, "acme"), await db.now()
    assert await shedder.look(LANE) == 20_000
    assert await db.now() - began < timedelta(minutes=2)
    ids = [each.item_id for each in await db.run(rows, "route", "id", reason="shed")]
    chunks = [
        ids[first : first + second_look.CHUNK] for first in range(0, len(ids), second_look.CHUNK)
    ]
    assert all(min(one) > max(next_) for one, next_ in pairwise(chunks))
