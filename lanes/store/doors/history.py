"""Full data: what an entity's earlier items said, for the passes that are authoritative, and how long that is.

Where a workload keeps its consumers apart (`pack_scope: consumer`), an item is told only what the same consumer sent.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from lanes.ids import ItemId, WorkId
from lanes.packing import ClaimedWork
from lanes.routing.route import ReceivedItem
from lanes.store.bulk import one_of
from lanes.store.payload import characters
from lanes.store.tables import item, work
from lanes.store.tables.base import Moment
from lanes.words import PackScope
from lanes.workload.version import Version

History = dict[WorkId, tuple[dict[str, Any], ...]]
Lengths = dict[ItemId, tuple[int, ...]]


def is_apart(scope: PackScope) -> bool:
    """Return whether an item is told only what its own consumer sent: items of two consumers never share a call either."""
    return scope is PackScope.CONSUMER


def of_entity(
    connection: sa.Connection,
    workload: str,
    entity: str | None,
    *,
    before: datetime,
    most: int,
    consumer: str | None = None,
    scope: PackScope = PackScope.WORKLOAD,
) -> tuple[dict[str, Any], ...]:
    """Return what `load` would find for an item that was not sent yet and occurred then."""
    if most == 0 or entity is None:
        return ()
    told = _earlier(
        sa.literal(workload),
        sa.literal(entity),
        sa.literal(before, Moment),
        most,
        sa.literal(consumer, sa.Text),
        sa.literal(is_apart(scope)),
    )
    rows = connection.execute(
        sa.select(told.c.payload).order_by(told.c.occurred_at, told.c.id)
    ).scalars()
    return tuple(rows)


def load(
    connection: sa.Connection,
    claimed: Sequence[ClaimedWork],
    most: int,
    *,
    scope: PackScope = PackScope.WORKLOAD,
) -> History:
    """Return the newest payloads of up to `most` earlier items of each item's entity, oldest first, by id of the work.

    Work without history is left out.
    """
    if most == 0 or not claimed:
        return {}
    this = item.alias("this")
    earlier = _earlier(
        this.c.workload,
        this.c.entity,
        this.c.occurred_at,
        most,
        this.c.consumer,
        sa.literal(is_apart(scope)),
    )
    rows = connection.execute(
        sa.select(work.c.id, earlier.c.payload)
        .join(this, this.c.id == work.c.item_id)
        .join(earlier, sa.true())
        .where(
            one_of([each.claim.work_id for each in claimed], work.c.id), this.c.entity.is_not(None)
        )
        .order_by(work.c.id, earlier.c.occurred_at, earlier.c.id)
    )
    found: dict[WorkId, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row.id, []).append(row.payload)
    return {id_: tuple(payloads) for id_, payloads in found.items()}


def lengths(
    connection: sa.Connection, most: Mapping[ItemId, int], *, apart: Collection[ItemId] = ()
) -> Lengths:
    """Return the characters of what `load` would find for each item, newest first; `most` says how many of each are read.

    Items without history are left out, and nothing is asked where none is read. Those in `apart` are told only what their
    consumer sent.
    """
    reading = {id_: number for id_, number in most.items() if number}
    if not reading:
        return {}
    asked = (
        sa.func.unnest(
            sa.cast(list(reading), sa.ARRAY(sa.BigInteger)),
            sa.cast(list(reading.values()), sa.ARRAY(sa.Integer)),
            sa.cast([id_ in apart for id_ in reading], sa.ARRAY(sa.Boolean)),
        )
        .table_valued("id", "most", sa.column("apart", sa.Boolean))
        .render_derived(name="asked")
    )
    this = item.alias("this")
    earlier = _earlier(
        this.c.workload,
        this.c.entity,
        this.c.occurred_at,
        asked.c.most,
        this.c.consumer,
        asked.c.apart,
    )
    rows = connection.execute(
        sa.select(asked.c.id, characters(earlier.c.payload).label("length"))
        .join(this, this.c.id == asked.c.id)
        .join(earlier, sa.true())
        .order_by(asked.c.id, earlier.c.occurred_at.desc(), earlier.c.id.desc())
    )
    found: dict[ItemId, list[int]] = {}
    for row in rows:
        found.setdefault(row.id, []).append(row.length)
    return {id_: tuple(each) for id_, each in found.items()}


def lengths_of(connection: sa.Connection, versions: Mapping[ItemId, Version | None]) -> Lengths:
    """Return `lengths` of these items as their versions read them; one that cannot be read any more reads none."""
    known = {id_: each.spec for id_, each in versions.items() if each is not None}
    apart = {id_ for id_, spec in known.items() if is_apart(spec.pack_scope)}
    return lengths(
        connection, {id_: spec.history_items for id_, spec in known.items()}, apart=apart
    )


def measured(
    connection: sa.Connection, waiting: Sequence[ReceivedItem], versions: Mapping[str, Version]
) -> list[ReceivedItem]:
    """Return the items with the lengths of the history that their workload's version reads: a batch costs more by it."""
    known = {
        each.id: versions[each.arrived.workload]
        for each in waiting
        if each.arrived.entity is not None
    }
    found = lengths_of(connection, known)
    return [
        replace(each, arrived=replace(each.arrived, earlier=found[each.id]))
        if each.id in found
        else each
        for each in waiting
    ]


