"""Decisions and the work they create."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, insert, literal, select, update

from lanes.routing.route import Received, Route, rank_at
from lanes.store import signals
from lanes.store.bulk import rows_of
from lanes.store.tables import item, item_position, route, work
from lanes.words import Purpose, WorkState
from lanes.workload.version import Version

TOLD = ("item_id", "version_id", "lane", "reason", "explanation", "realtime_usd", "batch_usd")  # of a route, by its decision
GIVEN = select(*(route.c[name] for name in TOLD), work.c.rank_at).subquery()
ROUTING = 7_016_002  # advisory lock: one transaction routes at a time, whoever holds the role of router


def may_route(connection: Connection) -> bool:
    """Whether this transaction is the only one that routes; it stays so until it ends."""
    return connection.execute(select(func.pg_try_advisory_xact_lock(ROUTING))).scalar_one()


def save(connection: Connection, decided: Sequence[tuple[Received, Version, Route]], *, now: datetime) -> None:
    """Each item has its position, its route and its work; drains are told."""
    if not decided:
        return
    connection.execute(_saved(decided, now))


def _saved(decided: Sequence[tuple[Received, Version, Route]], now: datetime) -> Select[None]:
    """Whatever an item has once it is routed, of all items, in the order in which they came; and drains are told."""
    given = rows_of(GIVEN, [_row(*each) for each in decided])
    ordered = select(given.c.item_id).order_by(given.c.item_id).cte("ordered")
    numbered = select(ordered.c.item_id, item_position.next_value().label("position")).cte("numbered")
    placed = (
        update(item)
        .where(item.c.id == numbered.c.item_id)
        .values(position=numbered.c.position)
        .returning(item.c.id, item.c.workload, item.c.revision)
        .cte("placed")
    )
    of_route = {each: given.c[each] for each in TOLD} | {"decided_at": literal(now)}
    routed = insert(route).from_select(list(of_route), select(*of_route.values()).order_by(given.c.item_id)).cte("routed")
    of_work: dict[str, ColumnElement[Any]] = {
        "item_id": placed.c.id, "workload": placed.c.workload, "version_id": given.c.version_id, "lane": given.c.lane,
        "purpose": literal(Purpose.ANSWER), "revision": placed.c.revision, "state": literal(WorkState.READY),
        "ready_at": literal(now), "rank_at": given.c.rank_at, "created_at": literal(now),
    }  # fmt: skip
    owed = select(*of_work.values()).join_from(placed, given, given.c.item_id == placed.c.id).order_by(placed.c.id)
    return select(signals.waking()).add_cte(routed, insert(work).from_select(list(of_work), owed).cte("owing"))


def _row(item: Received, version: Version, made: Route) -> dict[str, Any]:
    return {
        "item_id": item.id, "version_id": version.id, "lane": made.lane, "reason": made.reason,
        "explanation": made.explanation, "realtime_usd": made.realtime_usd, "batch_usd": made.batch_usd,
        "rank_at": rank_at(item.arrived, version),
    }  # fmt: skip
