"""A batch and its work part: it was never created, its work goes another way, or nothing of it can be booked any more."""

from datetime import datetime

from sqlalchemy import Connection, func, update

from lanes.batch.batch import AT_PROVIDER, UNCONFIRMED
from lanes.ids import BatchId
from lanes.store.batch import unclear
from lanes.store.literals import is_
from lanes.store.tables import batch, work
from lanes.store.work import ready_again
from lanes.words import BatchState, WorkState


def release(connection: Connection, batch_id: BatchId, *, note: str, now: datetime) -> bool:
    """The batch was never created: its work is ready again and has spent nothing. False: the provider has it, it stays."""
    released = connection.execute(
        update(batch)
        .where(batch.c.id == batch_id, batch.c.state.in_(UNCONFIRMED))
        .values(state=BatchState.RELEASED, ended_at=now, note=note)
        .returning(batch.c.id)
    )
    if released.first() is None:
        return False
    _free(connection, batch_id, now=now)
    unclear.over(connection, batch_id, f"Batch {batch_id} is released: {note}.", now=now)
    return True


def supersede(connection: Connection, batch_id: BatchId, *, note: str, now: datetime) -> bool:
    """The batch that the provider has owns no work any more: what it had is ready again. `collect` cancels and books it.

    False: the provider has it no longer, or not yet; then the transaction is to be taken back. Work is locked before its
    batch, as where results are saved.
    """
    _free(connection, batch_id, now=now)
    superseded = connection.execute(
        update(batch)
        .where(batch.c.id == batch_id, batch.c.state.in_(AT_PROVIDER))
        .values(state=BatchState.SUPERSEDED, cancel_at=now, note=note)
        .returning(batch.c.id)
    )
    if superseded.first() is None:
        return False
    unclear.over(connection, batch_id, f"Batch {batch_id} owns no work any more: {note}.", now=now)
    return True


def close(connection: Connection, batch_id: BatchId, *, note: str, now: datetime) -> None:
    """The superseded batch is over: nothing of it can be booked any more."""
    connection.execute(
        update(batch)
        .where(batch.c.id == batch_id, batch.c.state == BatchState.SUPERSEDED)
        .values(
            state=BatchState.RELEASED,
            ended_at=func.coalesce(batch.c.ended_at, now),
            note=batch.c.note + "; " + note,
        )
    )


def _free(connection: Connection, batch_id: BatchId, *, now: datetime) -> None:
    connection.execute(
        update(work)
        .where(work.c.batch_id == batch_id, is_(work.c.state, WorkState.SUBMITTED))
        .values(state=ready_again(), ready_at=now, batch_id=None)
    )
