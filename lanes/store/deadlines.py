"""Batch work whose due time would pass if it waited for the off-peak window."""

from datetime import datetime

from sqlalchemy import Connection, func, select

from lanes.store.tables import item, work
from lanes.store.work import claimable
from lanes.store.workloads import in_force
from lanes.window import Window, expected_turnaround
from lanes.words import Lane
from lanes.workload import Version


def pressing(connection: Connection, *, now: datetime) -> list[str]:
    """The workloads whose earliest due batch work must be submitted now rather than off-peak."""
    versions = in_force(connection)
    rows = connection.execute(
        select(work.c.workload, func.min(item.c.due_at).label("due_at"))
        .join(item, item.c.id == work.c.item_id)
        .where(claimable(Lane.BATCH, now), item.c.due_at.is_not(None), item.c.settled_at.is_(None))
        .group_by(work.c.workload)
    )
    return [
        row.workload
        for row in rows
        if row.workload in versions and _would_miss(versions[row.workload], row.due_at, now)
    ]


def _would_miss(version: Version, due_at: datetime, now: datetime) -> bool:
    opens = Window.of(version.spec).next_open(now)
    return opens > now and now < due_at < opens + expected_turnaround(version.spec)
