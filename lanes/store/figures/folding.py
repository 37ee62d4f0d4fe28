"""The folding of added rows into the figures, and the rebuild of figures from facts, by one transaction at a time."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, Engine, func, select, text
from sqlalchemy.exc import DBAPIError

from lanes.errors import ActionRefused
from lanes.standing.roles import Lock
from lanes.statistics.figures import WATCHED, Kind
from lanes.store.current.counts import OF, SUMS
from lanes.store.database import LOCK_PATIENCE, limit_waits
from lanes.store.engines import is_refusal, refuse_pooler
from lanes.store.figures.facts import CONSUMERS, FILLED, IS_BY_MINUTE, MEASURED, SUMMED, TIMED

log = logging.getLogger(__name__)

MOST = 20_000  # rows of figure_delta moved in one transaction

# No other transaction writes figures at the same time, so rows are processed in any order. Text is grouped by its bytes:
# comparing it by a locale's rules would take longer than everything else. All columns are sums except the moments of tries,
# whose span never shrinks.
MOVED = f"""
with moved as (
  delete from lanes.figure_delta
   where id = any(array(select id from lanes.figure_delta where not set_aside order by id limit :most for update skip locked))
  returning *),
unheard as (
  select workload, consumer, row_number() over (partition by workload order by min(id)) as place from moved m
   where consumer is not null
     and not exists (select from lanes.figure_consumer c where c.workload = m.workload and c.consumer = m.consumer)
   group by workload, consumer),
met as (
  insert into lanes.figure_consumer (workload, consumer)
  select workload, consumer from unheard u
   where place + (select count(*) from lanes.figure_consumer c where c.workload = u.workload) <= {CONSUMERS}
  returning workload, consumer),
apart as (
  select workload, consumer from met union all select workload, consumer from lanes.figure_consumer),
named as (
  select m.id, g.grain collate "C" as grain, date_trunc(g.grain, m.at, 'UTC') as at, m.workload collate "C" as workload,
         m.version_id, m.lane collate "C" as lane, m.purpose collate "C" as purpose,
         case when m.consumer is null or a.consumer is not null then m.consumer else 'other' end collate "C" as consumer,
         m.kind collate "C" as kind, m.word collate "C" as word, {MEASURED}, m.buckets, m.counts
    from moved m
    left join apart a on a.workload = m.workload and a.consumer = m.consumer
   cross join (values ('minute'), ('hour'), ('day')) g (grain)
   where g.grain <> 'minute' or m.{IS_BY_MINUTE}),
counted as (
  insert into lanes.figure as f (grain, at, {OF}, {MEASURED})
  select grain, at, {OF}, {SUMMED} from named group by grain, at, {OF}
  on conflict (grain, at, {OF}) do update
     set {", ".join(f"{name} = f.{name} + excluded.{name}" for name in ("n", *SUMS))},
         first_at = least(f.first_at, excluded.first_at), last_at = greatest(f.last_at, excluded.last_at)),
timed as (
  insert into lanes.figure_spread as h (grain, at, {OF}, buckets, counts)
  select grain, at, {OF}, array_agg(bucket), array_agg(n)
    from (
      select grain, at, {OF}, b.bucket, sum(b.n)::bigint as n
        from (select grain, at, {TIMED}, buckets, counts from named) each
       cross join lateral unnest(buckets, counts) b (bucket, n)
       group by grain, at, {OF}, b.bucket) of_bucket
   group by grain, at, {OF}
  on conflict (grain, at, {OF}) do update
     set (buckets, counts) = (
       select coalesce(array_agg(bucket), '{{}}'), coalesce(array_agg(n), '{{}}')
         from (select bucket, sum(n)::bigint as n
                 from (select * from unnest(h.buckets, h.counts) union all
                       select * from unnest(excluded.buckets, excluded.counts)) both_of_it (bucket, n)
                group by bucket having sum(n) <> 0) summed)),
hours as (
  select distinct workload, date_trunc('hour', at, 'UTC') as at from moved where kind = '{Kind.ITEM}')
