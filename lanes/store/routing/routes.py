"""Routes and the work that they create: an item's first route, and later changes of lane.

One statement writes a rescue, a shed or a fallback. Each is a new route at current prices, and its work gets the rank that
routing assigns. Waiting work changes its lane in its own row, under a new claim number. If a batch owns the work, or if it has
failed, new work is created in addition.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import sqlalchemy as sa

from lanes.ids import BatchId, WorkId
from lanes.money.estimates import Estimate
from lanes.packing import history_chars
from lanes.routing.lane_rules import rank_at
from lanes.routing.route import ReceivedItem, Route
from lanes.standing.roles import Lock
from lanes.store import database, signals
from lanes.store.doors import unrouted
from lanes.store.doors.full_data import read_lengths
from lanes.store.money import sharing
from lanes.store.statements import document_of, split, split_records
from lanes.store.states import OPEN_ITEM, OPEN_WORK, UNCLAIMED
from lanes.store.tables import amendment, budget, item, item_position, route, work
from lanes.store.tables.base import Moment
from lanes.store.workload.workloads import versions
from lanes.words import Lane, Purpose, Reason, WorkState
from lanes.workload.version import Version

Routing = Callable[[Estimate], Route]
OF_ROUTE = ("lane", "binds", "reason", "explanation", "realtime_usd", "batch_usd", "probability")
TOLD = [each.name for each in route.c if each.name not in ("id", "decided_at", "binds")]
GIVEN = [sa.column(name, route.c[name].type) for name in TOLD] + [
    sa.column(name, work.c[name].type) for name in ("rank_at", "binds")
]


@dataclass(frozen=True)
class RoutingStart:
    """The state at the start of a routing transaction.

    It states whether no other transaction is routing (`alone`), whether amendments wait for items, whether a budget has a soft
    limit, and where the unrouted items of each workload begin.
    """

    alone: bool
    amended: bool
    limited: bool
    workloads: Mapping[str, unrouted.Begins]


def begin(
    connection: sa.Connection, wait: timedelta, *, since: unrouted.Since | None = None
) -> RoutingStart:
    """Start a routing transaction that waits for no lock longer than `wait`; only one transaction routes at a time.

    `unrouted.have_received` finds the items. The commit does not wait for the disk: after a crash within a second, its items
    are received and routed again. A transaction that acts on a route commits later in the log, and does wait.
    """
    row = connection.execute(
        _build_start(), {"wait": database.format_limit(wait), **unrouted.build_parameters(since)}
    ).one()
    starts: Any = zip(
        row.names or (), row.urgent or (), row.due_at or (), row.ids or (), strict=True
    )
    begins = {name: unrouted.Begins(*where) for name, *where in starts}
    return RoutingStart(row.alone, row.amended, row.limited, begins)


@cache
def _build_start() -> sa.Select[*tuple[Any, ...]]:
    there = unrouted.have_received().subquery("there")
    of = {
        "names": there.c.name,
        "urgent": there.c.urgent,
        "due_at": there.c.due_at,
        "ids": there.c.id,
    }
    arrays = [sa.func.array_agg(of_each).label(name) for name, of_each in of.items()]
    lists = sa.select(*arrays).subquery("lists")
    return sa.select(
        sa.func.set_config("lock_timeout", sa.bindparam("wait", type_=sa.Text), sa.true()),
        sa.func.set_config("synchronous_commit", "off", sa.true()),
        sa.func.pg_try_advisory_xact_lock(Lock.ROUTING.value).label("alone"),
        sa.select(amendment.c.id).where(amendment.c.outcome.is_(None)).exists().label("amended"),
        sa.select(budget.c.id).where(budget.c.soft_usd.is_not(None)).exists().label("limited"),
        *lists.c,
    )


def save(
    connection: sa.Connection,
    decided: Sequence[tuple[ReceivedItem, Version, Route]],
    *,
    now: datetime,
) -> None:
    """Save each item's position, route and work, and notify the drains."""
    if not decided:
        return
    given = split([_row(*each) for each in decided]) | {"now": now}
    connection.execute(_build_save(), given | signals.sender(connection))


