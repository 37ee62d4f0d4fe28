"""The figures of whole days, made anew from the facts. What is being written meanwhile comes on top of them, as always."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, Engine, func, select, text

from lanes.store.figures.folding import FOLDING, MOST, move
from lanes.store.locks import PATIENCE, waiting_at_most

CHUNK = 20_000  # facts of a kind that are added up in one statement
DAY = timedelta(days=1)

# Whatever counts in the period: what happened in it, and what became of the items that were received in it.
FACTS = {
    "route": "select id from lanes.route where decided_at >= :since and decided_at < :until",
    "attempt": """
        select id from lanes.attempt where ended_at >= :since and ended_at < :until
        union
        select a.id from lanes.item i join lanes.attempt a on a.item_id = i.id
         where i.received_at >= :since and i.received_at < :until
        """,
    "response": "select id from lanes.response where billed_at >= :since and billed_at < :until",
    "result": """
        select id from lanes.result where created_at >= :since and created_at < :until
        union
        select r.id from lanes.item i join lanes.result r on r.item_id = i.id
         where i.received_at >= :since and i.received_at < :until
        union
        select r.id from lanes.result b join lanes.result r on r.item_id = b.item_id
         where b.created_at >= :since and b.created_at < :until
        """,
    "correction": """
        select id from lanes.correction where corrected_at >= :since and corrected_at < :until
        union
        select c.id from lanes.item i join lanes.correction c on c.item_id = i.id
         where i.received_at >= :since and i.received_at < :until
        union
        select c.id from lanes.result a join lanes.correction c on c.item_id = a.item_id
         where a.created_at >= :since and a.created_at < :until
        """,
    "item": "select id from lanes.item where received_at >= :since and received_at < :until",
}
STATES = """
select array_agg(row(i.id, i.workload, i.received_at, i.due_at, i.urgent, i.consumer, i.answered_at, i.settled_at, i.failed_at,
                     i.canceled_at)::lanes.item_state)
  from lanes.item i where i.id = any(:ids)
"""
ADDED = "select lanes.keep_figures(:of, :ids, since => :since, until => :until)"
STOOD = f"select lanes.keep_figures('item', after => ({STATES}), since => :since, until => :until)"
CARRIED = """
select lanes.keep_batches('{}', array_agg(b)), count(*)
  from lanes.batch b where b.intended_at >= :since and b.intended_at < :until
"""
EMPTIED = (
    "delete from lanes.figure where at >= :since and at < :until",
    "delete from lanes.figure_hist where at >= :since and at < :until",
    "delete from lanes.figure_peak where at >= :since and at < :until",
    "delete from lanes.figure_delta where at >= :since and at < :until",
)
FIRST = """
select least((select min(received_at) from lanes.item), (select min(decided_at) from lanes.route),
             (select min(ended_at) from lanes.attempt), (select min(billed_at) from lanes.response),
             (select min(intended_at) from lanes.batch))
"""


@dataclass(frozen=True)
class Rebuilt:
    """What of one day's facts was added up anew."""

    day: datetime
    facts: int


def days(connection: Connection, since: datetime | None, until: datetime) -> Iterator[datetime]:
    """The days of UTC that hold any of the period; since the first fact, unless told."""
    first = since or connection.execute(text(FIRST)).scalar_one()
    if first is None:
        return
    day = first.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    while day < until:
        yield day
        day += DAY


def rebuild_day(connection: Connection, day: datetime) -> Rebuilt:
    """The figures of that day say what its facts say. The transaction has one snapshot, and nobody else folds."""
    at = {"since": day, "until": day + DAY}
    for statement in EMPTIED:
        connection.execute(text(statement), at)
    facts = connection.execute(text(CARRIED), at).one()[1]
    for of, found in FACTS.items():
        ids = list(connection.execute(text(found), at).scalars())
        facts += len(ids)
        for start in range(0, len(ids), CHUNK):
            chunk = {"ids": ids[start : start + CHUNK], **at}
            connection.execute(text(STOOD if of == "item" else ADDED), chunk if of == "item" else {"of": of, **chunk})
    while move(connection, MOST):
        pass
    return Rebuilt(day, facts)


def rebuild(pool: Engine, *, since: datetime | None, until: datetime, told: Callable[[Rebuilt, int], None]) -> list[Rebuilt]:
    """Every day of UTC that holds any of the period was rebuilt, each in a transaction of its own; nobody folds meanwhile.

    `told` hears of each, and how many there are.

    Raises:
        StillLocked: somebody else folds or rebuilds for longer than a second.
    """
    done: list[Rebuilt] = []
    with pool.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        with connection.begin(), waiting_at_most(connection, PATIENCE):
            connection.execute(select(func.pg_advisory_lock(FOLDING)))
        try:
            with connection.begin():
                wanted = list(days(connection, since, until))
            for day in wanted:
                with connection.begin():
                    done.append(rebuild_day(connection, day))
                told(done[-1], len(wanted))
        finally:
            with connection.begin():
                connection.execute(select(func.pg_advisory_unlock(FOLDING)))
    return done


def rebuild_here(connection: Connection, *, until: datetime) -> None:
    """The same of every day, within this transaction; the tables of the facts are locked against writers by its owner."""
    for day in days(connection, None, until):
        rebuild_day(connection, day)