def lengths_before(
    connection: sa.Connection, workload: str, asked: Sequence[tuple[str, datetime]], most: int
) -> list[list[tuple[datetime, int]]]:
    """Return when the earlier items of an entity occurred before a moment, and their characters, newest first.

    One list for each (entity, moment) that is asked for, in their order: items that were not sent yet.
    """
    if most == 0 or not asked:
        return [[] for _ in asked]
    entities, moments = ([each[place] for each in asked] for place in (0, 1))
    of = (
        sa.func.unnest(sa.cast(entities, sa.ARRAY(sa.Text)), sa.cast(moments, sa.ARRAY(Moment)))
        .table_valued("entity", "moment", with_ordinality="place")
        .render_derived(name="of")
    )
    earlier = _earlier(sa.literal(workload), of.c.entity, of.c.moment, most)
    rows = connection.execute(
        sa.select(of.c.place, earlier.c.occurred_at, characters(earlier.c.payload).label("length"))
        .join(earlier, sa.true())
        .order_by(of.c.place, earlier.c.occurred_at.desc(), earlier.c.id.desc())
    )
    found: list[list[tuple[datetime, int]]] = [[] for _ in asked]
    for row in rows:
        found[row.place - 1].append((row.occurred_at, row.length))
    return found


def _earlier(
    workload: sa.ColumnElement[str],
    entity: sa.ColumnElement[Any],
    moment: sa.ColumnElement[datetime],
    most: int | sa.ColumnElement[int],
    consumer: sa.ColumnElement[Any] | None = None,
    apart: sa.ColumnElement[bool] | None = None,
) -> sa.FromClause:
    """Select the newest `most` items of an entity that occurred strictly before a moment.

    Canceled and emptied items tell nothing; where `apart` is true, nor do those of another consumer.
    """
    other = item.alias("other")
    may_tell = (
        sa.true()
        if apart is None
        else sa.or_(sa.not_(apart), other.c.consumer.is_not_distinct_from(consumer))
    )
    return (
        sa.select(other.c.payload, other.c.occurred_at, other.c.id)
        .where(
            other.c.workload == workload,
            other.c.entity == entity,
            other.c.occurred_at < moment,
            sa.and_(other.c.canceled_at.is_(None), other.c.emptied_at.is_(None)),
            may_tell,
        )
        .order_by(other.c.occurred_at.desc(), other.c.id.desc())
        .limit(most)
        .lateral("earlier")
    )
