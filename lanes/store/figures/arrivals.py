"""The feeds of all workloads: the time of the last item of each, and its pattern, which a process caches for a day."""

from datetime import datetime, timedelta
from weakref import WeakKeyDictionary

import numpy
from sqlalchemy import Connection, Engine, text

from lanes.promises.feeds import WEEK, WEEKS, ArrivalPattern, Feed

A_DAY, OF_HOUR = timedelta(days=1), numpy.arange(60)
BACK_TO = timedelta(minutes=WEEKS * WEEK) + A_DAY

# Figures do not count an item that still waits for its route, but its feed is not silent.
LAST = """
with added as (select workload, max(at) as at from lanes.figure_delta where kind = 'item' and at <= :now group by 1)
select f.name as workload,
       case when exists (select from lanes.item i where i.workload = f.name and i.position is null and i.canceled_at is null)
            then :now else greatest(a.at, (
              select m.at from lanes.figure m
               where m.grain = 'minute' and m.kind = 'item' and m.word <> 'canceled' and m.workload = f.name and m.at <= :now
               order by m.at desc limit 1)) end as last_at
  from lanes.workload f left join added a on a.workload = f.name
 where f.version_id is not null and f.paused_at is null
"""
# One row per hour, with a bit for each minute with arrivals: sixty times fewer rows.
MINUTES = """
select minute / 60 as hour, bit_or(1::bigint << (minute % 60)::int) as minutes
  from (select (extract(epoch from at) / 60)::bigint as minute from lanes.figure
         where grain = 'minute' and kind = 'item' and word <> 'canceled' and workload = :workload
           and at >= :since and at <= :until) each
 group by 1 order by 1
"""
TOLD = """
select count(*) from lanes.incident where promise = 'feed_silent' and workload = :workload and resolved_at >= :since
"""
_kept: "WeakKeyDictionary[Engine, dict[str, ArrivalPattern]]" = WeakKeyDictionary()


def feeds(connection: Connection, *, now: datetime) -> list[Feed]:
    """Return the feeds of the workloads that have ever received an item.

    The pattern of a silent feed is read unless it is cached for the feed's last day. Each call reads at most one pattern, which
    takes about 30 ms.
    """
    kept, read, found = _kept.setdefault(connection.engine, {}), False, list[Feed]()
    for row in connection.execute(text(LAST), {"now": now}):
        if row.last_at is None:
            continue
        feed, known = Feed(row.workload, row.last_at), kept.get(row.workload)
        if not read and feed.is_silent(now) and (known is None or not known.is_of(feed.last_at)):
            known, read = _pattern(connection, feed), True
            kept[row.workload] = known
        found.append(Feed(row.workload, row.last_at, known))
    return found


def forget(engine: Engine) -> None:
    """Drop the engine's cached patterns."""
    _kept.pop(engine, None)


def _pattern(connection: Connection, feed: Feed) -> ArrivalPattern:
    at = {"workload": feed.workload, "since": feed.last_at - BACK_TO, "until": feed.last_at}
    rows = [tuple(each) for each in connection.execute(text(MINUTES), at)]
    hours, bits = numpy.array(rows, numpy.int64).reshape(-1, 2, 1).swapaxes(0, 1)
    minutes = (hours * 60 + OF_HOUR)[bits >> OF_HOUR & 1 == 1]
    counted = connection.execute(text(TOLD), at).scalar_one()
    return ArrivalPattern(minutes, int(feed.last_at.timestamp() // 60), counted)
