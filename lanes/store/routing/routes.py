"""First routes and the work they create."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import sqlalchemy as sa

from lanes.routing.lane_rules import rank_at
from lanes.routing.route import ReceivedItem, Route
from lanes.store import locks, signals
from lanes.store.bulk import split, split_records
from lanes.store.doors import unrouted
from lanes.store.tables import amendment, budget, item, item_position, route, work
from lanes.store.tables.base import Moment
from lanes.words import Purpose, WorkState
from lanes.workload.version import Version

# Of a route, by its decision.
TOLD = [each.name for each in route.c if each.name not in ("id", "decided_at", "binds")]
GIVEN = [sa.column(name, route.c[name].type) for name in TOLD] + [
    sa.column(name, work.c[name].type) for name in ("rank_at", "binds")
]
ROUTING = 7_016_002  # advisory lock: one transaction routes at a time, even while the role of router changes hands


@dataclass(frozen=True)
class RoutingStart:
    """The facts with which a routing transaction begins.

    They say whether it is `alone`, whether amendments wait for items, whether a budget has a soft limit, and where the unrouted
    items of each workload begin.
    """

    alone: bool
    amended: bool
    limited: bool
    workloads: Mapping[str, unrouted.Begins]


def begin(
    connection: sa.Connection, wait: timedelta, *, since: unrouted.Since | None = None
) -> RoutingStart:
    """Start a routing transaction, which waits for no lock longer than `wait`; one transaction routes at a time.

    Items are looked for as `unrouted.have_received` does. The commit waits for no disk: after a crash within a second its items
    are received again, and routed again. A transaction that acts on a route commits behind it in the log, and does wait.
    """
    row = connection.execute(_begun(), {"wait": locks.setting(wait), **unrouted.seen(since)}).one()
    there: Any = zip(
        row.names or (), row.urgent or (), row.due_at or (), row.ids or (), strict=True
    )
    begins = {name: unrouted.Begins(*where) for name, *where in there}
    return RoutingStart(row.alone, row.amended, row.limited, begins)


@cache
def _begun() -> sa.Select[*tuple[Any, ...]]:
    there = unrouted.have_received().subquery("there")
    of = {
        "names": there.c.name,
        "urgent": there.c.urgent,
        "due_at": there.c.due_at,
        "ids": there.c.id,
    }
    arrays = [sa.func.array_agg(column).label(name) for name, column in of.items()]
    lists = sa.select(*arrays).subquery("lists")
    return sa.select(
        sa.func.set_config("lock_timeout", sa.bindparam("wait", type_=sa.Text), sa.true()),
        sa.func.set_config("synchronous_commit", "off", sa.true()),
        sa.func.pg_try_advisory_xact_lock(ROUTING).label("alone"),
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
    """Give each item its position, its route and its work, and notify drains."""
    if not decided:
        return
    given = split([_row(*each) for each in decided]) | {"now": now}
    connection.execute(_saved(), given | signals.sender(connection))


@cache
def _saved() -> sa.Select[None]:
    """Build the statement that routes all given items :now, in the order in which they came, and notifies drains."""
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


def _row(item: ReceivedItem, version: Version, made: Route) -> dict[str, Any]:
    row = {
        "item_id": item.id,
        "version_id": version.id,
        "lane": made.lane,
        "reason": made.reason,
        "explanation": made.explanation,
        "realtime_usd": made.realtime_usd,
        "batch_usd": made.batch_usd,
        "rank_at": rank_at(item.arrived, version),
    }
    if (bound_to := made.binds) is not None:
        row["binds"] = bound_to
    if made.probability is not None:
        row["probability"] = made.probability
    if made.raised is not None:
        row["raised"] = made.raised
    return row
