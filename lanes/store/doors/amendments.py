"""Late data, through the database's own door: `lanes.take_amendment`."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, column, func, literal, select
from sqlalchemy.dialects.postgresql import JSONB

from lanes.doors.item import Admission, Amendment


def amend(connection: Connection, asked: Amendment, *, door: str, now: datetime) -> Admission:
    """What became of the amendment: amended, duplicate, outdated (a later one is in force), waiting (no such item yet),
    or the reason of its refusal."""
    payload: Any = literal(asked.payload, JSONB)
    verdict = func.lanes.take_amendment(
        asked.workload, asked.key, payload, door, asked.place, now, asked.occurred_at
    ).table_valued(column("outcome"), column("detail"))
    row = connection.execute(select(verdict.c.outcome, verdict.c.detail)).one()
    return Admission(row.outcome, row.detail, asked.key)


def apply_waiting(connection: Connection, *, now: datetime) -> int:
    """Amendments that came before their items were applied to those that exist now; their number."""
    return connection.execute(select(func.lanes.apply_waiting(now))).scalar_one()
