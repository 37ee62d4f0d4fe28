"""What keeping the lanes takes a month: set by people, never changed, and read by date."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, insert, select

from lanes.errors import ActionRefused, UnknownWorkload
from lanes.money.overhead import Dated, Overhead, OverheadKind, Overheads, in_force, refusal
from lanes.store.asking import Ask
from lanes.store.tables import overhead, workload
from lanes.words import Lane

# Everything that was ever set is asked for: these are rows that people write.
SET = """
select workload, lane, kind, monthly_usd, from_date, who, why, set_at from lanes.overhead
 where cast(:names as text[]) is null or workload is null or workload = any(cast(:names as text[]))
 order by id
"""


def put(connection: Connection, wanted: Overhead, *, who: str, why: str, now: datetime) -> str:
    """The amount is in force from its day on, until a later one is. What is true now.

    Raises:
        UnknownWorkload: there is no such workload.
        ActionRefused: it makes no sense, and why.
    """
    known = select(workload.c.name).where(workload.c.name == wanted.workload)
    if wanted.workload is not None and connection.execute(known).first() is None:
        raise UnknownWorkload(f'there is no workload "{wanted.workload}"')
    if (no := refusal(wanted, today=now.astimezone(UTC).date())) is not None:
        raise ActionRefused(no)
    connection.execute(
        insert(overhead).values(
            workload=wanted.workload, lane=wanted.lane, kind=wanted.kind, monthly_usd=wanted.monthly_usd,
            from_date=wanted.from_date, who=who, why=why, set_at=now,
        )
    )  # fmt: skip
    return wanted.said


def rows(ask: Ask, names: Iterable[str] | None = None) -> list[Dated]:
    """What was set for these workloads and for every one, or all of it, in the order in which it was set."""
    return [_dated(row) for row in ask(SET, names=None if names is None else list(names))]


def of_each(ask: Ask, names: Iterable[str], *, now: datetime) -> dict[str, Overheads]:
    """What the lanes of each of these workloads take a month, by name; what nobody set is assumed."""
    wanted = list(names)
    found, today = rows(ask, wanted), now.astimezone(UTC).date()
    return {name: in_force(found, name, today) for name in wanted}


def _dated(row: Any) -> Dated:
    of = Overhead(row.workload, Lane(row.lane), OverheadKind(row.kind), row.monthly_usd, row.from_date)
    return Dated(of, row.who, row.why, row.set_at)