select (select count(*) from moved) as moved, array(select workload from hours order by workload, at) as workloads,
       array(select at from hours order by workload, at) as hours
"""

SET_ASIDE = """
update lanes.figure_delta set set_aside = true
 where id = (select id from lanes.figure_delta where not set_aside order by id limit 1 for update skip locked)
returning id
"""

PEAKS = """
insert into lanes.figure_peak as p (workload, at, n)
select h.workload, h.at, coalesce(max(m.n), 0)
  from unnest(cast(:workloads as text[]), cast(:hours as timestamptz[])) h (workload, at)
  left join lateral (
    select sum(f.n) as n from lanes.figure f
     where f.grain = 'minute' and f.kind = 'item' and f.word <> 'canceled' and f.workload = h.workload
       and f.at >= h.at and f.at < h.at + interval '1 hour'
     group by f.at) m on true
 group by 1, 2
on conflict (workload, at) do update set n = excluded.n where p.n <> excluded.n
"""


def may_fold(connection: Connection) -> bool:
    """Return whether this transaction may fold; no other may until it ends."""
    return connection.execute(
        select(func.pg_try_advisory_xact_lock(Lock.FOLDING.value))
    ).scalar_one()


def fold(connection: Connection, *, most: int = MOST) -> int:
    """Move up to `most` added rows into the figures and return how many; 0 while another transaction folds."""
    return move(connection, most) if may_fold(connection) else 0


def move(connection: Connection, most: int) -> int:
    """Fold in a transaction that is allowed to (`may_fold`), and return the number of moved rows.

    A row that the database refuses is set aside and does not block other rows. Readers count such a row like every row that is
    not folded yet.
    """
    try:
        with connection.begin_nested():
            return _move(connection, most)
    except DBAPIError as error:
        if not is_refusal(error):
            raise
        if most > 1:
            return move(connection, most // 2) + move(connection, most - most // 2)
        row = connection.execute(text(SET_ASIDE)).scalar_one_or_none()
        message = "row %s of lanes.figure_delta cannot be folded and is set aside: %s"
        log.error(message, row, type(error.orig).__name__)
        return 1


# Longer than 30 days, the longest period that may start at any minute.
MINUTES_KEPT = timedelta(days=35)
OLD_MINUTES = """
delete from lanes.{table} where ctid = any(array(
  select old.ctid
    from lanes.workload w
   cross join unnest(cast(:kinds as text[])) k (kind)
   cross join lateral (
     select f.ctid from lanes.{table} f
      where f.grain = 'minute' and f.kind = k.kind and f.workload = w.name
        and f.at < least(:before, (
          select i.at from lanes.figure i
           where i.grain = 'minute' and i.kind = 'item' and i.word <> 'canceled' and i.workload = w.name
           order by i.at desc limit 1) - cast(:learned as interval))
      order by f.at limit :most) old
   limit :most))
