"""Batches of which something is not known: which one at the provider it is, or whether the provider has it still."""

from datetime import datetime, timedelta

from sqlalchemy import Connection, func, update

from lanes.batch.batch import AT_PROVIDER, UNCONFIRMED
from lanes.ids import BatchId
from lanes.store.batch import unclear
from lanes.store.batch.releases import close
from lanes.store.tables import batch
from lanes.words import BatchState


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
    row = connection.execute(
        update(batch)
        .where(batch.c.id == batch_id, batch.c.state.in_([*AT_PROVIDER, BatchState.SUPERSEDED]))
        .values(unknown_since=func.coalesce(batch.c.unknown_since, now))
        .returning(batch.c.state, batch.c.unknown_since)
    ).first()
    if row is None or now < row.unknown_since + grace:
        return
    if row.state == BatchState.SUPERSEDED:
        close(connection, batch_id, note=why, now=now)
    else:
        unclear.tell(connection, batch_id, why, now=now)


def known(connection: Connection, batch_id: BatchId, *, now: datetime) -> None:
    """The provider has the batch after all."""
    connection.execute(update(batch).where(batch.c.id == batch_id).values(unknown_since=None))
    unclear.over(connection, batch_id, f"The provider has batch {batch_id} after all.", now=now)
