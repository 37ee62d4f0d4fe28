"""Full data: what an entity's earlier items said, for the passes that are authoritative."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, select, true

from lanes.claims import Claimed
from lanes.ids import WorkId
from lanes.store.bulk import one_of
from lanes.store.tables import item, work

History = dict[WorkId, tuple[dict[str, Any], ...]]


def of_entity(
    connection: Connection, workload: str, entity: str | None, *, before: datetime, most: int
) -> tuple[dict[str, Any], ...]:
    """As `load`, for an item that was not sent yet and occurred then."""
    if most == 0 or entity is None:
        return ()
    rows = connection.execute(
        select(item.c.payload)
        .where(item.c.workload == workload, item.c.entity == entity, item.c.occurred_at < before, _tells(item))
        .order_by(item.c.occurred_at.desc(), item.c.id.desc())
        .limit(most)
    ).scalars()
    return tuple(reversed(list(rows)))


def load(connection: Connection, claimed: Sequence[Claimed], most: int) -> History:
    """The newest payloads of up to `most` earlier items of each item's entity, oldest first, by id of the work.

    Earlier is strictly before the item's `occurred_at`; canceled and emptied items tell nothing. Work without
    history is left out.
    """
    if most == 0 or not claimed:
        return {}
    this, other = item.alias("this"), item.alias("other")
    earlier = (
        select(other.c.payload, other.c.occurred_at, other.c.id)
        .where(
            other.c.workload == this.c.workload,
            other.c.entity == this.c.entity,
            other.c.occurred_at < this.c.occurred_at,
            _tells(other),
        )
        .order_by(other.c.occurred_at.desc(), other.c.id.desc())
        .limit(most)
        .lateral("earlier")
    )
    rows = connection.execute(
        select(work.c.id, earlier.c.payload)
        .join(this, this.c.id == work.c.item_id)
        .join(earlier, true())
        .where(one_of([each.claim.work_id for each in claimed], work.c.id), this.c.entity.is_not(None))
        .order_by(work.c.id, earlier.c.occurred_at, earlier.c.id)
    )
    found: dict[WorkId, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row.id, []).append(row.payload)
    return {id_: tuple(payloads) for id_, payloads in found.items()}


def _tells(of: Any) -> ColumnElement[bool]:
    """Whether the item still says something."""
    return and_(of.c.canceled_at.is_(None), of.c.emptied_at.is_(None))
