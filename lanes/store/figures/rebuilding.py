"""The figures of whole days, made anew from the facts. What is being written meanwhile comes on top of them, as always."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, Engine, func, select, text

from lanes.store.figures.filling import FILLED
from lanes.store.figures.folding import FOLDING
from lanes.store.locks import PATIENCE, waiting_at_most

MOST = 2_000_000  # facts that happened in the days of one transaction, if those are several
DAY = timedelta(days=1)

# When whatever is counted happened.
HAPPENED = {
    "item": "received_at",
    "route": "decided_at",
    "attempt": "ended_at",
    "response": "billed_at",
    "result": "created_at",
    "correction": "corrected_at",
    "batch": "intended_at",
}
FACTS = f"""
select day, sum(n)::bigint as facts
  from ({
    " union all ".join(
        f"select date_trunc('day', {at}, 'UTC') as day, count(*) as n from lanes.{table}"
        f" where {at} >= :since and {at} < :until group by 1"
        for table, at in HAPPENED.items()
    )
}) each
 group by day
"""
EMPTIED = (
    "delete from lanes.figure where at >= :since and at < :until",
    "delete from lanes.figure_spread where at >= :since and at < :until",
    "delete from lanes.figure_peak where at >= :since and at < :until",
    "delete from lanes.figure_delta where at >= :since and at < :until",
)
ROOM = "set local work_mem = '64MB'"


@dataclass(frozen=True)
class Rebuilt:
    """A day whose figures were made anew, and what of its facts happened on it."""

    day: datetime
    facts: int


def days(connection: Connection, since: datetime | None, until: datetime) -> list[Rebuilt]:
    """The days of UTC that hold any of the period, also those without facts; since the first fact, unless told."""
    first = since and _day_of(since)
    period = {"since": first or datetime.min.replace(tzinfo=UTC), "until": _day_of(until) + DAY}
    facts = {row.day.astimezone(UTC): row.facts for row in connection.execute(text(FACTS), period)}
    day = first or min(facts, default=until)
    found: list[Rebuilt] = []
    while day < until:
        found.append(Rebuilt(day, facts.get(day, 0)))
        day += DAY
    return found


def _day_of(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def periods(of: Sequence[Rebuilt]) -> Iterator[Sequence[Rebuilt]]:
    """These days in their order, some at a time: as many as have `MOST` facts together, or a single one."""
    start, facts = 0, 0
    for place, day in enumerate(of):
        if place > start and facts + day.facts > MOST:
            yield of[start:place]
            start, facts = place, 0
        facts += day.facts
    if of[start:]:
        yield of[start:]


def rebuild_days(connection: Connection, of: Sequence[Rebuilt]) -> None:
    """The figures of these days in a row say what their facts say. The transaction has one snapshot; nobody else folds."""
    period = {"since": of[0].day, "until": of[-1].day + DAY}
    connection.execute(text(ROOM))
    for statement in EMPTIED:
        connection.execute(text(statement), period)
    for statement in FILLED:
        connection.execute(text(statement), period)


def rebuild(
    pool: Engine, *, since: datetime | None, until: datetime, told: Callable[[Rebuilt, int], None]
) -> list[Rebuilt]:
    """Every day of UTC that holds any of the period was rebuilt, some in a transaction; nobody folds meanwhile.

    `told` hears of each, and how many there are.

    Raises:
        StillLocked: somebody else folds or rebuilds for longer than a second.
    """
    with pool.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        with connection.begin(), waiting_at_most(connection, PATIENCE):
            connection.execute(select(func.pg_advisory_lock(FOLDING)))
        try:
            with connection.begin():
                wanted = days(connection, since, until)
            for some in periods(wanted):
                with connection.begin():
                    rebuild_days(connection, some)
                for day in some:
                    told(day, len(wanted))
        finally:
            with connection.begin():
                connection.execute(select(func.pg_advisory_unlock(FOLDING)))
    return wanted


def rebuild_here(connection: Connection, *, until: datetime) -> None:
    """The same of every day, within this transaction; the tables of the facts are locked against writers by its owner."""
    for some in periods(days(connection, None, until)):
        rebuild_days(connection, some)
