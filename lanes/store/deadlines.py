"""Batch work that must leave before the off-peak window: its due time presses, or an earlier run could not send it."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection, func, select, update

from lanes.store.tables import item, work, workload
from lanes.store.work import claimable
from lanes.store.workloads import in_force
from lanes.window import Window, expected_turnaround
from lanes.words import Lane
from lanes.workload import Version


def pressing(connection: Connection, *, now: datetime) -> list[str]:
    """The workloads whose batch work must be submitted now rather than off-peak: by due time, or put off until now."""
    versions = in_force(connection)
    rows = connection.execute(
        select(work.c.workload, func.min(item.c.due_at).label("due_at"))
        .join(item, item.c.id == work.c.item_id)
        .where(claimable(Lane.BATCH, now), item.c.due_at.is_not(None), item.c.settled_at.is_(None))
        .group_by(work.c.workload)
    )
    due = {
        row.workload
        for row in rows
        if row.workload in versions and _would_miss(versions[row.workload], row.due_at, now)
    }
    return sorted(due | _put_off(connection, now))


def put_off(connection: Connection, until: Mapping[str, datetime], *, of: str | None) -> None:
    """After a run for one workload, or for all: another is asked for these from then on, and for no other."""
    ran = workload.c.submit_at.is_not(None) if of is None else workload.c.name == of
    connection.execute(update(workload).where(ran, workload.c.name.not_in(list(until))).values(submit_at=None))
    for name, moment in until.items():
        connection.execute(update(workload).where(workload.c.name == name).values(submit_at=moment))


def _put_off(connection: Connection, now: datetime) -> set[str]:
    waits = select(work.c.id).where(work.c.workload == workload.c.name, claimable(Lane.BATCH, now)).exists()
    put_off = select(workload.c.name).where(workload.c.submit_at <= now, workload.c.paused_at.is_(None), waits)
    return set(connection.execute(put_off).scalars())


def _would_miss(version: Version, due_at: datetime, now: datetime) -> bool:
    opens = Window.of(version.spec).next_open(now)
    return opens > now and now < due_at < opens + expected_turnaround(version.spec)
