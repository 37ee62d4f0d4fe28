"""Engines whose errors quote no parameters and no rows, and pools that hand out live connections.

An error's text ends in logs, in the state of a run and in an attempt; payloads belong into none of them.
"""

import select
import time
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, LiteralString
from weakref import WeakKeyDictionary

import psycopg
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, ExceptionContext, make_url
from sqlalchemy.exc import DBAPIError, InvalidatePoolError
from sqlalchemy.pool import ConnectionPoolEntry

from lanes import json_data
from lanes.errors import SetupError
from lanes.store.asking import POOLED, libpq_options
from lanes.text import mask_secrets

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

SENDER = "sender"  # the execution option that says whose connection one is: all that a notification carries
BAD_VALUE = "22"  # SQLSTATE class "data exception": the message quotes the value,
NO_VALUE = "22012"  # except for a division by zero
# classes of SQLSTATE: data, integrity, and limits such as the size of an index row
REFUSES = ("22", "23", "54")


def discreet_engine(url: str | URL, *, part: str | None = None, **how: Any) -> Engine:
    """Return an engine for synchronous callers; `part` of Lanes names its sessions."""
    engine = create_engine(url, **_how(url, part, how))
    _listen(engine)
    return engine


def discreet_async_engine(url: str | URL, *, part: str | None = None, **how: Any) -> "AsyncEngine":
    """Return an engine for asynchronous callers; `part` of Lanes names its sessions."""
    # The mapper comes with it: a command does without.
    from sqlalchemy.ext.asyncio import create_async_engine

    made = create_async_engine(url, **_how(url, part, how))
    _listen(made.sync_engine)
    return made


def _how(url: str | URL, part: str | None, how: dict[str, Any]) -> dict[str, Any]:
    given = make_url(url).query
    limits = {name: each for name, each in libpq_options(part).items() if name not in given}
    arguments = limits | how.get("connect_args", {})
    fixed = {
        "hide_parameters": True,
        "json_deserializer": json_data.loads,
        "skip_autocommit_rollback": True,  # a look without a transaction has nothing to roll back
    }
    return {**fixed, **how, "connect_args": arguments}


def _listen(engine: Engine) -> None:
    event.listen(engine, "handle_error", _say_less)
    event.listen(engine, "connect", _begin_session)


# The server's side of LIMITS: the locks of a client that is cut off end within 15 seconds.
OF_SESSION = {
    "tcp_keepalives_idle": "4",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "10s",
    "client_connection_check_interval": "4s",
    "idle_in_transaction_session_timeout": "5min",
}
# Behind a pooler the driver was told another process id, and nothing is set: it would outlive us in a session that others use.
BEGIN_SESSION: LiteralString = """
    select pg_backend_pid(), count(set_config(name, setting, false))
      from unnest(%s::text[], %s::text[]) given (name, setting) where pg_backend_pid() = %s
"""


# Prepared itself, it sees its own name unless the pooler gave it another one, to keep it for its client.
IS_KEPT: LiteralString = """
    select not exists (select from pg_prepared_statements where name = '_pg3_0')
"""


def session_arguments(told: int, **more: str) -> tuple[list[str], list[str], int]:
    """Return the arguments of BEGIN_SESSION for a connection whose driver was `told` this process id."""
    given = OF_SESSION | more
    return list(given), list(given.values()), told


def _begin_session(connection: Any, entry: ConnectionPoolEntry) -> None:
    """Give a new connection its limits, and note its session.

    Behind a pooler it has no session, and prepares statements only if the pooler keeps them for its clients.
    """
    driver: Any = entry.driver_connection
    told, commits = driver.info.backend_pid, connection.autocommit
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute(BEGIN_SESSION, session_arguments(told))
    found = cursor.fetchone()[0]
    cursor.close()
    connection.autocommit = commits
    entry.info["pooled"] = found != told
    if found != told and not _keeps_prepared(connection, driver):
        driver.prepare_threshold = None