@cache
def _build_save() -> sa.Select[None]:
    """Build the statement that routes all given items at :now, in the order of their ids, and notifies the drains."""
    given, now = split_records(GIVEN).cte("given"), sa.bindparam("now", type_=Moment)
    ordered = sa.select(given.c.item_id).order_by(given.c.item_id).cte("ordered")
    place = item_position.next_value().label("position")
    numbered = sa.select(ordered.c.item_id, place).cte("numbered")
    placed = (
        sa.update(item)
        .where(item.c.id == numbered.c.item_id)
        .values(position=numbered.c.position)
        .returning(
            item.c.id,
            item.c.workload,
            item.c.revision,
            item.c.due_at,
            item.c.urgent,
            item.c.consumer,
        )
        .cte("placed")
    )
    of_route = {each: given.c[each] for each in TOLD} | {"decided_at": now}
    in_order = sa.select(*of_route.values()).order_by(given.c.item_id)
    routed = sa.insert(route).from_select(list(of_route), in_order).cte("routed")
    of_work: dict[str, sa.ColumnElement[Any]] = {
        "item_id": placed.c.id,
        "workload": placed.c.workload,
        "version_id": given.c.version_id,
        "lane": given.c.lane,
        "purpose": sa.literal(Purpose.ANSWER),
        "revision": placed.c.revision,
        "state": sa.literal(WorkState.READY),
        "ready_at": now,
        "rank_at": given.c.rank_at,
        "due_at": placed.c.due_at,
        "binds": given.c.binds,
        "urgent": placed.c.urgent,
        "consumer": sa.func.coalesce(placed.c.consumer, ""),
        "waits_since": now,
    }
    owed = sa.select(*of_work.values()).join_from(placed, given, given.c.item_id == placed.c.id)
    owing = sa.insert(work).from_select(list(of_work), owed.order_by(placed.c.id)).cte("owing")
    return sa.select(signals.waking()).add_cte(routed, owing)


def _row(item: ReceivedItem, version: Version, decision: Route) -> dict[str, Any]:
    own: dict[str, Any] = {
        "item_id": item.id,
        "version_id": version.id,
        "rank_at": rank_at(item.arrived, version),
    }
    decided = ((name, getattr(decision, name)) for name in (*OF_ROUTE, "raised"))
    return own | {name: value for name, value in decided if value is not None}


FACTS = """
select w.id, w.item_id, w.version_id, w.state, w.rank_at, i.received_at, i.due_at, i.urgent,
       length(i.payload::text) as chars, last.realtime_usd, last.batch_usd
  from unnest(cast(:ids as bigint[]), cast(:batches as bigint[])) given (work_id, batch_id)
  join lanes.work w on w.id = given.work_id
  join lanes.item i on i.id = w.item_id
 cross join lateral (
   select r.realtime_usd, r.batch_usd from lanes.route r where r.item_id = w.item_id order by r.id desc limit 1) last
"""
# Locks the item before its work. After a route for a reason in `once`, an item stays on its lane.
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
# Moved work starts waiting anew on its new lane, so that it is not given up because of its wait on the old lane.
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
    connection: sa.Connection,
    batches: Mapping[WorkId, BatchId | None],
    *,
    off: Lane,
    once: Collection[Reason],
) -> list[Any]:
    """Lock and return the work that may still leave the lane `off`; `batches` names the batch that owned it in the look.

    Its item is free, has no answer yet, and no route for a reason in `once`. Work that is locked elsewhere is skipped.
    """
    ids, owners = list(batches), list(batches.values())
    given = {"ids": ids, "batches": owners, "lane": off, "once": [str(each) for each in once]}
    return list(connection.execute(sa.text(FREE_TO_MOVE), given).all())


def read_facts(connection: sa.Connection, ids: Sequence[WorkId]) -> list[Any]:
    """Return the same columns for work that this transaction has locked already."""
    given = {"ids": list(ids), "batches": [None] * len(ids)}
    return list(connection.execute(sa.text(FACTS), given).all())


def change(
    connection: sa.Connection, moves: Sequence[tuple[Any, Routing]], *, now: datetime
) -> int:
    """Route each item by its current costs and move its work accordingly; return how many items changed lanes.

    The last route's costs are used if a model no longer has a price, and the old rank if the version cannot be read.
    """
    if not moves:
        return 0
    known = versions(connection, {row.version_id for row, _ in moves})
    history = read_lengths(connection, {row.item_id: known.get(row.version_id) for row, _ in moves})
    estimates, rows = sharing.estimates(connection, now=now), list[dict[str, Any]]()
    for row, routing in moves:
        version = known.get(row.version_id)
        try:
            earlier = history_chars(history.get(row.item_id, ()))
            costs = estimates.of(known[row.version_id], row.chars, earlier)
        except LookupError:
            costs = Estimate(row.realtime_usd, row.batch_usd)
        decision = routing(costs)
        rank = row.rank_at if version is None else rank_at(row, version)
        own = {"work_id": row.id, "moves": row.state == WorkState.READY, "rank_at": rank}
        rows.append(own | {name: getattr(decision, name) for name in OF_ROUTE})
    connection.execute(sa.text(CHANGE), {"rows": document_of(rows), "now": now})
    return len(rows)
