"""Changes of lane after an item's first route: a rescue, a shed and a fallback are written by the same statement.

Each change is a new route at today's prices, and its work has the rank that routing gives it. Work that waits changes
its lane in its own row, under a new claim number. Beside work that a batch owns, or that has failed, new work is owed.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from lanes.ids import BatchId, WorkId
from lanes.money.estimates import Estimate
from lanes.packing import history_chars
from lanes.routing.lane_rules import rank_at
from lanes.routing.route import Route
from lanes.store.bulk import document_of
from lanes.store.doors.full_data import lengths_of
from lanes.store.money import sharing
from lanes.store.states import OPEN_ITEM, OPEN_WORK, UNCLAIMED
from lanes.store.workload.workloads import versions
from lanes.words import Lane, Reason, WorkState

Routing = Callable[[Estimate], Route]
OF_ROUTE = ("lane", "binds", "reason", "explanation", "realtime_usd", "batch_usd", "probability")

FACTS = """
select w.id, w.item_id, w.version_id, w.state, w.rank_at, i.received_at, i.due_at, i.urgent,
       length(i.payload::text) as chars, last.realtime_usd, last.batch_usd
  from unnest(cast(:ids as bigint[]), cast(:batches as bigint[])) given (work_id, batch_id)
  join lanes.work w on w.id = given.work_id
  join lanes.item i on i.id = w.item_id
 cross join lateral (
   select r.realtime_usd, r.batch_usd from lanes.route r where r.item_id = w.item_id order by r.id desc limit 1) last
"""
# Locks the item before its work. `once` are the reasons after which an item stays where its route led it.
FREE_TO_MOVE = f"""{FACTS}
 where w.lane = :lane and w.purpose = 'answer' and w.generation = 0 and w.state in {UNCLAIMED}
   and w.binds is null and not w.rescued and w.batch_id is not distinct from given.batch_id
   and w.revision = i.revision and {OPEN_ITEM}
   and exists (select from lanes.workload f where f.name = w.workload and f.paused_at is null)
   and not exists (select from lanes.route r where r.item_id = w.item_id and r.reason = any(cast(:once as text[])))
   and not exists (select from lanes.work o
                    where o.item_id = w.item_id and o.lane <> w.lane and o.purpose = 'answer' and o.generation = 0
                      and o.state in {OPEN_WORK})
 order by w.item_id, w.id
   for no key update of i, w skip locked
"""
# Work that moves waits on its new lane from now on, so it is not given up for having waited long on the old one.
CHANGE = """
with given as (
  select * from json_to_recordset(cast(:rows as json)) g (
    work_id bigint, moves boolean, lane text, binds text, rank_at timestamptz, reason text, explanation text,
    realtime_usd numeric, batch_usd numeric, probability float8)),
moved as (
  update lanes.work w
     set lane = g.lane, binds = g.binds, rank_at = g.rank_at, rescued = w.rescued or g.reason = 'rescue',
         claim_no = w.claim_no + 1, batch_id = null, bound_usd = null, waits_since = :now,
         ready_at = case when g.reason = 'rescue' or w.bound_usd is not null then :now
                         else greatest(w.ready_at, :now) end
    from given g where w.id = g.work_id and g.moves),
marked as (
  update lanes.work w set rescued = true from given g
   where w.id = g.work_id and not g.moves and g.reason = 'rescue'),
owed as (
  insert into lanes.work (item_id, workload, version_id, lane, purpose, revision, generation, state, ready_at, rank_at, due_at,
                          binds, rescued, consumer, waits_since)
  select w.item_id, w.workload, w.version_id, g.lane, 'answer', w.revision, w.generation, 'ready', :now, g.rank_at, w.due_at,
         g.binds, g.reason = 'rescue', w.consumer, :now
    from given g join lanes.work w on w.id = g.work_id where not g.moves order by w.item_id
  on conflict do nothing),
routed as (
  insert into lanes.route (item_id, version_id, lane, reason, explanation, realtime_usd, batch_usd, decided_at, probability)
  select w.item_id, w.version_id, g.lane, g.reason, g.explanation, g.realtime_usd, g.batch_usd, :now, g.probability
    from given g join lanes.work w on w.id = g.work_id order by w.item_id)
select case when bool_or(g.lane = 'realtime') then pg_notify('lanes', '') end from given g
"""


def free_to_move(
    connection: Connection,
    batches: Mapping[WorkId, BatchId | None],
    *,
    off: Lane,
    once: Collection[Reason],
) -> list[Any]:
    """Lock and return the work that may still leave the lane `off`; `batches` is what owned it when it was looked at.

    Its item is free, has no answer yet, and no route for a reason of `once`. Work that others hold is passed over.
    """
    ids, owners = list(batches), list(batches.values())
    given = {"ids": ids, "batches": owners, "lane": off, "once": [str(each) for each in once]}
    return list(connection.execute(text(FREE_TO_MOVE), given).all())


def of_work(connection: Connection, ids: Sequence[WorkId]) -> list[Any]:
    """Return the same facts of work that this transaction has locked already."""
    given = {"ids": list(ids), "batches": [None] * len(ids)}
    return list(connection.execute(text(FACTS), given).all())


def change(connection: Connection, moves: Sequence[tuple[Any, Routing]], *, now: datetime) -> int:
    """Route each item by what it costs today, and let its work follow; return how many changed lanes.

    The last route's prices stand in where a model has no price any more, and the old rank where the version cannot
    be read.
    """
    if not moves:
        return 0
    known = versions(connection, {row.version_id for row, _ in moves})
    history = lengths_of(connection, {row.item_id: known.get(row.version_id) for row, _ in moves})
    estimates, rows = sharing.estimates(connection, now=now), list[dict[str, Any]]()
    for row, routing in moves:
        version = known.get(row.version_id)
        try:
            earlier = history_chars(history.get(row.item_id, ()))
            costs = estimates.of(known[row.version_id], row.chars, earlier)
        except LookupError:
            costs = Estimate(row.realtime_usd, row.batch_usd)
        made = routing(costs)
        rank = row.rank_at if version is None else rank_at(row, version)
        own = {"work_id": row.id, "moves": row.state == WorkState.READY, "rank_at": rank}
        rows.append(own | {name: getattr(made, name) for name in OF_ROUTE})
    connection.execute(text(CHANGE), {"rows": document_of(rows), "now": now})
    return len(rows)
