"""The current state of batches: open batches, their owners, and the work that waits for a batch."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, func, select, update

from lanes.batch.batch import OpenBatch
from lanes.batch.departure import OutstandingWork
from lanes.ids import BatchId
from lanes.store import outbox
from lanes.store.asking import read_as
from lanes.store.batch.ready_work import find_awaited_primer
from lanes.store.outbox import EventOut
from lanes.store.statements import is_, is_none_of
from lanes.store.states import is_open_work
from lanes.store.tables import batch, batch_doubt, item, work, workload
from lanes.store.work import claimable, ready_on
from lanes.store.workload import workloads
from lanes.words import FINISHED_BATCH, BatchState, Lane, WorkState


def open_batches(connection: Connection, *, account: str | None = None) -> list[OpenBatch]:
    """Return the batches that are not finished, oldest first."""
    wanted = is_none_of(batch.c.state, FINISHED_BATCH)
    if account is not None:
        wanted = and_(wanted, batch.c.account == account)
    return [open_batch(row) for row in connection.execute(select_doubts(wanted))]


def select_doubts(wanted: ColumnElement[bool]) -> Select[Any]:
    """Select the matching batches with the columns of their doubts, ordered by id."""
    doubtful = [column for column in batch_doubt.c if column is not batch_doubt.c.batch_id]
    joined = batch.outerjoin(batch_doubt, batch_doubt.c.batch_id == batch.c.id)
    return select(batch, *doubtful).select_from(joined).where(wanted).order_by(batch.c.id)


def change(
    connection: Connection, batch_id: BatchId, *only: ColumnElement[bool], **values: Any
) -> Any | None:
    """Change a batch if all conditions in `only` hold; return the changed row, or None."""
    this = update(batch).where(batch.c.id == batch_id, *only)
    return connection.execute(this.values(**values).returning(batch)).first()


def open_batch(row: Any) -> OpenBatch:
    """Return the batch of a row of `select_doubts`."""
    return read_as(OpenBatch, row)


def announce(
    connection: Connection,
    event: str,
    batch_id: BatchId,
    workload: str,
    payload: Mapping[str, int],
    *,
    now: datetime,
) -> None:
    """Emit an event about a batch when this transaction commits."""
    announcement = EventOut.about_workload(event, workload, {"batch_id": batch_id, **payload})
    outbox.add(connection, [announcement], now=now)


def find_unresolved(connection: Connection, account: str) -> OpenBatch | None:
    """Return the account's batch with an unconfirmed create, if any; until it is confirmed, no other may be created."""
    rows = open_batches(connection, account=account)
    return next((each for each in rows if each.state is BatchState.INTENDED), None)


def find_owned_ids(connection: Connection, candidates: Sequence[str]) -> set[str]:
    """Return the provider batch ids among the candidates that belong to a batch of ours."""
    id_ = batch.c.provider_batch_id
    rows = connection.execute(select(id_).where(id_.in_(list(candidates))))
    return {row.provider_batch_id for row in rows if row.provider_batch_id is not None}


def count_outstanding(connection: Connection, name: str, *, now: datetime) -> OutstandingWork:
    """Count the workload's open work by the state or reason in which it waits.

    Raises:
        UnknownWorkload: there is no workload of that name.
    """
    workloads.check_known(connection, name)
    paused = select(workload.c.paused_at).where(workload.c.name == name)
    resting = and_(ready_on(Lane.BATCH), work.c.ready_at > now)
    held = and_(is_(work.c.state, WorkState.SUBMITTED), is_(batch.c.state, BatchState.HELD))
    counts = connection.execute(
        select(
            _many(claimable(Lane.BATCH, now)).label("ready"),
            _many(resting).label("resting"),
            func.min(work.c.ready_at).filter(resting).label("rested_at"),
            _many(work.c.lane == Lane.REALTIME).label("realtime"),
            _many(and_(is_(work.c.state, WorkState.SUBMITTED), ~held)).label("at_provider"),
            _many(held).label("held"),
        )
        .select_from(work.outerjoin(batch, batch.c.id == work.c.batch_id))
        .where(work.c.workload == name, is_open_work())
    ).one()
    waits = item.c.position.is_(None), item.c.canceled_at.is_(None)
    unrouted = select(func.count()).where(item.c.workload == name, *waits)
    its_held = is_(batch.c.state, BatchState.HELD), batch.c.workload == name
    primer = find_awaited_primer(connection, name) or {}
    return OutstandingWork(
        name,
        connection.execute(paused).scalar_one(),
        **counts._asdict(),
        unrouted=connection.execute(unrouted).scalar_one(),
        held_batches=_batches(connection, *its_held),
        in_the_way=_batches(connection, is_(batch.c.state, BatchState.INTENDED)),
        primer=primer.get("id"),
        primer_until=primer.get("stated_back_at"),
    )


def _many(of: ColumnElement[bool]) -> Any:
    return func.count().filter(of)


def _batches(connection: Connection, *which: ColumnElement[bool]) -> tuple[int, ...]:
    wanted = select(batch.c.id).where(*which).order_by(batch.c.id)
    return tuple(connection.execute(wanted).scalars())
