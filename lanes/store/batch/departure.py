"""What of a workload waits for the batch lane, and what else is open of it. Nothing is locked by looking."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, select

from lanes.batch.departure import Outstanding
from lanes.errors import UnknownWorkload
from lanes.store.literals import is_
from lanes.store.states import is_open_work
from lanes.store.tables import batch, item, work, workload
from lanes.store.work import claimable, ready_on
from lanes.words import BatchState, Lane, WorkState


def outstanding(connection: Connection, name: str, *, now: datetime) -> Outstanding:
    """The workload's open work, counted.

    Raises:
        UnknownWorkload: there is no workload of that name.
    """
    known = connection.execute(select(workload.c.paused_at).where(workload.c.name == name)).first()
    if known is None:
        raise UnknownWorkload(f'there is no workload "{name}"; correct the name, or publish it')
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
    unrouted = select(func.count()).where(
        item.c.workload == name, item.c.position.is_(None), item.c.canceled_at.is_(None)
    )
    return Outstanding(
        name,
        known.paused_at,
        **counts._asdict(),
        unrouted=connection.execute(unrouted).scalar_one(),
        held_batches=_batches(
            connection, is_(batch.c.state, BatchState.HELD), batch.c.workload == name
        ),
        in_the_way=_batches(connection, is_(batch.c.state, BatchState.INTENDED)),
    )


def _many(of: ColumnElement[bool]) -> Any:
    return func.count().filter(of)


def _batches(connection: Connection, *which: ColumnElement[bool]) -> tuple[int, ...]:
    return tuple(
        connection.execute(select(batch.c.id).where(*which).order_by(batch.c.id)).scalars()
    )
