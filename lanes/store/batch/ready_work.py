"""Batch work that is ready: its kinds, and the most urgent of one kind, locked for a batch."""

from collections.abc import Generator
from contextlib import closing
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, and_, select

from lanes.batch.batch import BatchKind
from lanes.packing import ClaimedWork
from lanes.store.payload import size_of, streamed
from lanes.store.tables import item, work, workload
from lanes.store.work import OF_ITEM, OF_WORK, claimable, claimed
from lanes.words import Lane

MOST_BYTES = 128 * 1024**2  # payloads held at once for one batch


def waiting_kinds(connection: Connection, name: str | None, *, now: datetime) -> list[BatchKind]:
    """Return the (workload, version) pairs that have batch work to send, of one workload or of all; paused ones wait."""
    wanted = and_(claimable(Lane.BATCH, now), workload.c.paused_at.is_(None))
    if name is not None:
        wanted = and_(wanted, work.c.workload == name)
    rows = connection.execute(
        select(work.c.workload, work.c.version_id)
        .join(workload, workload.c.name == work.c.workload)
        .where(wanted)
        .distinct()
        .order_by(work.c.workload, work.c.version_id)
    )
    return [BatchKind(row.workload, row.version_id) for row in rows]


def lock_for_batch(
    connection: Connection,
    kind: BatchKind,
    *,
    limit: int,
    most_bytes: int = MOST_BYTES,
    now: datetime,
) -> list[ClaimedWork]:
    """Lock the most urgent batch work of a kind until this transaction ends.

    It stops at `limit` works, or once their payloads have `most_bytes` as JSON; work that others hold is passed over.
    """
    return list(locked_for_batch(connection, kind, limit=limit, most_bytes=most_bytes, now=now))


def locked_for_batch(
    connection: Connection,
    kind: BatchKind,
    *,
    limit: int,
    most_bytes: int = MOST_BYTES,
    now: datetime,
) -> Generator[ClaimedWork]:
    """Yield the same work as it is read; close the generator before its end where not all is needed."""
    query = for_batch(kind, limit, now=now)
    with closing(streamed(connection, query, most_bytes=most_bytes)) as rows:
        yield from map(claimed, rows)


def for_batch(kind: BatchKind, limit: int, *, now: datetime) -> Select[*tuple[Any, ...]]:
    """Select the most urgent batch work of a kind with its payload, locked; work that others hold is passed over."""
    return (
        select(
            work.c.id,
            (work.c.claim_no + 1).label("claim_no"),
            *(work.c[name] for name in OF_WORK),
            *(item.c[name] for name in OF_ITEM),
            size_of(item.c.payload),
        )
        .join(item, item.c.id == work.c.item_id)
        .where(claimable(Lane.BATCH, now), work.c.workload == kind.workload)
        .where(work.c.version_id == kind.version_id)
        .order_by(work.c.rank_at, work.c.id)
        .limit(limit)
        .with_for_update(of=work, key_share=True, skip_locked=True)
    )
