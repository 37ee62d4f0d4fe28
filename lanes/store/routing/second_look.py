"""The queries of a second look: due items of the batch lane, and the end of the real-time lane's queue.

The real-time lane takes over items that would be late; work that it cannot serve now moves to the batch lane.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, text

from lanes.ids import BatchId, WorkId
from lanes.packing import AFTER_ALL_LIVE_WORK
from lanes.routing.second_look import DepartedBatch, DoubtfulItem, LateItem
from lanes.routing.shedding import QueuedWork, Shed
from lanes.store.routing import routes
from lanes.store.states import OPEN_ITEM, UNCLAIMED
from lanes.store.tables import workload
from lanes.store.workload.workloads import read_versions, versions
from lanes.words import Lane, Purpose, Reason
from lanes.workload.version import Version

MOST = 20_000  # items of a workload in one look, the earliest due first
PASSED_OVER = 100_000  # the most work rows read to find them, as many as a batch can have
STRIDE = 1_000  # beyond them, one item stands for this many
CHUNK = 500  # work rows per transaction

WAITS = f"""w.due_at is not null and w.lane = 'batch' and w.purpose = 'answer' and w.state in {UNCLAIMED}
      and not w.rescued"""

# Counts the work without reading its items.
NUMBERS = f"""
select f.name, n.items
  from lanes.workload f
 cross join lateral (
   select count(*) as items from (
     select from lanes.work w
      where w.workload = f.name and w.binds is null and w.due_at > :now and w.due_at <= :until and {WAITS}
      limit {PASSED_OVER}) w) n
 where f.paused_at is null and n.items > 0
"""


# Due work is read by workload, so that no workload hides another; bound work has a query of its own. The batch is returned
# whatever its state, because the provider may have a batch that is held or intended. Work in a batch needs no answer if its
# item has since been answered, withdrawn or amended.
def _per_workload_sql(binds: str) -> str:
    return f"""
  from lanes.workload f
 cross join lateral (
   select w.id, w.version_id, w.due_at, w.batch_id, w.state, i.consumer
     from (
       select w.id, w.item_id, w.version_id, w.revision, w.due_at, w.binds, w.batch_id, w.state
         from lanes.work w
        where w.workload = f.name and w.binds {binds} and w.due_at > :now and w.due_at <= :until and {WAITS}
        order by w.binds, w.due_at, w.id limit {PASSED_OVER}) w
     join lanes.item i on i.id = w.item_id and i.revision = w.revision and {OPEN_ITEM}
    order by w.binds, w.due_at, w.id limit {MOST}) w
  left join lanes.batch b on b.id = w.batch_id and w.state = 'submitted'
 where f.paused_at is null
"""


# The work after the last row read of each workload: the first of every `STRIDE` rows.
BEHIND = f"""
select w.id, w.version_id, w.due_at, least({STRIDE}, n.number - n.nth + 1) as items, i.consumer, b.id as batch_id,
       b.intended_at as left_at, b.requests
  from unnest(cast(:workloads as text[]), cast(:due as timestamptz[]), cast(:ids as bigint[])) last (workload, due_at, id)
 cross join lateral (
   select w.id, row_number() over (order by w.due_at, w.id) as nth, count(*) over () as number from (
     select w.id, w.due_at from lanes.work w
      where w.workload = last.workload and w.binds is null and (w.due_at, w.id) > (last.due_at, last.id)
        and w.due_at >= last.due_at and w.due_at <= :until and {WAITS}
      order by w.binds, w.due_at, w.id limit {PASSED_OVER}) w) n
  join lanes.work w on w.id = n.id
  join lanes.item i on i.id = w.item_id
  left join lanes.batch b on b.id = w.batch_id and w.state = 'submitted'
 where n.nth % {STRIDE} = 1
"""

DUE = f"""
select w.id, w.version_id, w.due_at, w.consumer, b.id as batch_id, b.intended_at as left_at,
       b.requests
{_per_workload_sql("is null")}
 order by w.due_at, w.id
"""

BOUND = f"""
select min(w.id) as id, w.version_id, w.due_at, count(*) as items, b.id as batch_id,
       b.intended_at as left_at, b.requests
{_per_workload_sql("= 'batch'")}
 group by w.version_id, w.due_at, b.id
 order by w.due_at, 1
