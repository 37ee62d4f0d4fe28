"""How long our batches took: read from the database once in a while, and kept for whoever asks in between."""

from datetime import datetime, timedelta
from threading import Lock
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from lanes.routing.prospect import Prospects
from lanes.routing.turnaround import Seen, Turnarounds, utc_hour
from lanes.store import asking
from lanes.store.asking import Ask

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

KEPT_FOR = timedelta(minutes=1)
BACK_TO = timedelta(days=28)  # what left before counts for less than a sixteenth
MOST = 2_000  # batches, the newest: more of them say little more, and take a drain 6 µs each to read

# The batches that left from :since on until :now, newest first: when, and whether and when they were back. Of one with a
# request that expired or was cancelled it is only known that it was not back by then.
SEEN = f"""
select model, requests, submitted_at, state = 'collected' and expired = 0 and canceled = 0 as back,
       state in ('collected', 'released') as over, coalesce(collected_at, :now) as until,
       coalesce(ended_at, collected_at, :now) as seen_last
  from lanes.batch
 where submitted_at >= :since and submitted_at <= :now
 order by submitted_at desc
 limit {MOST}
"""

_kept: "WeakKeyDictionary[Engine, Turnarounds]" = WeakKeyDictionary()
_lock = Lock()


def prospects(connection: "Connection", *, now: datetime) -> Prospects:
    """What batches promise at `now`, by what was seen of them up to a minute ago."""
    return Prospects(known(connection, now=now), now)


def known(connection: "Connection", *, now: datetime) -> Turnarounds:
    """The laws of all batches, at most a minute old; the database is only asked where this program knows none so new."""
    with _lock:
        kept = _kept.get(connection.engine)
    if kept is not None and kept.read_at <= now < kept.read_at + KEPT_FOR:
        return kept
    found = read(asking.through(connection), now=now)
    with _lock:
        _kept[connection.engine] = found
    return found


def forget(connection: "Connection") -> None:
    """The next who asks reads the database: for those who undo what they wrote."""
    with _lock:
        _kept.pop(connection.engine, None)


def read(ask: Ask, *, now: datetime) -> Turnarounds:
    """The laws of all batches as they stand: of the `MOST` newest ones of the last 28 days, open ones among them."""
    return Turnarounds([_seen(row, now) for row in ask(SEEN, now=now, since=now - BACK_TO)], now)


def _seen(row: Any, now: datetime) -> Seen:
    until = row.until if row.back else row.seen_last if row.over else now
    left_at: datetime = row.submitted_at
    return Seen(row.model, row.requests, utc_hour(left_at), until - left_at, row.back, now - left_at)
