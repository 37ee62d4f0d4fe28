"""The end of the real-time lane's queue, and the work that leaves it for the batch lane."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select, text

from lanes.ids import WorkId
from lanes.packing import AFTER_ALL_LIVE_WORK
from lanes.routing.shedding import QueuedWork, Shed
from lanes.store.routing import lane_changes
from lanes.store.tables import workload
from lanes.store.workload.workloads import in_force
from lanes.words import Lane, Purpose, Reason
from lanes.workload.version import Version

MOST = 100_000  # items of a queue that are counted: work behind them would wait too long anyway
CHUNK = 500  # works of one transaction

# The end of these workloads' queue before a place, the latest rank first; replays rank after `until`.
LAST = f"""
select w.id, w.workload, w.version_id, w.purpose, w.binds, w.rank_at, w.due_at, i.consumer
  from unnest(cast(:workloads as text[])) asked(workload)
 cross join lateral (
   select w.id from lanes.work w
    where w.lane = 'realtime' and w.state = 'ready' and w.workload = asked.workload and w.rank_at < :until
      and (w.rank_at, w.id) < (cast(:rank_at as timestamptz), cast(:id as bigint))
    order by w.rank_at desc, w.id desc limit {CHUNK}) of_queue
 cross join lateral (select * from lanes.work w where w.id = of_queue.id offset 0) w
 cross join lateral (select i.consumer from lanes.item i where i.id = w.item_id offset 0) i
 order by w.rank_at desc, w.id desc limit {CHUNK}
"""

# How many items of each workload wait, up to `MOST`.
STANDING = f"""
select asked.workload, w.items
  from unnest(cast(:workloads as text[])) asked(workload)
 cross join lateral (
   select count(*) as items from (
     select from lanes.work w
      where w.lane = 'realtime' and w.state = 'ready' and w.workload = asked.workload and w.rank_at < :until
      limit {MOST}) w) w
"""


@dataclass(frozen=True)
class QueuePlace:
    """A place in a queue."""

    rank_at: datetime | str
    id: WorkId | int


END = QueuePlace("infinity", 0)


@dataclass(frozen=True)
class QueueTail:
    """The last work of a queue before a place, and the place before all of it, None where nothing is there."""

    waiting: list[QueuedWork]
    before: QueuePlace | None


def going(connection: Connection) -> dict[str, Version]:
    """Return the versions in force of the workloads that are not paused."""
    is_paused = workload.c.paused_at.is_not(None)
    paused = set(connection.execute(select(workload.c.name).where(is_paused)).scalars())
    return {name: version for name, version in in_force(connection).items() if name not in paused}


def standing(connection: Connection, workloads: Sequence[str], *, now: datetime) -> dict[str, int]:
    """Count the items of each of these workloads that wait for real time, at most `MOST` of each."""
    given = {"workloads": list(workloads), "until": now + AFTER_ALL_LIVE_WORK / 2}
    rows = connection.execute(text(STANDING), given)
    return {row.workload: row.items for row in rows}


def last(
    connection: Connection, workloads: Sequence[str], *, before: QueuePlace = END, now: datetime
) -> QueueTail:
    """Return the `CHUNK` of latest rank before a place in the real-time queue of these workloads, the latest first."""
    given = {"workloads": list(workloads), "rank_at": before.rank_at, "id": before.id}
    given["until"] = now + AFTER_ALL_LIVE_WORK / 2
    rows = connection.execute(text(LAST), given).all()
    found = [
        QueuedWork(
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
    onwards = QueuePlace(rows[-1].rank_at, rows[-1].id) if len(rows) == CHUNK else None
    return QueueTail(found, onwards)


def save(connection: Connection, leaving: Mapping[WorkId, Shed], *, now: datetime) -> int:
    """Move the work of `leaving` that is still free and ready to the batch lane; return how many rows were moved.

    An item that was shed or rescued before is not moved again.
    """
    free = lane_changes.free_to_move(
        connection, dict.fromkeys(leaving), off=Lane.REALTIME, once=(Reason.SHED, Reason.RESCUE)
    )
    return lane_changes.change(connection, [(row, leaving[row.id].route) for row in free], now=now)
