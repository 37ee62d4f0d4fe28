"""Overheads of the lanes: set by people, never changed, and read by date."""

from datetime import UTC, datetime

from sqlalchemy import Connection, insert

from lanes.errors import ActionRefused
from lanes.money.overhead import Overhead, refusal
from lanes.store.tables import overhead
from lanes.store.workload import workloads


def put(connection: Connection, wanted: Overhead, *, who: str, why: str, now: datetime) -> str:
    """Put the amount in force from its day on; return what is true now.

    Raises:
        UnknownWorkload: there is no such workload.
        ActionRefused: it makes no sense, and why.
    """
    if wanted.workload is not None:
        workloads.check_known(connection, wanted.workload)
    if (no := refusal(wanted, today=now.astimezone(UTC).date())) is not None:
        raise ActionRefused(no)
    connection.execute(
        insert(overhead).values(
            workload=wanted.workload,
            lane=wanted.lane,
            kind=wanted.kind,
            monthly_usd=wanted.monthly_usd,
            from_date=wanted.from_date,
            who=who,
            why=why,
            set_at=now,
        )
    )
    return wanted.said
