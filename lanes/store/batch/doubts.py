"""Batches of which something is not known: which one at the provider it is, or whether the provider has it still."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, select, update
from sqlalchemy.dialects.postgresql import insert

from lanes.batch.batch import AT_PROVIDER, UNCONFIRMED
from lanes.ids import BatchId
from lanes.store.batch import unclear
from lanes.store.batch.releases import close
from lanes.store.tables import batch, batch_doubt
from lanes.words import BatchState


def note(
    connection: Connection,
    batch_id: BatchId,
    *,
    otherwise: Mapping[str, Any] | None = None,
    **doubts: Any,
) -> Any:
    """Write what is doubtful of a batch, and return its row; `otherwise`: what changes where it has one."""
    wanted = insert(batch_doubt).values(batch_id=batch_id, **doubts)
    kept = wanted.on_conflict_do_update(index_elements=["batch_id"], set_=otherwise or doubts)
    return connection.execute(kept.returning(batch_doubt)).one()


def hold(connection: Connection, batch_id: BatchId, *, note: str, now: datetime) -> None:
    """Nobody knows which batch at the provider it is: its work stays with it, and a person is asked to decide."""
    held = connection.execute(
        update(batch)
        .where(batch.c.id == batch_id, batch.c.state.in_(UNCONFIRMED))
        .values(state=BatchState.HELD, note=note)
        .returning(batch.c.id)
    )
    if held.first() is not None:
        unclear.tell(connection, batch_id, note, now=now)


def unknown(
    connection: Connection, batch_id: BatchId, *, why: str, grace: timedelta, now: datetime
) -> None:
    """The provider has said since some time that it has no such batch; beyond the grace period a person is told.

    One that owns no work any more is closed then.
    """
    state = connection.execute(
        select(batch.c.state)
        .where(batch.c.id == batch_id, batch.c.state.in_([*AT_PROVIDER, BatchState.SUPERSEDED]))
        .with_for_update(key_share=True)
    ).scalar()
    if state is None:
        return
    first = func.coalesce(batch_doubt.c.unknown_since, now)
    row = note(connection, batch_id, unknown_since=now, otherwise={"unknown_since": first})
    if now < row.unknown_since + grace:
        return
    if state == BatchState.SUPERSEDED:
        close(connection, batch_id, note=why, now=now)
    else:
        unclear.tell(connection, batch_id, why, now=now)


def known(connection: Connection, batch_id: BatchId, *, now: datetime) -> None:
    """The provider has the batch after all."""
    note(connection, batch_id, unknown_since=None)
    unclear.over(connection, batch_id, f"The provider has batch {batch_id} after all.", now=now)
