"""Questions of a report, put to a database through SQLAlchemy, or by the driver alone: a command that only reads starts in half
the time without SQLAlchemy.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from lanes import json_data

if TYPE_CHECKING:
    from sqlalchemy import Connection

CLOCK = "select clock_timestamp() as now"
NAMED = re.compile(r"(?<![:\w]):(\w+)(?!:)")  # as SQLAlchemy has it: a cast is none


class Ask(Protocol):
    """Asks a database, within a transaction that somebody else began."""

    def __call__(self, question: str, /, **given: object) -> Sequence[Any]:
        """The rows, their columns by name, and `_asdict` of each; the question names as `:name` what is given."""
        ...


def through(connection: "Connection") -> Ask:
    """Asks through SQLAlchemy, on this connection, which may be one of an asynchronous engine."""
    from sqlalchemy import text

    def ask(question: str, /, **given: object) -> Sequence[Any]:
        return connection.execute(text(question), given).all()

    return ask


def clock(ask: Ask) -> datetime:
    """The database's time: the one clock of leases, deadlines and order."""
    (row,) = ask(CLOCK)
    return row.now


@contextmanager
def by_driver(url: str) -> Iterator[Ask]:
    """Asks by the driver alone, in a transaction of its own.

    Raises:
        psycopg.Error: the database does not answer within 5 s, or refuses.
    """
    import psycopg
    from psycopg.rows import namedtuple_row
    from psycopg.types.json import set_json_loads

    with psycopg.connect(
        plain_url(url), connect_timeout=5, row_factory=namedtuple_row
    ) as connection:
        set_json_loads(json_data.loads, connection)

        def ask(question: str, /, **given: object) -> Sequence[Any]:
            return connection.execute(_as_the_driver_has_it(question), given).fetchall()

        yield ask


@lru_cache(maxsize=256)
def _as_the_driver_has_it(question: str) -> bytes:
    return NAMED.sub(r"%(\1)s", question.replace("%", "%%")).encode()


# What means the same to SQLAlchemy and to the driver, but for the name of the driver.
SIMPLE = re.compile(
    r"(?:postgres|postgresql|postgresql\+psycopg)://((?:[\w.~%-]+(?::[\w.~%-]*)?@)?([\w.-]+(?::\d+)?/[\w-]+))"
)


def plain_url(url: str) -> str:
    """The same address for psycopg itself, which knows no `+psycopg`."""
    if simple := SIMPLE.fullmatch(url):
        return f"postgresql://{simple[1]}"
    from sqlalchemy.engine import make_url  # whoever asks by the driver alone mostly does without

    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def place_of(url: str) -> str | None:
    """Host, port and database of a simple address, for people; None of one that has to be looked at more closely."""
    simple = SIMPLE.fullmatch(url)
    return simple and simple[2]
