"""Due items of the batch lane: those that a second look asks about, and those that real time takes over."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from lanes.ids import BatchId
from lanes.routing.second_look import DepartedBatch, DoubtfulItem, LateItem
from lanes.store.routing import lane_changes
from lanes.store.states import OPEN_ITEM, UNCLAIMED
from lanes.store.workload.workloads import versions
from lanes.words import Lane, Reason
from lanes.workload.version import Version

MOST = 20_000  # items of a workload in one look, those that are due first
PASSED_OVER = 100_000  # works read for them at most: as many as a batch can have
STRIDE = 1_000  # one item stands for this many of those behind
CHUNK = 500  # items of one transaction

WAITS = f"""w.due_at is not null and w.lane = 'batch' and w.purpose = 'answer' and w.state in {UNCLAIMED}
      and not w.rescued"""

# Counts the work, without looking at its items.
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


# What is due of each workload, by itself, so that none hides another; what is bound is asked for apart. In which batch it is,
# whatever that batch's state: one that is held, or intended, may be the provider's. What a batch still has of an item that was
# answered, withdrawn or amended meanwhile needs no answer.
def _of_each_workload(binds: str) -> str:
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


# The work behind the last that was read of a workload: the first of every `STRIDE`.
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
{_of_each_workload("is null")}
 order by w.due_at, w.id
"""

BOUND = f"""
select min(w.id) as id, w.version_id, w.due_at, count(*) as items, b.id as batch_id,
       b.intended_at as left_at, b.requests
{_of_each_workload("= 'batch'")}
 group by w.version_id, w.due_at, b.id
 order by w.due_at, 1
"""


def numbers(connection: Connection, *, until: datetime, now: datetime) -> dict[str, int]:
    """Count the free items of each workload that are due from now until then, at most `PASSED_OVER`."""
    rows = connection.execute(text(NUMBERS), {"now": now, "until": until})
    return {row.name: row.items for row in rows}


def due(connection: Connection, *, until: datetime, now: datetime) -> list[LateItem]:
    """Return free items of the batch lane that are due from now until then, in due order.

    These are at most `MOST` of each workload, and one of every `STRIDE` behind them. Rescued items are left out, and so are
    workloads that are paused or cannot be read.
    """
    found = [
        LateItem(row.id, of, row.due_at, _out(row), consumer=row.consumer)
        for row, of in _readable(connection, DUE, {"until": until, "now": now})
    ]
    read = Counter(each.version.workload for each in found)
    last = {each.version.workload: each for each in found if read[each.version.workload] >= MOST}
    if not last:
        return found
    behind = {
        "workloads": [*last],
        "due": [each.due_at for each in last.values()],
        "ids": [each.work_id for each in last.values()],
        "until": until,
    }
    return found + [
        LateItem(row.id, of, row.due_at, _out(row), items=row.items, consumer=row.consumer)
        for row, of in _readable(connection, BEHIND, behind)
    ]


def bound(connection: Connection, *, until: datetime, now: datetime) -> list[LateItem]:
    """Return the same of items bound to batch; one stands for all of its batch that are due at the same time."""
    return [
        LateItem(row.id, of, row.due_at, _out(row), Lane.BATCH, row.items)
        for row, of in _readable(connection, BOUND, {"until": until, "now": now})
    ]


def take(connection: Connection, late: Sequence[DoubtfulItem], *, now: datetime) -> int:
    """Let real time answer these items, beside the batch that owns them or instead of it; return how many.

    An item is rescued once. What has changed since it was looked at stays as it is.
    """
    found = {each.of.work_id: each for each in late}
    batches = {id_: None if of.of.batch is None else of.of.batch.id for id_, of in found.items()}
    free = lane_changes.free_to_move(connection, batches, off=Lane.BATCH, once=(Reason.RESCUE,))
    return lane_changes.change(connection, [(row, found[row.id].route) for row in free], now=now)


def _readable(
    connection: Connection, statement: str, at: dict[str, Any]
) -> list[tuple[Any, Version]]:
    """Return the rows of a statement, each with its version."""
    rows = connection.execute(text(statement), at).all()
    readable = versions(connection, {row.version_id for row in rows})
    return [(row, readable[row.version_id]) for row in rows if row.version_id in readable]


def _out(row: Any) -> DepartedBatch | None:
    if row.batch_id is None:
        return None
    return DepartedBatch(BatchId(row.batch_id), row.left_at, row.requests)
