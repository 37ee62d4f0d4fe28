"""Overheads of the lanes: dated amounts that people add and that are never changed."""

from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lanes.errors import ActionRefused
from lanes.money.overhead import (
    DatedOverhead,
    Overhead,
    OverheadKind,
    Overheads,
    refusal,
    select_in_force,
)
from lanes.store.asking import Ask
from lanes.words import Lane

if TYPE_CHECKING:
    from sqlalchemy import Connection

# The query reads every row that was ever set: people write these rows, so there are few.
SET = """
select workload, lane, kind, monthly_usd, from_date, who, why, set_at from lanes.overhead
 where cast(:names as text[]) is null or workload is null or workload = any(cast(:names as text[]))
 order by id
"""


def rows(ask: Ask, names: Iterable[str] | None = None) -> list[DatedOverhead]:
    """Return the overheads of these workloads and those set for every workload, or all rows, in the order of entry."""
    return [_read(row) for row in ask(SET, names=None if names is None else list(names))]


def read_each(ask: Ask, names: Iterable[str], *, now: datetime) -> dict[str, Overheads]:
    """Return the monthly overheads of each of these workloads, by name; amounts that were never set are assumptions."""
    wanted = list(names)
    found, today = rows(ask, wanted), now.astimezone(UTC).date()
    return {name: select_in_force(found, name, today) for name in wanted}


def _read(row: Any) -> DatedOverhead:
    lane, kind = Lane(row.lane), OverheadKind(row.kind)
    of = Overhead(row.workload, lane, kind, row.monthly_usd, row.from_date)
    return DatedOverhead(of, row.who, row.why, row.set_at)


def put(connection: "Connection", wanted: Overhead, *, who: str, why: str, now: datetime) -> str:
    """Put the amount in force from its date on; return a sentence about it.

    Raises:
        UnknownWorkload: there is no such workload.
        ActionRefused: the amount is not valid; the message states the reason.
    """
    from sqlalchemy import insert  # reports read overheads, and start without SQLAlchemy

    from lanes.store.tables import overhead
    from lanes.store.workload import workloads

    if wanted.workload is not None:
        workloads.check_known(connection, wanted.workload)
    if (no := refusal(wanted, today=now.astimezone(UTC).date())) is not None:
        raise ActionRefused(no)
    new = insert(overhead).values(**asdict(wanted), who=who, why=why, set_at=now)
    connection.execute(new)
    return wanted.sentence
