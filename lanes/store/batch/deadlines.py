"""Batch work that must leave outside the schedule: its due time presses, or an earlier run could not send it."""

from collections.abc import Mapping
from datetime import datetime

import sqlalchemy as sa

from lanes.routing.lane_rules import EXPECTED_CALL
from lanes.store.routing import turnarounds
from lanes.store.tables import item, work, workload
from lanes.store.tables.base import Moment
from lanes.store.work import claimable
from lanes.store.workload.workloads import in_force
from lanes.words import ANSWERING, Lane


def pressing(connection: sa.Connection, *, now: datetime) -> list[str]:
    """Return the workloads whose batch work must leave now rather than by schedule: by due time, or put off until now.

    Paused workloads are left out, and so are those that were put off until later.
    """
    is_due = sa.or_(workload.c.submit_at.is_(None), workload.c.submit_at <= now)
    names = sa.select(workload.c.name).where(workload.c.paused_at.is_(None), is_due)
    going = set(connection.execute(names).scalars())
    prospects = turnarounds.prospects(connection, now=now)
    versions = in_force(connection).items()
    until = {name: prospects.of(each).presses_until for name, each in versions if name in going}
    due = set(connection.execute(due_before(until, now)).scalars()) if until else set[str]()
    return sorted(due | _put_off(connection, now))


def due_before(until: Mapping[str, datetime], now: datetime) -> sa.Select[str]:
    """Select the workloads with unanswered batch work that is due from now on and before the moment given for it.

    Work is ranked by due time, so only the ranks in between are read.
    """
    names = sa.literal(list(until), sa.ARRAY(sa.Text))
    moments = sa.literal(list(until.values()), sa.ARRAY(Moment))
    columns = sa.column("workload", sa.Text), sa.column("until", Moment)
    asked = sa.func.unnest(names, moments).table_valued(*columns, name="asked").render_derived()
    due = (
        sa.select(work.c.id)
        .join(item, item.c.id == work.c.item_id)
        .where(
            work.c.workload == asked.c.workload,
            claimable(Lane.BATCH, now),
            work.c.purpose.in_(ANSWERING),
            work.c.rank_at > now - EXPECTED_CALL,
            work.c.rank_at < asked.c.until - EXPECTED_CALL,
            item.c.due_at > now,
            item.c.due_at < asked.c.until,
            item.c.answered_at.is_(None),
        )
        .order_by(work.c.rank_at)
        .limit(1)
        .lateral("due")
    )
    return sa.select(asked.c.workload).select_from(asked.join(due, sa.true()))


def put_off(connection: sa.Connection, until: Mapping[str, datetime], *, of: str | None) -> None:
    """Note after a run for one workload, or for all, when to ask for another; other workloads wait for their schedule."""
    ran = workload.c.submit_at.is_not(None) if of is None else workload.c.name == of
    over = sa.update(workload).where(ran, workload.c.name.not_in(list(until)))
    connection.execute(over.values(submit_at=None))
    for name, moment in until.items():
        change = sa.update(workload).where(workload.c.name == name)
        connection.execute(change.values(submit_at=moment))


def _put_off(connection: sa.Connection, now: datetime) -> set[str]:
    waits = sa.exists().where(work.c.workload == workload.c.name, claimable(Lane.BATCH, now))
    due = workload.c.submit_at <= now, workload.c.paused_at.is_(None)
    put_off = sa.select(workload.c.name).where(*due, waits)
    return set(connection.execute(put_off).scalars())