def _keeps_prepared(connection: Any, driver: Any) -> bool:
    """Return whether the pooler brings a client's prepared statements to each session that it gives the client.

    PgBouncer does so from 1.22 on, with `max_prepared_statements`. A libpq before 17 cannot tell it which ones are over.
    """
    if not psycopg.capabilities.has_send_close_prepared():
        return False
    before, commits = driver.prepare_threshold, connection.autocommit
    driver.prepare_threshold, connection.autocommit = 0, False  # prepares the first statement
    try:
        cursor = connection.cursor()
        cursor.execute(IS_KEPT)
        kept = bool(cursor.fetchone()[0])
        if not kept:
            cursor.execute("deallocate all")  # the session that it was prepared in is not ours
        cursor.close()
        connection.commit()
    except psycopg.Error:  # another client has left a statement of that name in the session
        connection.rollback()
        kept = False
    driver.prepare_threshold, connection.autocommit = before, commits
    return kept


def refuse_pooler(connection: Connection) -> None:
    """Raise SetupError where a pooler stands between this connection and Postgres."""
    if connection.info.get("pooled"):
        of = connection.engine.url
        raise SetupError(POOLED.format(place=f"the database at {of.host}:{of.port}/{of.database}"))


def is_refusal(error: Exception) -> bool:
    """Return whether Postgres refuses what the rows say, and would again: no connection, lock or server is at fault."""
    state = getattr(error.orig, "sqlstate", None) if isinstance(error, DBAPIError) else None
    return state is not None and state[:2] in REFUSES


def _say_less(context: ExceptionContext) -> None:
    """Reduce the server's error to its first sentence and its subject: its DETAIL may show a whole row."""
    error, wrapped = context.original_exception, context.sqlalchemy_exception
    if not isinstance(error, psycopg.Error):
        return
    # libpq's own message, which may quote the part of the address that it cannot read
    if error.sqlstate is None:
        for each in filter(None, (error, wrapped)):
            each.args = tuple(mask_secrets(it) if isinstance(it, str) else it for it in each.args)
        return
    said = error.diag.message_primary or "no message"
    if error.sqlstate.startswith(BAD_VALUE) and error.sqlstate != NO_VALUE:
        said = "a value cannot be stored as it is"
    about = (error.diag.table_name, error.diag.column_name, error.diag.constraint_name)
    more = dict.fromkeys(name for name in about if name and name not in said)
    said = " ".join([said, f"[{error.sqlstate}]", *more])
    error.args = (said,)
    if wrapped is not None:
        wrapped.args = (f"({type(error).__module__}.{type(error).__name__}) {said}",)


BELIEVED_S = 5.0  # after this time in the pool the server is asked whether a connection lives

_sessions: WeakKeyDictionary[Engine, set[int]] = WeakKeyDictionary()


def give_out_alive(engine: Engine) -> None:
    """Replace dead connections before they are used.

    If the server has ended a connection, something waits on its socket. Only then, or after some idle seconds, is the server
    asked: a statement for each transaction would cost as much as the transaction.
    """

    def record_checkin(_: Any, entry: ConnectionPoolEntry) -> None:
        entry.info["seen"] = time.monotonic()

    def check_alive(connection: Any, entry: ConnectionPoolEntry, _: Any) -> None:
        seen = entry.info.get("seen")
        if seen is None or (time.monotonic() - seen < BELIEVED_S and not _has_input(entry)):
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise InvalidatePoolError from error

    event.listen(engine, "checkin", record_checkin)
    event.listen(engine, "checkout", check_alive)


def sessions_of(engine: Engine) -> Collection[int]:
    """Return the live set of the database sessions of the engine's connections."""
    ours = _sessions.get(engine)
    if ours is None:
        ours = _sessions[engine] = set()
        _keep(ours, engine)
    return ours


def _keep(ours: set[int], engine: Engine) -> None:
    def record_session(_: Any, entry: ConnectionPoolEntry) -> None:
        driver: Any = entry.driver_connection
        # behind a pooler each transaction may have another session, which others have too
        if not entry.info["pooled"]:
            entry.info["session"] = driver.info.backend_pid
            ours.add(driver.info.backend_pid)

    def forget_session(_: Any, entry: ConnectionPoolEntry) -> None:
        ours.discard(entry.info.get("session", 0))

    event.listen(engine, "connect", record_session)
    event.listen(engine, "close", forget_session)


def _has_input(entry: ConnectionPoolEntry) -> bool:
    """Return whether something waits to be read: on an idle connection, that the server has ended it."""
    driver: Any = entry.driver_connection
    if driver.closed:
        return True
    looked = select.poll()
    looked.register(driver.fileno(), select.POLLIN)
    return bool(looked.poll(0))
