"""Results as readers take them."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, column, func, select

from lanes.store.tables import item, result
from lanes.words import Lane, Standing


@dataclass(frozen=True)
class Result:
    """An item's current answer."""

    workload: str
    key: str
    output: dict[str, Any]
    standing: Standing
    lane: Lane
    generation: int
    created_at: datetime
    is_settled: bool


def current(connection: Connection, workload: str, key: str) -> Result | None:
    """The item's current result, None while there is none."""
    row = connection.execute(
        select(result.c.output, result.c.standing, result.c.lane, result.c.generation, result.c.created_at, item.c.settled_at)
        .join(item, item.c.result_id == result.c.id)
        .where(item.c.workload == workload, item.c.key == key)
    ).first()
    if row is None:
        return None
    return Result(
        workload, key, row.output, row.standing, row.lane, row.generation, row.created_at,
        row.settled_at is not None,
    )  # fmt: skip


class Ended(StrEnum):
    """Whether an item may still get an answer, or a better one."""

    NOT_YET = "not yet"
    FAILED = "failed"
    CANCELED = "canceled"


def ended(connection: Connection, workload: str, key: str) -> Ended | None:
    """How the item stands, None when there is none."""
    row = connection.execute(
        select(item.c.failed_at, item.c.canceled_at).where(item.c.workload == workload, item.c.key == key)
    ).first()
    if row is None:
        return None
    if row.canceled_at is not None:
        return Ended.CANCELED
    return Ended.FAILED if row.failed_at is not None else Ended.NOT_YET


def read(connection: Connection, workload: str, key: str, *, reader: str) -> Result | None:
    """The item's current result, None while there is none; the read is recorded."""
    recorded = func.lanes.read_result(workload, key, reader).table_valued(column("standing"))
    connection.execute(select(recorded.c.standing)).all()
    return current(connection, workload, key)
