"""Stored items, newest first, with the facts that routing had, so that they can be routed again on trial; takes no locks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Select, func, select, text

from lanes.ids import ItemId
from lanes.routing.route import ArrivedItem
from lanes.store.asking import read_as
from lanes.store.doors.full_data import lengths
from lanes.store.statements import characters
from lanes.store.tables import item
from lanes.workload.context import Context

# Items of all workloads that one statement reads, in the order of their ids, by an index.
STEP = 500
PATIENCE_S = 30  # the statement timeout
NOTHING = Context()
OF_ITEM = ("key", "received_at", "occurred_at", "consumer", "entity", "urgent", "pin", "due_at")


@dataclass(frozen=True)
class Seen:
    """Items of a workload; `unread` counts others that were forgotten or emptied."""

    items: list[ArrivedItem]
    unread: int


def stream_received(
    pool: Engine,
    workload: str,
    *,
    since: datetime,
    most: int,
    read: bool,
    context: Context = NOTHING,
) -> Iterator[Seen]:
    """Yield up to `most` items received at or after `since`, in steps, each in a short transaction of its own.

    Without `read`, payloads are measured but not loaded. The `context` that a batch would read for each item is measured
    too.
    """
    before, remaining = ItemId(2**62), most
    while remaining > 0:
        with pool.begin() as connection:
            connection.execute(text("set transaction read only"))
            connection.execute(select(func.set_config("statement_timeout", f"{PATIENCE_S}s", True)))
            part = connection.execute(step(before)).one()
            if part.first is None or part.last < since:
                return
            seen = _of(connection, workload, since, part.first, before, read, context)
        remaining -= len(seen.items)
        before = part.first
        yield Seen(seen.items[: len(seen.items) + min(remaining, 0)], seen.unread)


def step(before: ItemId) -> Select[*tuple[Any, ...]]:
    """Return a query for the first id of the next step and the time when its newest item was received."""
    earlier = select(item.c.id, item.c.received_at).where(item.c.id < before)
    ids = earlier.order_by(item.c.id.desc()).limit(STEP).subquery()
    return select(func.min(ids.c.id).label("first"), func.max(ids.c.received_at).label("last"))


def _of(
    connection: Connection,
    workload: str,
    since: datetime,
    first: ItemId,
    before: ItemId,
    read: bool,
    context: Context,
) -> Seen:
    payload, gone_at = item.c.payload, func.coalesce(item.c.forgotten_at, item.c.emptied_at)
    rows = connection.execute(
        select(item.c.id, *(item.c[name] for name in OF_ITEM), characters(payload).label("length"))
        .add_columns(gone_at.is_not(None).label("is_gone"), *([payload] if read else []))
        .where(item.c.id >= first, item.c.id < before)
        .where(item.c.workload == workload, item.c.received_at >= since)
        .order_by(item.c.id.desc())
    ).all()
    here = [row for row in rows if not row.is_gone]
    history_chars = lengths(connection, [row.id for row in here], context)
    items = [_read_item(workload, row, read, history_chars.get(row.id, ())) for row in here]
    return Seen(items, len(rows) - len(here))


def _read_item(workload: str, row: Any, read: bool, earlier: Sequence[int]) -> ArrivedItem:
    payload = row.payload if read else {}
    return read_as(ArrivedItem, row, workload=workload, payload=payload, earlier=earlier)
