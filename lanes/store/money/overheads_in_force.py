"""What keeping the lanes takes a month, read by date."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from lanes.money.overhead import DatedOverhead, Overhead, OverheadKind, Overheads, in_force
from lanes.store.asking import Ask
from lanes.words import Lane

# Everything that was ever set is asked for: these are rows that people write.
SET = """
select workload, lane, kind, monthly_usd, from_date, who, why, set_at from lanes.overhead
 where cast(:names as text[]) is null or workload is null or workload = any(cast(:names as text[]))
 order by id
"""


def rows(ask: Ask, names: Iterable[str] | None = None) -> list[DatedOverhead]:
    """Return what was set for these workloads and for every one, or all of it, in the order in which it was set."""
    return [_dated(row) for row in ask(SET, names=None if names is None else list(names))]


def of_each(ask: Ask, names: Iterable[str], *, now: datetime) -> dict[str, Overheads]:
    """Return the monthly overheads of each of these workloads, by name; amounts that were never set are assumed."""
    wanted = list(names)
    found, today = rows(ask, wanted), now.astimezone(UTC).date()
    return {name: in_force(found, name, today) for name in wanted}


def _dated(row: Any) -> DatedOverhead:
    of = Overhead(
        row.workload, Lane(row.lane), OverheadKind(row.kind), row.monthly_usd, row.from_date
    )
    return DatedOverhead(of, row.who, row.why, row.set_at)
