"""Items: admission through the database's own door, refusals, labels, and what waits for the router."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, column, exists, func, insert, literal, select, update
from sqlalchemy.dialects.postgresql import JSONB

from lanes.item import Submission
from lanes.routing import Arrived
from lanes.storable import storable
from lanes.store.bulk import one_of
from lanes.store.tables import event_outbox, item, item_position, rejected
from lanes.words import Lane

CONTENT_LIMIT = 65_536  # characters of a refused input that are kept


@dataclass(frozen=True)
class Admission:
    """What became of one input: accepted, duplicate, or the reason of its refusal. `key` is the one it goes by."""

    outcome: str
    detail: str | None
    key: str | None

    @property
    def admitted(self) -> bool:
        """Whether the item exists now."""
        return self.outcome in ("accepted", "duplicate")


@dataclass(frozen=True)
class Refusal:
    """An input that never became well-formed."""

    workload: str | None
    place: str
    reason: str
    detail: str
    content: str


def admit(connection: Connection, inputs: Sequence[Submission], *, door: str, now: datetime) -> list[Admission]:
    """What became of each input, in order; refused ones are in `rejected_log`."""
    rows = json.dumps([each.as_row() for each in inputs])
    verdicts = func.lanes.admit(literal(rows).cast(JSONB), door, now).table_valued(
        column("place"), column("outcome"), column("detail"), column("key")
    )
    told = connection.execute(
        select(verdicts.c.outcome, verdicts.c.detail, verdicts.c.key).order_by(verdicts.c.place)
    )
    return [Admission(row.outcome, row.detail, row.key) for row in told]


def refuse(connection: Connection, refusals: Sequence[Refusal], *, door: str, now: datetime) -> None:
    """Inputs that could not be read are kept, and their senders told, once per (door, place)."""
    known = set(
        connection.execute(
            select(rejected.c.place).where(rejected.c.source == door, rejected.c.place.in_([r.place for r in refusals]))
        ).scalars()
    )
    new = [refusal for refusal in refusals if refusal.place not in known]
    if not new:
        return
    connection.execute(
        insert(rejected),
        [
            {
                "workload": r.workload, "source": door, "place": r.place, "reason": r.reason, "detail": storable(r.detail),
                "content": storable(r.content[:CONTENT_LIMIT]), "rejected_at": now,
            }
            for r in new
        ],
    )  # fmt: skip
    connection.execute(
        insert(event_outbox),
        [
            {
                "event": "lanes.item.rejected",
                "resource": f"lanes.workload.{r.workload or 'unknown'}",
                "payload": {"outcome": r.reason, "detail": storable(r.detail), "source": door, "place": r.place},
                "occurred_at": now,
            }
            for r in new
        ],
    )


@dataclass(frozen=True)
class Received:
    """An item that waits for its first route."""

    id: int
    revision: int
    arrived: Arrived


def any_received(connection: Connection) -> bool:
    """Whether some item waits for its first route. Nothing is locked."""
    waiting = exists().where(item.c.position.is_(None), item.c.canceled_at.is_(None))
    return connection.execute(select(waiting)).scalar_one()


def received(connection: Connection, limit: int) -> list[Received]:
    """The items no router has seen, in the order of their admission; nobody cancels them until this transaction ends."""
    rows = connection.execute(
        select(item)
        .where(item.c.position.is_(None), item.c.canceled_at.is_(None))
        .order_by(item.c.id)
        .limit(limit)
        .with_for_update()
    )
    return [Received(row.id, row.revision, arrived(row)) for row in rows]


def arrived(row: Any) -> Arrived:
    """What routing knows of a row of `item`."""
    return Arrived(
        workload=row.workload,
        key=row.key,
        payload=row.payload,
        received_at=row.received_at,
        occurred_at=row.occurred_at,
        consumer=row.consumer,
        entity=row.entity,
        urgent=row.urgent,
        pin=Lane(row.pin) if row.pin else None,
        due_at=row.due_at,
    )


def position(connection: Connection, ids: Sequence[int]) -> None:
    """The items have their place in the stream, in the order of their ids."""
    ordered = select(item.c.id).where(one_of(ids, item.c.id)).order_by(item.c.id).cte("ordered")
    numbered = select(ordered.c.id, item_position.next_value().label("position")).cte("numbered")
    connection.execute(update(item).where(item.c.id == numbered.c.id).values(position=numbered.c.position))


def label(connection: Connection, workload: str, expected: Mapping[str, dict[str, Any]], *, source: str) -> None:
    """What is right is known for these items, by key; keys without an item are passed over."""
    if not expected:
        return
    right = func.jsonb_each(literal(json.dumps(expected)).cast(JSONB)).table_valued(column("key"), column("value"))
    connection.execute(select(func.lanes.label(workload, right.c.key, right.c.value, source))).all()


def cancel(connection: Connection, workload: str, key: str) -> str:
    """`canceled`, or why not: `unknown_item`, `settled`."""
    return connection.execute(select(func.lanes.cancel(workload, key))).scalar_one()
