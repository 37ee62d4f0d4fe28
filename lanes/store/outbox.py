"""Events out: written in their fact's transaction, published after it, and deleted once Prefect has received them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from lanes.store import signals
from lanes.store.statements import insert_rows, one_of
from lanes.store.tables import event_outbox
from lanes.store.tables import publisher as turns

EVENTS = "events"
PER_S = 200  # events per second; above 500 Prefect begins to lose events
LAST = 2  # the precedence of answers whose sender did not set `ack`
NEWEST = UUID(int=2**128 - 1)  # no event has a later id


@dataclass(frozen=True)
class EventOut:
    """An event to publish: its name in Prefect, its resource and its payload."""

    event: str
    resource: str
    payload: dict[str, Any]

    @classmethod
    def about_workload(cls, event: str, workload: str, payload: dict[str, Any]) -> "EventOut":
        """Return an event about a workload, or about one of its items, batches or rollouts."""
        return cls(event, f"lanes.workload.{workload}", payload)


@dataclass(frozen=True)
class Outgoing:
    """An event that waits for publication. Its id is stable, so an event published twice appears once in Prefect."""

    id: UUID
    event: str
    resource: str
    payload: dict[str, Any]
    occurred_at: datetime
    precedence: int


Behind = Mapping[int, UUID]  # by precedence, the id of the last event to skip
NONE: Behind = {}


@dataclass(frozen=True)
class OutboxTurn:
    """A publisher's turn: the events to publish now, or the time until the rate limit allows the next ones (`after`)."""

    events: list[Outgoing] = field(default_factory=list)
    after: timedelta = timedelta(0)


def add(connection: sa.Connection, events: Sequence[EventOut], *, now: datetime) -> None:
    """Add events and wake the publishers; the events are published after this transaction has committed."""
    if not events:
        return
    rows = [{**vars(each), "occurred_at": now} for each in events]
    connection.execute(insert_rows(event_outbox, rows))
    signals.wake(connection)


def take(
    connection: sa.Connection,
    most: int,
    *,
    behind: Behind = NONE,
    publisher: str,
    lease: timedelta,
    per_s: float = PER_S,
    now: datetime,
) -> OutboxTurn:
    """Return up to `most` of the first events after `behind`, if this publisher may publish now.

    No other publisher may then publish until the lease ends. A lease replaces a lock: a publisher that dies or hangs delays the
    others for the lease at most. Events about a lane precede events about an item; answers without `ack` come last. All
    publishers together take `per_s` events per second. Events are read only if some may be published now.
    """
    turn, longest = _turn(publisher, now), timedelta(seconds=most / per_s)
    refusal = _refuse(connection.execute(turn).first(), longest, now)
    if refusal is not None:
        return refusal
    waiting = connection.execute(_first(most) if not behind else _both(most, behind)).all()
    rows = sorted(waiting, key=lambda row: (row.precedence, row.id))[:most]
    if not rows:
        return OutboxTurn()
    locked = turn.with_for_update(skip_locked=True)  # another publisher may have taken it since
    refusal = _refuse(connection.execute(locked).first(), longest, now)
    if refusal is not None:
        return refusal
    until = now + timedelta(seconds=len(rows) / per_s)
    ours = sa.update(turns).where(turns.c.name == EVENTS)
    connection.execute(ours.values(holder=publisher, lease_until=now + lease, paced_until=until))
    return OutboxTurn([_read_outgoing(row) for row in rows])


def _refuse(turn: Any, longest: timedelta, now: datetime) -> OutboxTurn | None:
    """Return the result of a look without the turn, or during the pause after the last one; None if events may be taken."""
    if turn is None:
        return OutboxTurn()
    after = (turn.paced_until or now) - now
    # A longer pause than one turn's means that a clock was set back.
    return OutboxTurn(after=after) if timedelta(0) < after <= longest else None


@cache
def _first(most: int) -> sa.CompoundSelect[Any]:
    return _both(most, NONE)


def _both(most: int, behind: Behind) -> sa.CompoundSelect[Any]:
    """Select up to `most` urgent events and `most` answers; the first `most` events of all are among them."""
    parts = urgent(most, behind), answers(most, behind)
    return sa.union_all(*(each.subquery().select() for each in parts))


def urgent(most: int, behind: Behind = NONE) -> sa.Select[Any]:
    """Select the first `most` events that are not answers without `ack`."""
    of, id_ = event_outbox.c.precedence, event_outbox.c.id
    there = [sa.or_(of != each, id_ > last) for each, last in behind.items() if each < LAST]
    first = sa.select(event_outbox).where(sa.text(f"precedence < {LAST}"), *there)
    return first.order_by(of, id_).limit(most)


def answers(most: int, behind: Behind = NONE) -> sa.Select[Any]:
    """Select the oldest `most` answers without `ack`."""
    there = event_outbox.c.id > behind[LAST] if LAST in behind else sa.true()
    oldest = sa.select(event_outbox).where(event_outbox.c.precedence == LAST, there)
    return oldest.order_by(event_outbox.c.id).limit(most)


def drop(connection: sa.Connection, published: Sequence[Outgoing]) -> None:
    """Delete published events."""
    ids = [each.id for each in published]
    connection.execute(sa.delete(event_outbox).where(one_of(ids, event_outbox.c.id)))


def leave(connection: sa.Connection, *, publisher: str, now: datetime) -> None:
    """End this publisher's lease, so that another publisher may publish."""
    ours = turns.c.name == EVENTS, turns.c.holder == publisher
    connection.execute(sa.update(turns).where(*ours).values(lease_until=now))


def _turn(publisher: str, now: datetime) -> sa.Select[Any]:
    """Select the turn, unless another publisher's lease is in force."""
    until = turns.c.lease_until
    free = sa.or_(turns.c.holder == publisher, until.is_(None), until <= now)
    return sa.select(turns.c.paced_until).where(turns.c.name == EVENTS, free)


def _read_outgoing(row: Any) -> Outgoing:
    return Outgoing(row.id, row.event, row.resource, row.payload, row.occurred_at, row.precedence)
