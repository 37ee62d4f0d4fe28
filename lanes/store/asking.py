"""Queries of reports, through SQLAlchemy or through psycopg alone, and database addresses for both.

A read-only command starts in half the time without SQLAlchemy.
"""

import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from platform import node
from threading import Lock
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar
from weakref import WeakKeyDictionary

from lanes import json_data

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

T = TypeVar("T")

# Limits on the client's side: libpq notices a dead peer within 10 seconds. Local (Unix) sockets ignore them.
LIMITS = {
    "connect_timeout": 5,
    "keepalives": 1,
    "keepalives_idle": 4,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
POOLED = (
    "{place} is behind a pooler such as PgBouncer, and roles, LISTEN and migrations need a session of Postgres itself: set "
    "LANES_DIRECT_DATABASE_URL to the address of Postgres, and leave LANES_DATABASE_URL to the pooler"
)
# Postgres refuses reads of unlogged tables on a standby: their rows are not replicated.
UNLOGGED = re.compile(r"\blanes\.(capacity|call_wait|limit_status)\b")
ON_STANDBY = (
    "the database is a standby, which has neither the provider's limits nor why calls wait now"
)
CLOCK = "select clock_timestamp() as now"
NAMED = re.compile(r"(?<![:\w]):(\w+)(?!:)")  # `:name`, as in SQLAlchemy, but no `::type` cast


class Ask(Protocol):
    """A function that runs a query within the caller's transaction."""

    def __call__(self, question: str, /, **given: object) -> Sequence[Any]:
        """Return rows with named columns and `_asdict`; `question` is SQL with a `:name` parameter for each argument."""
        ...


def through(connection: "Connection") -> Ask:
    """Return a function that runs queries through SQLAlchemy on this connection; its engine may be asynchronous."""
    from sqlalchemy import text

    on_standby = is_standby(connection.connection.driver_connection)

    def ask(question: str, /, **given: object) -> Sequence[Any]:
        question = _less_unlogged(question) if on_standby else question
        return connection.execute(text(question), given).all()

    return ask


class KeptReading(Generic[T]):
    """A cache of one reading per database, for `kept_for`."""

    def __init__(self, kept_for: timedelta) -> None:
        self._kept_for, self._lock = kept_for, Lock()
        self._kept: WeakKeyDictionary[Engine, tuple[datetime, T]] = WeakKeyDictionary()

    def get(self, connection: "Connection", read: Callable[[Ask], T], *, now: datetime) -> T:
        """Return the cached reading of the connection's database; call `read` for a new one if it is missing or too old."""
        with self._lock:
            kept = self._kept.get(connection.engine)
        if kept is not None and kept[0] <= now < kept[0] + self._kept_for:
            return kept[1]
        reading = read(through(connection))
        with self._lock:
            self._kept[connection.engine] = now, reading
        return reading

    def forget(self, engine: "Engine") -> None:
        """Drop the engine's cached reading: for tests that roll back their writes or point the engine to another database."""
        with self._lock:
            self._kept.pop(engine, None)


def read_as(kind: type[T], row: Any, **others: Any) -> T:
    """Return the row as a dataclass or named tuple: columns fill the fields of the same name, `others` override them."""
    record_type: Any = kind  # the type system cannot express "a dataclass"
    names = (
        record_type._fields
        if issubclass(kind, tuple)
        else [each.name for each in fields(record_type)]
    )
    read = {name: getattr(row, name) for name in names if name not in others and hasattr(row, name)}
    return kind(**read, **others)


def clock(ask: Ask) -> datetime:
    """Return the database's time, the one clock of leases, deadlines and order."""
    (row,) = ask(CLOCK)
    return row.now


@contextmanager
def ask_by_driver(url: str) -> Iterator[Ask]:
    """Yield a function that runs queries through psycopg alone, in a transaction of its own.

    Raises:
        psycopg.Error: the database refuses the connection or a query, or does not accept a connection within 5 s.
    """
    import psycopg
    from psycopg.rows import namedtuple_row
    from psycopg.types.json import set_json_loads

    address, how = plain_url(url), libpq_options()
    with psycopg.connect(
        address, row_factory=namedtuple_row, prepare_threshold=None, **how
    ) as connection:
        set_json_loads(json_data.loads, connection)
        on_standby = is_standby(connection)

        def ask(question: str, /, **given: object) -> Sequence[Any]:
            question = _less_unlogged(question) if on_standby else question
            return connection.execute(_compile_question(question), given).fetchall()

        yield ask


def is_standby(driver: Any) -> bool:
    """Return whether a psycopg connection leads to a standby, which is read-only."""
    return driver.info.parameter_status("in_hot_standby") == "on"


def _less_unlogged(question: str) -> str:
    return UNLOGGED.sub(r"(select (null::lanes.\1).* where false)", question)


@lru_cache(maxsize=256)
def _compile_question(question: str) -> bytes:
    return NAMED.sub(r"%(\1)s", question.replace("%", "%%")).encode()


def libpq_options(part: str | None = None) -> dict[str, Any]:
    """Return libpq's connection options: LIMITS, and the session's name in `pg_stat_activity`.

    The name consists of the part of Lanes, the host and the process id. `part` is the program's name by default.
    `application_name` in an address, and PGAPPNAME, take precedence over the name.
    """
    if part is None:
        program = Path(sys.argv[0] or "python")
        part = program.parent.name if program.stem == "__main__" else program.stem
    # Postgres truncates the name to 63 bytes.
    name = f"lanes {part[:20]}@{node()[:28]}:{os.getpid()}"
    return {**LIMITS, "fallback_application_name": name}


# An address that SQLAlchemy and psycopg parse alike, except for the driver's name in the scheme.
SIMPLE = re.compile(
    r"(?:postgres|postgresql|postgresql\+psycopg)://((?:[\w.~%-]+(?::[\w.~%-]*)?@)?([\w.-]+(?::\d+)?/[\w-]+))"
)


def plain_url(url: str) -> str:
    """Return the address without `+psycopg`, which libpq does not accept."""
    if simple := SIMPLE.fullmatch(url):
        return f"postgresql://{simple[1]}"
    from sqlalchemy.engine import make_url  # slow to import, and simple addresses do not need it

    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def place_of(url: str) -> str | None:
    """Return the host, port and database of a simple address to show to people, or None for any other address."""
    simple = SIMPLE.fullmatch(url)
    return simple and simple[2]
