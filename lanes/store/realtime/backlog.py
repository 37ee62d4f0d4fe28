"""What waits on a lane and could be asked: whether more drains are needed."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, exists, func, literal, select

from lanes.store.tables import budget, work, workload
from lanes.store.work import claimable
from lanes.words import Lane, Purpose


@dataclass(frozen=True)
class Backlog:
    """What waits on a lane: how much, and since when the most urgent of it may be served."""

    ready: int
    ready_since: datetime | None


def _is_paid(now: datetime) -> ColumnElement[bool]:
    """No budget of all of the workload has refused what was asked of it in its current period."""
    began_at = func.date_trunc(budget.c.period, literal(now), budget.c.zone)
    return ~exists().where(
        budget.c.workload == work.c.workload, budget.c.consumer.is_(None), budget.c.refused_at >= began_at
    )  # fmt: skip


def backlog(connection: Connection, lane: Lane, *, now: datetime) -> Backlog:
    """What could be claimed now, and be asked: no drain changes anything for what waits for money, and none is started for what
    only measures."""
    row = connection.execute(
        select(func.count().label("ready"), func.min(work.c.ready_at).label("since"))
        .join(workload, workload.c.name == work.c.workload)
        .where(claimable(lane, now), workload.c.paused_at.is_(None), _is_paid(now), work.c.purpose != Purpose.SHADOW)
    ).one()
    return Backlog(row.ready, row.since)
