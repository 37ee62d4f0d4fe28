"""Routing decisions from figures, by hour for promises and by period for `lanes why`, and the changes that people made."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

from lanes.promises.decisions import EARLIER, HOUR, WINDOWS, ConsumerReads, RaisedRules, RoutedHours
from lanes.routing.mix import LATER, RoutedCount
from lanes.statistics.shares import SampleShare
from lanes.store.asking import Ask, through

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

WEEK = timedelta(days=7)

# Deliberate changes and incidents, newest first.
CHANGES = """
select workload, at, kind, said
  from (
    select workload, set_at as at, 'split' as kind,
           'the split' || coalesce(' of consumer ' || consumer, '') || coalesce(' was set to ' || (basis_points / 100.0)::float8
           || ' % real-time', ' was removed') || ' by ' || who || ': ' || why as said
      from lanes.split
    union all
    select workload, published_at, 'version', 'version ' || number || ' was published' from lanes.version
    union all
    select r.workload, e.at, 'rollout',
           'rollout ' || r.id || ' ' || e.event || ' at ' || (e.basis_points / 100.0)::float8 || ' %'
      from lanes.rollout_event e join lanes.rollout r on r.id = e.rollout_id
     where e.event in ('started', 'stepped', 'rolled_back', 'finished', 'aborted')
    union all
    select workload, set_at, 'budget', 'a ' || period || ' budget was set by ' || who || ': ' || why from lanes.budget
    union all
    select name, paused_at, 'pause', 'it was paused' from lanes.workload where paused_at is not null
    union all
    select workload, opened_at, 'incident', 'incident ' || id || ': ' || sentence from lanes.incident) each
 where at >= :since and at < :until and (cast(:workload as text) is null or workload in (:workload, '*'))
 order by at desc
"""

HOURS = """
select workload, hour, json_object_agg(lane || ' ' || reason, items) as decided
  from lanes.routing_mix where hour = any(cast(:hours as timestamptz[])) group by 1, 2
"""

# An index finds the first and the newest item.
RAISED = """
select r.workload, v.number, r.rules, first.decided_at, newest.key, newest.raised
  from (select version_id, workload, jsonb_object_agg(word, n) as rules
          from (select workload, version_id, word, sum(n)::bigint as n
                  from lanes.figures_since('{raised}', :day) group by 1, 2, 3) each
         group by 1, 2) r
  join lanes.workload w using (version_id)
  join lanes.version v on v.id = r.version_id
 cross join lateral (
   select decided_at from lanes.route t where t.version_id = v.id and t.raised is not null order by t.id limit 1) first
 cross join lateral (
   select i.key, t.raised from lanes.route t join lanes.item i on i.id = t.item_id
    where t.version_id = v.id and t.raised is not null order by t.id desc limit 1) newest
"""

STATED = """
select b.workload, count(*) filter (where coalesce(b.collected_at, :now) > b.stated_back_at), count(*)
  from lanes.batch b join lanes.workload w using (version_id)
 where b.submitted_at >= date_trunc('day', :now - interval '7 days', 'UTC') and b.submitted_at <= :now
   and b.stated_back_at <= :now and b.state in ('submitted', 'ended', 'collected')
 group by 1
"""

# By whole UTC days since the last split, like the folded figures.
READS = """
select h.workload, h.consumer,
       sum(b.n) filter (where b.bucket >= lanes.figure_bucket(interval '1 hour'))::bigint, sum(b.n)::bigint
  from lanes.figure_spread h
 cross join lateral unnest(h.buckets, h.counts) b (bucket, n)
 where h.grain = 'day' and h.kind = 'read' and h.at >= date_trunc('day', :now - interval '1 day', 'UTC')
   and h.at >= coalesce((select max(s.set_at) from lanes.split s where s.workload = h.workload), '-infinity')
 group by 1, 2 having sum(b.n) > 0
