"""What waits on a lane and could be asked: whether more drains are needed."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ARRAY, Connection, Text, all_, func, literal, select

from lanes.store import outbox
from lanes.store.money import budgets
from lanes.store.outbox import EventOut
from lanes.store.tables import work, workload
from lanes.store.work import claimable
from lanes.words import Lane, Purpose


@dataclass(frozen=True)
class Backlog:
    """What waits on a lane: how much, and since when the most urgent of it may be served."""

    ready: int
    ready_since: datetime | None


def backlog(connection: Connection, lane: Lane, *, now: datetime) -> Backlog:
    """Return how much work can be claimed and sent now, and since when.

    Work that waits for a budget is left out, because no drain can change that, and so is work that only measures.
    """
    paid = work.c.workload != all_(literal(budgets.unpaid(connection, now=now), ARRAY(Text)))
    row = connection.execute(
        select(func.count().label("ready"), func.min(work.c.ready_at).label("since"))
        .join(workload, workload.c.name == work.c.workload)
        .where(claimable(lane, now), workload.c.paused_at.is_(None))
        .where(paid, work.c.purpose != Purpose.SHADOW)
    ).one()
    return Backlog(row.ready, row.since)


WAITING = "lanes.work.waiting"
LANE = "lanes.lane.realtime"  # the resource that the event is about


def call_for_drain(connection: Connection, *, now: datetime, **waiting: int) -> None:
    """Call for a drain after the commit; the event says what is `waiting`, and how much of it."""
    outbox.add(connection, [EventOut(WAITING, LANE, waiting)], now=now)
