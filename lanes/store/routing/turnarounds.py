"""How long our batches took: read from the database once in a while, and kept for whoever asks in between."""

from datetime import datetime, timedelta
from functools import cache
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, Select, and_, bindparam, func, literal, select

from lanes.routing.prospect import Prospects
from lanes.routing.turnaround import Seen, Turnarounds, utc_hour
from lanes.store.tables import batch
from lanes.store.tables.base import Moment
from lanes.words import BatchState

KEPT_FOR = timedelta(minutes=1)
BACK_TO = timedelta(days=28)  # what left before counts for less than a sixteenth
MOST = 2_000  # batches, the newest: more of them say little more, and take a drain 6 µs each to read

_kept: WeakKeyDictionary[Engine, Turnarounds] = WeakKeyDictionary()
_lock = Lock()

# Of a batch with a request that expired or was cancelled it is only known that it was not back by then.
came_back = and_(batch.c.state == BatchState.COLLECTED, batch.c.expired == 0, batch.c.canceled == 0)


def prospects(connection: Connection, *, now: datetime) -> Prospects:
    """What batches promise at `now`, by what was seen of them up to a minute ago."""
    return Prospects(known(connection, now=now), now)


def known(connection: Connection, *, now: datetime) -> Turnarounds:
    """The laws of all batches, at most a minute old; the database is only asked where this program knows none so new."""
    with _lock:
        kept = _kept.get(connection.engine)
    if kept is not None and kept.read_at <= now < kept.read_at + KEPT_FOR:
        return kept
    found = read(connection, now=now)
    with _lock:
        _kept[connection.engine] = found
    return found


def forget(connection: Connection) -> None:
    """The next who asks reads the database: for those who undo what they wrote."""
    with _lock:
        _kept.pop(connection.engine, None)


def read(connection: Connection, *, now: datetime) -> Turnarounds:
    """The laws of all batches as they stand: of the `MOST` newest ones of the last 28 days, open ones among them."""
    rows = connection.execute(seen(), {"now": now, "since": now - BACK_TO})
    return Turnarounds([_seen(row, now) for row in rows], now)


@cache
def seen() -> Select[*tuple[Any, ...]]:
    """The batches that left from :since on until :now, newest first: when, and whether and when they were back."""
    since, now = bindparam("since", type_=Moment), bindparam("now", type_=Moment)
    is_over = batch.c.state.in_([BatchState.COLLECTED, BatchState.RELEASED])
    seen_last = func.coalesce(batch.c.ended_at, batch.c.collected_at, now)
    until = func.coalesce(batch.c.collected_at, now)
    return (
        select(
            batch.c.model, batch.c.requests, batch.c.submitted_at, came_back.label("back"), is_over.label("over"),
            until.label("until"), seen_last.label("seen_last"),
        )
        .where(batch.c.submitted_at >= since, batch.c.submitted_at <= now)
        .order_by(batch.c.submitted_at.desc())
        .limit(literal(MOST))
    )  # fmt: skip


def _seen(row: Any, now: datetime) -> Seen:
    until = row.until if row.back else row.seen_last if row.over else now
    left_at: datetime = row.submitted_at
    return Seen(row.model, row.requests, utc_hour(left_at), until - left_at, row.back, now - left_at)
