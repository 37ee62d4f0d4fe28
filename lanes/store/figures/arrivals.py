"""The feeds of all workloads: when each sent last, and its pattern, which a process keeps for a day."""

from datetime import datetime, timedelta
from weakref import WeakKeyDictionary

import numpy
from sqlalchemy import Connection, Engine, text

from lanes.promises.feeds import WEEK, WEEKS, ArrivalPattern, Feed

A_DAY = timedelta(days=1)
BACK_TO = timedelta(minutes=WEEKS * WEEK) + A_DAY

# An item that waits for its route is counted by no figure yet: its feed is not silent.
LAST = """
with added as (select workload, max(at) as at from lanes.figure_delta where kind = 'item' group by 1)
select f.name as workload,
       case when exists (select from lanes.item i where i.workload = f.name and i.position is null and i.canceled_at is null)
            then :now else greatest(a.at, (
              select m.at from lanes.figure m
               where m.grain = 'minute' and m.kind = 'item' and m.word <> 'canceled' and m.workload = f.name
               order by m.at desc limit 1)) end as last_at
  from lanes.workload f left join added a on a.workload = f.name
 where f.version_id is not null and f.paused_at is null
"""
MINUTES = """
select array(select distinct (extract(epoch from at) / 60)::bigint from lanes.figure
              where grain = 'minute' and kind = 'item' and word <> 'canceled' and workload = :workload
                and at >= :since and at <= :until order by 1) as minutes,
       (select count(*) from lanes.incident
         where promise = 'feed_silent' and workload = :workload and resolved_at >= :since) as told
"""
_kept: "WeakKeyDictionary[Engine, dict[str, ArrivalPattern]]" = WeakKeyDictionary()


def feeds(connection: Connection, *, now: datetime) -> list[Feed]:
    """Return the feeds of the workloads that ever got an item.

    The pattern of a silent one is read unless it was read for its last day, and one at most at each look, which takes
    some 30 ms.
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
    """Drop the patterns that are kept."""
    _kept.pop(engine, None)


def _pattern(connection: Connection, of: Feed) -> ArrivalPattern:
    at = {"workload": of.workload, "since": of.last_at - BACK_TO, "until": of.last_at}
    row = connection.execute(text(MINUTES), at).one()
    minutes, until = numpy.array(row.minutes, numpy.int64), int(of.last_at.timestamp() // 60)
    return ArrivalPattern(minutes, until, row.told)
