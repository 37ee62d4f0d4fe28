"""Events out: written with the fact they tell of, published afterwards, deleted once Prefect took them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, delete, or_, select, true, update

from lanes.store import signals
from lanes.store.bulk import insert_rows, one_of
from lanes.store.tables import event_outbox
from lanes.store.tables import publisher as turns

EVENTS = "events"


@dataclass(frozen=True)
class EventOut:
    """An event to tell: its name in Prefect, the resource it is about, and what else it says."""

    event: str
    resource: str
    payload: dict[str, Any]

    @classmethod
    def of_workload(cls, event: str, workload: str, payload: dict[str, Any]) -> "EventOut":
        """About a workload, or an item, a batch or a rollout of it."""
        return cls(event, f"lanes.workload.{workload}", payload)


@dataclass(frozen=True)
class Outgoing:
    """An event that waits to be published. Its id is stable, so publishing it twice shows it once."""

    id: UUID
    event: str
    resource: str
    payload: dict[str, Any]
    occurred_at: datetime


def add(connection: Connection, events: Sequence[EventOut], *, now: datetime) -> None:
    """The events will be published, in their order, after this transaction has committed; whoever publishes is woken."""
    if not events:
        return
    rows = [{"event": each.event, "resource": each.resource, "payload": each.payload, "occurred_at": now} for each in events]
    connection.execute(insert_rows(event_outbox, rows))
    signals.wake(connection)


def take(
    connection: Connection,
    limit: int,
    *,
    behind: Outgoing | None = None,
    publisher: str,
    lease: timedelta,
    now: datetime,
) -> list[Outgoing]:
    """The oldest events, or the oldest behind one, if this publisher may publish now; until its lease ends no other may.

    One publishes at a time, so that events keep their order and none is posted by everybody. Nothing is locked once
    this transaction has ended: a publisher that dies, or hangs, holds the others up for its lease.
    """
    there = true() if behind is None else event_outbox.c.id > behind.id
    oldest = connection.execute(select(event_outbox).where(there).order_by(event_outbox.c.id).limit(limit)).all()
    if not oldest or not _has_turn(connection, publisher, until=now + lease, now=now):
        return []
    return [Outgoing(row.id, row.event, row.resource, row.payload, row.occurred_at) for row in oldest]


def drop(connection: Connection, published: Sequence[Outgoing]) -> None:
    """Published events no longer wait."""
    connection.execute(delete(event_outbox).where(one_of([each.id for each in published], event_outbox.c.id)))


def leave(connection: Connection, *, publisher: str, now: datetime) -> None:
    """Another may publish from now on."""
    ours = turns.c.name == EVENTS, turns.c.holder == publisher
    connection.execute(update(turns).where(*ours).values(lease_until=now))


def _has_turn(connection: Connection, publisher: str, *, until: datetime, now: datetime) -> bool:
    """Whether the lease is ours from now on. One that somebody is taking at this moment is theirs."""
    free = or_(turns.c.holder == publisher, turns.c.lease_until.is_(None), turns.c.lease_until <= now)
    row = select(turns.c.name).where(turns.c.name == EVENTS, free).with_for_update(skip_locked=True)
    taken = update(turns).where(turns.c.name.in_(row)).values(holder=publisher, lease_until=until)
    return connection.execute(taken.returning(turns.c.name)).first() is not None