"""


def due_numbers(connection: Connection, *, until: datetime, now: datetime) -> dict[str, int]:
    """Count the free items of each workload that are due after `now` until `until`, at most `PASSED_OVER`."""
    rows = connection.execute(text(NUMBERS), {"now": now, "until": until})
    return {row.name: row.items for row in rows}


def due_items(connection: Connection, *, until: datetime, now: datetime) -> list[LateItem]:
    """Return free items of the batch lane that are due after `now` until `until`, in due order.

    The list contains up to `MOST` items of each workload, and one of every `STRIDE` items after them. It excludes rescued items
    and workloads that are paused or cannot be read.
    """
    late_items = [
        LateItem(row.id, version, row.due_at, _out(row), consumer=row.consumer)
        for row, version in _readable(connection, DUE, {"until": until, "now": now})
    ]
    read = Counter(each.version.workload for each in late_items)
    last = {
        each.version.workload: each for each in late_items if read[each.version.workload] >= MOST
    }
    if not last:
        return late_items
    behind = {
        "workloads": [*last],
        "due": [each.due_at for each in last.values()],
        "ids": [each.work_id for each in last.values()],
        "until": until,
    }
    return late_items + [
        LateItem(row.id, version, row.due_at, _out(row), items=row.items, consumer=row.consumer)
        for row, version in _readable(connection, BEHIND, behind)
    ]


def due_bound_items(connection: Connection, *, until: datetime, now: datetime) -> list[LateItem]:
    """Return due items bound to batch; one entry stands for all items with the same batch, version and due time."""
    return [
        LateItem(row.id, of, row.due_at, _out(row), Lane.BATCH, row.items)
        for row, of in _readable(connection, BOUND, {"until": until, "now": now})
    ]


def rescue(connection: Connection, late: Sequence[DoubtfulItem], *, now: datetime) -> int:
    """Let real time answer these items, in addition to the batch that owns them or instead of it; return how many.

    An item is rescued once. An item that has changed since the look stays where it is.
    """
    doubtful = {each.of.work_id: each for each in late}
    batches = {id_: None if of.of.batch is None else of.of.batch.id for id_, of in doubtful.items()}
    free = routes.free_to_move(connection, batches, off=Lane.BATCH, once=(Reason.RESCUE,))
    return routes.change(connection, [(row, doubtful[row.id].route) for row in free], now=now)


def _readable(
    connection: Connection, statement: str, at: dict[str, Any]
) -> list[tuple[Any, Version]]:
    """Return the rows of a statement, each with its version; rows whose version cannot be read are dropped."""
    rows = connection.execute(text(statement), at).all()
    readable = versions(connection, {row.version_id for row in rows})
    return [(row, readable[row.version_id]) for row in rows if row.version_id in readable]


def _out(row: Any) -> DepartedBatch | None:
    if row.batch_id is None:
        return None
    return DepartedBatch(BatchId(row.batch_id), row.left_at, row.requests)


MOST_COUNTED = 100_000  # counted items of a queue: work behind them would wait too long anyway

# The end of these workloads' queues before a place, the latest rank first; the rank of replays is after `until`.
TAIL = f"""
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

# The number of waiting items of each workload, up to `MOST_COUNTED`.
QUEUE_LENGTHS = f"""
select asked.workload, w.items
  from unnest(cast(:workloads as text[])) asked(workload)
 cross join lateral (
   select count(*) as items from (
     select from lanes.work w
      where w.lane = 'realtime' and w.state = 'ready' and w.workload = asked.workload and w.rank_at < :until
      limit {MOST_COUNTED}) w) w
"""


@dataclass(frozen=True)
class QueuePlace:
    """A place in a queue, in order of rank and id."""

    rank_at: datetime | str
    id: WorkId | int


END = QueuePlace("infinity", 0)


@dataclass(frozen=True)
class QueueTail:
    """The last work of a queue before a place, and the place before that work; None if no work remains there."""

    waiting: list[QueuedWork]
    before: QueuePlace | None


def list_unpaused_versions(connection: Connection) -> dict[str, Version]:
    """Return the versions in force of the workloads that are not paused."""
    is_paused = workload.c.paused_at.is_not(None)
    paused = set(connection.execute(select(workload.c.name).where(is_paused)).scalars())
    return {
        name: version for name, version in read_versions(connection).items() if name not in paused
    }


def queue_lengths(
    connection: Connection, workloads: Sequence[str], *, now: datetime
) -> dict[str, int]:
    """Count the items of each of these workloads that wait for real time, at most `MOST_COUNTED` for each."""
    given = {"workloads": list(workloads), "until": now + AFTER_ALL_LIVE_WORK / 2}
    rows = connection.execute(text(QUEUE_LENGTHS), given)
    return {row.workload: row.items for row in rows}


def queue_tail(
    connection: Connection, workloads: Sequence[str], *, before: QueuePlace = END, now: datetime
) -> QueueTail:
    """Return up to `CHUNK` work rows before a place in these workloads' real-time queues, the latest rank first."""
    given = {"workloads": list(workloads), "rank_at": before.rank_at, "id": before.id}
    given["until"] = now + AFTER_ALL_LIVE_WORK / 2
    rows = connection.execute(text(TAIL), given).all()
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


def shed(connection: Connection, leaving: Mapping[WorkId, Shed], *, now: datetime) -> int:
    """Move the work of `leaving` that is still free and ready to the batch lane; return how many rows were moved.

    An item that was shed or rescued before is not moved again.
    """
    free = routes.free_to_move(
        connection, dict.fromkeys(leaving), off=Lane.REALTIME, once=(Reason.SHED, Reason.RESCUE)
    )
    return routes.change(connection, [(row, leaving[row.id].route) for row in free], now=now)
