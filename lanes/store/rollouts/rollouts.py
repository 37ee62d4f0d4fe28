"""Rollouts as they stand: which are open, who leads them, and what happened to them. `rollout_moves` moves them."""

from uuid import UUID

from sqlalchemy import Connection, select, update

from lanes.ids import RolloutId
from lanes.rollouts.rollout import OPEN, Rollout, Told
from lanes.routing.split import SplitRecord
from lanes.store.literals import is_among
from lanes.store.rollouts.rows import of_row
from lanes.store.tables import rollout, rollout_event, split

LOCKS_FROM = 1_000_000  # second key of a rollout's advisory lock: this and its id, beyond every role's number


def lock_key(rollout_id: RolloutId) -> int:
    """The number of the role that only the run which leads this rollout holds."""
    return LOCKS_FROM + rollout_id % 1_000_000_000


def find(connection: Connection, rollout_id: RolloutId) -> Rollout:
    """The rollout as it is now."""
    return of_row(connection.execute(select(rollout).where(rollout.c.id == rollout_id)).one())


def open_of(connection: Connection, name: str) -> Rollout | None:
    """The open rollout of a workload."""
    row = connection.execute(
        select(rollout).where(rollout.c.workload == name, is_among(rollout.c.state, OPEN))
    ).first()
    return of_row(row) if row is not None else None


def all_open(connection: Connection) -> list[Rollout]:
    """Every open rollout, oldest first."""
    rows = connection.execute(
        select(rollout).where(is_among(rollout.c.state, OPEN)).order_by(rollout.c.id)
    )
    return [of_row(row) for row in rows]


def led_by(connection: Connection, run_id: UUID) -> Rollout | None:
    """The rollout that this run of `migrate` started or led last."""
    newest = (
        select(rollout)
        .where(rollout.c.flow_run_id == run_id)
        .order_by(rollout.c.id.desc())
        .limit(1)
    )
    row = connection.execute(newest).first()
    return of_row(row) if row is not None else None


def newest_run_of(connection: Connection, name: str) -> UUID | None:
    """The run that leads, or led last, the newest rollout of a workload."""
    newest = (
        select(rollout.c.flow_run_id)
        .where(rollout.c.workload == name)
        .order_by(rollout.c.id.desc())
        .limit(1)
    )
    return connection.execute(newest).scalar_one_or_none()


def lead(connection: Connection, rollout_id: RolloutId, run_id: UUID) -> None:
    """This run leads the rollout from now on; the caller holds its lock."""
    connection.execute(update(rollout).where(rollout.c.id == rollout_id).values(flow_run_id=run_id))


def log(connection: Connection, rollout_id: RolloutId) -> list[Told]:
    """What happened to a rollout, oldest first."""
    columns = rollout_event.c
    rows = connection.execute(
        select(rollout_event).where(columns.rollout_id == rollout_id).order_by(columns.id)
    )
    return [Told(row.event, row.step, row.basis_points, row.who, row.why, row.at) for row in rows]


def split_history(
    connection: Connection, name: str, consumer: str | None, limit: int
) -> list[SplitRecord]:
    """The newest splits of a workload and consumer, newest first."""
    rows = connection.execute(
        select(split.c.basis_points, split.c.who, split.c.why, split.c.set_at)
        .where(split.c.workload == name, split.c.consumer.is_not_distinct_from(consumer))
        .order_by(split.c.id.desc())
        .limit(limit)
    )
    return [SplitRecord(row.basis_points, row.who, row.why, row.set_at) for row in rows]