"""

# First routes by the hour in which their items were received, and later changes by the hour in which they were made.
PERIODS = f"""
select f.workload, f.word as reason, f.lane, coalesce(f.consumer, '') as consumer, v.number as version,
       coalesce(sum(f.n) filter (where f.at >= :since and f.at < :until), 0)::bigint as now,
       coalesce(sum(f.n) filter (where f.at >= :since - :span and f.at < :since), 0)::bigint as last,
       coalesce(sum(f.n) filter (where f.at >= :week and f.at < :week + :span), 0)::bigint as week
  from (
    select workload, word, lane, consumer, version_id, kind, at, n from lanes.figure
     where grain = 'hour' and kind in ('asked', 'route') and (cast(:workload as text) is null or workload = :workload)
       and (at >= :since - :span and at < :until or at >= :week and at < :week + :span)
    union all
    select workload, word, lane, consumer, version_id, kind, at, n from lanes.figure_delta
     where kind in ('asked', 'route') and (cast(:workload as text) is null or workload = :workload)
       and (at >= :since - :span and at < :until or at >= :week and at < :week + :span)) f
  left join lanes.version v on v.id = f.version_id
 where f.kind = 'asked' or f.word in ({", ".join(f"'{each}'" for each in LATER)})
 group by 1, 2, 3, 4, 5
"""


class RoutingChange(NamedTuple):
    """A possible cause of a change in routing: an action of a person, or an incident; "*" stands for every workload."""

    workload: str
    at: datetime
    kind: str
    said: str


def changes(
    ask: Ask, workload: str | None, *, since: datetime, until: datetime
) -> list[RoutingChange]:
    """Return the changes made in a period, newest first."""
    rows = ask(CHANGES, workload=workload, since=since, until=until)
    return [RoutingChange(row.workload, row.at, row.kind, row.said) for row in rows]


def periods(
    ask: Ask, workload: str | None, *, since: datetime, until: datetime
) -> Mapping[str, tuple[datetime, Sequence[RoutedCount]]]:
    """Return each workload's routing in the period and in an earlier one, with the start of the earlier one.

    The earlier period is the same time a week before if there were items in it, otherwise the time just before the period.
    Periods consist of whole hours.
    """
    since = since.replace(minute=0, second=0, microsecond=0)
    span = until - since
    week = since - WEEK if span <= WEEK else since - span
    rows = ask(PERIODS, workload=workload, since=since, until=until, span=span, week=week)
    by_workload, weekly = defaultdict[str, list[Any]](list), set[str]()
    for row in rows:
        by_workload[row.workload].append(row)
        if row.week:
            weekly.add(row.workload)
    found = dict[str, tuple[datetime, Sequence[RoutedCount]]]()
    for name, its in sorted(by_workload.items()):
        is_weekly = name in weekly
        counts = [
            RoutedCount(*row[1:5], before=row.week if is_weekly else row.last, now=row.now)
            for row in its
        ]
        found[name] = (week if is_weekly else since - span, counts)
    return found


_earlier: "WeakKeyDictionary[Engine, tuple[datetime, Sequence[Any]]]" = WeakKeyDictionary()


def forget(engine: "Engine") -> None:
    """Drop the cached earlier hours, so that the next call reads the database."""
    _earlier.pop(engine, None)


def measure_promises(connection: "Connection", *, now: datetime) -> dict[str, Any]:
    """Return the measurements of the promises about routing, by their names in `PromiseMeasurements`.

    Hours that ended at least an hour ago hardly change, so they are read once an hour.
    """
    ask, hour = through(connection), now.replace(minute=0, second=0, microsecond=0)
    newest = [hour - number * HOUR for number in range(max(WINDOWS))]
    earlier = [*newest[2:], *(at - ago for ago in EARLIER for at in newest)]
    kept = _earlier.get(connection.engine)
    if kept is None or kept[0] != hour:
        kept = _earlier[connection.engine] = hour, ask(HOURS, hours=earlier)
    changed = dict[str, tuple[datetime | None, str]]()
    for each in changes(ask, None, since=min(earlier), until=now):
        if each.kind != "incident":
            changed.setdefault(each.workload, (each.at, each.said))
    counts = defaultdict[str, dict[datetime, Mapping[str, int]]](dict)
    for name, at, decided in (*kept[1], *ask(HOURS, hours=newest[:2])):
        counts[name][at] = decided
    return {
        "raised": [RaisedRules(*row) for row in ask(RAISED, day=now - timedelta(days=1))],
        "routed": [
            RoutedHours(name, of, *changed.get(name, (None, ""))) for name, of in counts.items()
        ],
        "stated": {name: SampleShare(*late) for name, *late in ask(STATED, now=now)},
        "reads": [
            ConsumerReads(name, consumer, SampleShare(late or 0, reads))
            for name, consumer, late, reads in ask(READS, now=now)
        ],
    }