"""


def delete_minutes(connection: Connection, *, before: datetime, learned: timedelta) -> int:
    """Delete some minutes from before a moment; return how many, 0 if none is left or another transaction folds.

    Hours and days stay. Each workload also keeps the minutes within `learned` before its last item, because its feed's pattern
    is computed from them.
    """
    if not may_fold(connection):
        return 0
    given = {"kinds": [*Kind], "before": before, "learned": learned, "most": MOST}
    tables = "figure_minute", "figure_spread_minute"
    return sum(
        connection.execute(text(OLD_MINUTES.format(table=each)), given).rowcount for each in tables
    )


def _move(connection: Connection, most: int) -> int:
    done = connection.execute(text(MOVED), {"most": most}).one()
    if done.hours:
        connection.execute(text(PEAKS), {"workloads": done.workloads, "hours": done.hours})
    return done.moved


MOST_FACTS = 2_000_000  # facts of several days that one transaction rebuilds
DAY = timedelta(days=1)

# The column with the time of each fact.
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
COUNTED_FROM_FACTS = f"kind not in ({', '.join(repr(each.value) for each in WATCHED)})"
EMPTIED = (
    f"delete from lanes.figure where at >= :since and at < :until and {COUNTED_FROM_FACTS}",
    "delete from lanes.figure_spread where at >= :since and at < :until",
    "delete from lanes.figure_peak where at >= :since and at < :until",
    f"delete from lanes.figure_delta where at >= :since and at < :until and {COUNTED_FROM_FACTS}",
)
ROOM = "set local work_mem = '64MB'"


@dataclass(frozen=True)
class Rebuilt:
    """A rebuilt day and its number of facts."""

    day: datetime
    facts: int


Told = Callable[[Rebuilt, int], None]


def days(connection: Connection, since: datetime | None, until: datetime) -> list[Rebuilt]:
    """Return the days (UTC) of a period, including days without facts; by default since the first fact."""
    first = since and _day_start(since)
    period = {"since": first or datetime.min.replace(tzinfo=UTC), "until": _day_start(until) + DAY}
    facts = {row.day.astimezone(UTC): row.facts for row in connection.execute(text(FACTS), period)}
    day = first or min(facts, default=until)
    found: list[Rebuilt] = []
    while day < until:
        found.append(Rebuilt(day, facts.get(day, 0)))
        day += DAY
    return found


def _day_start(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def periods(rebuilt_days: Sequence[Rebuilt], most: int = MOST_FACTS) -> Iterator[Sequence[Rebuilt]]:
    """Yield the days in order, in groups of up to `most` facts; a day with more facts is a group of its own."""
    start, facts = 0, 0
    for place, day in enumerate(rebuilt_days):
        if place > start and facts + day.facts > most:
            yield rebuilt_days[start:place]
            start, facts = place, 0
        facts += day.facts
    if rebuilt_days[start:]:
        yield rebuilt_days[start:]


def rebuild_days(connection: Connection, of: Sequence[Rebuilt]) -> None:
    """Rebuild consecutive days; the transaction must use one snapshot and must be the only one that folds."""
    period = {"since": of[0].day, "until": of[-1].day + DAY}
    connection.execute(text(ROOM))
    for statement in EMPTIED:
        connection.execute(text(statement), period)
    for statement in FILLED:
        connection.execute(text(statement), period)


def rebuild(
    pool: Engine, *, since: datetime | None, until: datetime, told: Told, most: int = MOST_FACTS
) -> list[Rebuilt]:
    """Rebuild every day (UTC) of a period, `most` facts per transaction, while no other transaction folds.

    `told` is called with each rebuilt day and the number of days. Days with archived facts stay unchanged: by default the
    period begins after them.

    Raises:
        ActionRefused: the period includes days with archived facts.
        StillLocked: another transaction has folded or rebuilt for longer than a second.
        SetupError: the connection goes through a pooler, but the lock belongs to a session of Postgres.
    """
    with pool.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        refuse_pooler(connection)
        with connection.begin(), limit_waits(connection, LOCK_PATIENCE):
            connection.execute(select(func.pg_advisory_lock(Lock.FOLDING.value)))
        try:
            with connection.begin():
                wanted = days(connection, _whole_since(connection, since), until)
            for some in periods(wanted, most):
                with connection.begin():
                    rebuild_days(connection, some)
                for day in some:
                    told(day, len(wanted))
        finally:
            with connection.begin():
                connection.execute(select(func.pg_advisory_unlock(Lock.FOLDING.value)))
    return wanted


def _whole_since(connection: Connection, since: datetime | None) -> datetime | None:
    """Return `since`, or by default the first day after all archived facts.

    Raises:
        ActionRefused: facts from the day of `since` or later are archived.
    """
    last = connection.execute(text("select max(last_at) from lanes.archive")).scalar()
    whole = last and _day_start(last) + DAY
    if whole and since and _day_start(since) < whole:
        raise ActionRefused(
            f"facts of {last:%Y-%m-%d} and earlier are archived, so these days stay as they are: rebuild from "
            f"{whole:%Y-%m-%d} on"
        )
    return since or whole


def rebuild_here(connection: Connection, *, until: datetime) -> None:
    """Rebuild every day within this transaction; the caller must keep other transactions from writing facts."""
    for some in periods(days(connection, None, until)):
        rebuild_days(connection, some)
