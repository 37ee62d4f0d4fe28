"""Events out: written with the fact they tell of, published afterwards, deleted once Prefect took them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, delete, insert, select

from lanes.store.bulk import one_of
from lanes.store.tables import event_outbox


@dataclass(frozen=True)
class Outgoing:
    """An event that waits to be published. Its id is stable, so publishing it twice shows it once."""

    id: UUID
    event: str
    resource: str
    payload: dict[str, Any]
    occurred_at: datetime


def add(connection: Connection, event: str, resource: str, payload: dict[str, Any], *, now: datetime) -> None:
    """The event will be published after this transaction committed."""
    connection.execute(insert(event_outbox).values(event=event, resource=resource, payload=payload, occurred_at=now))


def take(connection: Connection, limit: int) -> list[Outgoing]:
    """The oldest events, locked until this transaction ends; events that another publisher holds are passed over."""
    rows = connection.execute(
        select(event_outbox).order_by(event_outbox.c.id).limit(limit).with_for_update(skip_locked=True)
    )
    return [Outgoing(row.id, row.event, row.resource, row.payload, row.occurred_at) for row in rows]


def drop(connection: Connection, published: list[Outgoing]) -> None:
    """Published events no longer wait."""
    connection.execute(delete(event_outbox).where(one_of([each.id for each in published], event_outbox.c.id)))
