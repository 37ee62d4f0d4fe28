"""Reads the end of the real-time lane's queue, and moves free work of it to the batch lane."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, case, func, select, text, update

from lanes.ids import WorkId
from lanes.money.cost import Estimate, Estimates
from lanes.packing import history_chars
from lanes.routing.shedding import Shed, Waiting
from lanes.store.bulk import insert_rows, one_of
from lanes.store.doors.history import lengths_of
from lanes.store.money import sharing
from lanes.store.routing.routes import row_of
from lanes.store.tables import route, work, workload
from lanes.store.workload.workloads import in_force, versions
from lanes.words import Lane, Purpose
from lanes.workload.version import Version

MOST = (
    100_000  # items of a queue that are counted: what is behind so many would wait too long anyway
)
CHUNK = 500  # work that is looked at, and leaves, in one transaction

# The last of the queue of these workloads, from a place in it on: what ranks latest comes first.
LAST = f"""
select w.id, w.workload, w.version_id, w.purpose, w.binds, w.rank_at, w.due_at, i.consumer
  from unnest(cast(:workloads as text[])) asked(workload)
 cross join lateral (
   select w.id from lanes.work w
    where w.lane = 'realtime' and w.state = 'ready' and w.workload = asked.workload
      and (w.rank_at, w.id) < (cast(:rank_at as timestamptz), cast(:id as bigint))
    order by w.rank_at desc, w.id desc limit {CHUNK}) of_queue
 cross join lateral (select * from lanes.work w where w.id = of_queue.id offset 0) w
 cross join lateral (select i.consumer from lanes.item i where i.id = w.item_id offset 0) i
 order by w.rank_at desc, w.id desc limit {CHUNK}
"""

# How many items of each workload wait, as far as that makes a difference.
STANDING = f"""
select asked.workload, w.items
  from unnest(cast(:workloads as text[])) asked(workload)
 cross join lateral (
   select count(*) as items from (
     select from lanes.work w
      where w.lane = 'realtime' and w.state = 'ready' and w.workload = asked.workload limit {MOST}) w) w
"""

# Item before work; what others hold is passed over, and met again by the next look. Once shed or rescued, an item stays where
# that led it; where a batch owes its answer already, nothing has to leave.
HELD = """
select w.id, w.item_id, w.version_id, length(i.payload::text) as chars, last.realtime_usd, last.batch_usd
  from lanes.work w
  join lanes.item i on i.id = w.item_id
 cross join lateral (
   select r.realtime_usd, r.batch_usd from lanes.route r where r.item_id = w.item_id order by r.id desc limit 1) last
 where w.id = any(cast(:ids as bigint[]))
   and w.lane = 'realtime' and w.state = 'ready' and w.purpose = 'answer' and w.generation = 0 and w.binds is null
   and not w.rescued
   and i.answered_at is null and i.settled_at is null and i.failed_at is null and i.canceled_at is null
   and w.revision = i.revision
   and not exists (select from lanes.route r where r.item_id = w.item_id and r.reason in ('shed', 'rescue'))
   and not exists (select from lanes.work o
                    where o.item_id = w.item_id and o.lane = 'batch' and o.purpose = 'answer' and o.generation = 0
                      and o.state in ('ready', 'claimed', 'submitted'))
 order by w.item_id, w.id
   for no key update of i, w skip locked
"""


@dataclass(frozen=True)
class Place:
    """Where in a queue somebody is."""

    rank_at: datetime | str
    id: WorkId | int


END = Place("infinity", 0)


@dataclass(frozen=True)
class Found:
    """The last of a queue before a place, and the place before all of it, None where nothing is there."""

    waiting: list[Waiting]
    before: Place | None


def going(connection: Connection) -> dict[str, Version]:
    """The versions in force of the workloads that are not paused."""
    paused = set(
        connection.execute(
            select(workload.c.name).where(workload.c.paused_at.is_not(None))
        ).scalars()
    )
    return {name: version for name, version in in_force(connection).items() if name not in paused}


def standing(connection: Connection, workloads: Sequence[str]) -> dict[str, int]:
    """How many items of each of these workloads wait for real time, `MOST` of each at most."""
    return {
        row.workload: row.items
        for row in connection.execute(text(STANDING), {"workloads": list(workloads)})
    }


def last(connection: Connection, workloads: Sequence[str], *, before: Place = END) -> Found:
    """The `CHUNK` that rank latest before a place in the real-time queue of these workloads, the latest first."""
    given = {"workloads": list(workloads), "rank_at": before.rank_at, "id": before.id}
    rows = connection.execute(text(LAST), given).all()
    found = [
        Waiting(
            row.id,
            row.workload,
            row.version_id,
            row.consumer,
            row.rank_at,
            row.due_at,
            None if row.binds is None else Lane(row.binds),
            row.purpose == Purpose.ANSWER,
        )
        for row in rows
    ]
    return Found(found, Place(rows[-1].rank_at, rows[-1].id) if len(rows) == CHUNK else None)


def save(connection: Connection, leaving: Mapping[WorkId, Shed], *, now: datetime) -> int:
    """What of this work is free and ready still, and was never shed, is the batch lane's, by a route; how much that is.

    What others have locked stays. No claim that was made before is in force.
    """
    rows = connection.execute(text(HELD), {"ids": list(leaving)}).all()
    if not rows:
        return 0
    known, estimates = (
        versions(connection, {row.version_id for row in rows}),
        sharing.estimates(connection, now=now),
    )
    connection.execute(  # from now on it waits for a batch: what waited long is not given up at once
        update(work)
        .where(one_of([row.id for row in rows], work.c.id))
        .values(
            lane=Lane.BATCH,
            claim_no=work.c.claim_no + 1,
            bound_usd=None,
            waits_since=now,
            ready_at=case(
                (work.c.bound_usd.is_(None), func.greatest(work.c.ready_at, now)), else_=now
            ),
        )
    )
    told = lengths_of(connection, {row.item_id: known.get(row.version_id) for row in rows})
    made = [
        (row, leaving[row.id].route(_costs(row, known, estimates, told.get(row.item_id, ()))))
        for row in rows
    ]
    connection.execute(
        insert_rows(route, [row_of(to, row.item_id, row.version_id, now=now) for row, to in made])
    )
    return len(rows)


def _costs(
    row: Any, known: Mapping[Any, Version], estimates: Estimates, earlier: Sequence[int]
) -> Estimate:
    """Return what the item costs on each lane.

    That is what its last route said where its models have no price now, or its version cannot be read any more.
    """
    try:
        return estimates.of(known[row.version_id], row.chars, history_chars(earlier))
    except LookupError:
        return Estimate(row.realtime_usd, row.batch_usd)
