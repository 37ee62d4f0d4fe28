"""Decisions and the work they create."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select

from lanes.routing.route import Route, rank_at
from lanes.store import signals
from lanes.store.bulk import insert_rows
from lanes.store.doors.items import Received, position
from lanes.store.tables import route, work
from lanes.words import Purpose, WorkState
from lanes.workload.version import Version

ROUTING = 7_016_002  # advisory lock: one transaction routes at a time, whoever holds the role of router


def may_route(connection: Connection) -> bool:
    """Whether this transaction is the only one that routes; it stays so until it ends."""
    return connection.execute(select(func.pg_try_advisory_xact_lock(ROUTING))).scalar_one()


def save(connection: Connection, decided: Sequence[tuple[Received, Version, Route]], *, now: datetime) -> None:
    """Each item has its position, its route and its work; drains are told."""
    if not decided:
        return
    position(connection, [item.id for item, _, _ in decided])
    connection.execute(insert_rows(route, [_route(item, version, made, now) for item, version, made in decided]))
    connection.execute(insert_rows(work, [_work(item, version, made, now) for item, version, made in decided]))
    signals.wake(connection)


def _route(item: Received, version: Version, made: Route, now: datetime) -> dict[str, Any]:
    return {
        "item_id": item.id, "version_id": version.id, "lane": made.lane, "reason": made.reason,
        "explanation": made.explanation, "realtime_usd": made.realtime_usd, "batch_usd": made.batch_usd,
        "decided_at": now,
    }  # fmt: skip


def _work(item: Received, version: Version, made: Route, now: datetime) -> dict[str, Any]:
    return {
        "item_id": item.id, "workload": version.workload, "version_id": version.id, "lane": made.lane,
        "purpose": Purpose.ANSWER, "revision": item.revision, "state": WorkState.READY, "ready_at": now,
        "rank_at": rank_at(item.arrived, version), "created_at": now,
    }  # fmt: skip
