"""Engines whose errors quote no parameters and no rows, and pools that hand out live connections.

The text of an error reaches logs, run states and attempts, and payloads must not appear there.
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

# The execution option that identifies a connection's owner; its value is the whole payload of a notification.
SENDER = "sender"
BAD_VALUE = "22"  # SQLSTATE class "data exception": the message quotes the value,
NO_VALUE = "22012"  # except for a division by zero
# SQLSTATE classes of refused values: data, integrity, and limits such as the size of an index row
REFUSES = ("22", "23", "54")


def discreet_engine(url: str | URL, *, part: str | None = None, **how: Any) -> Engine:
    """Return an engine for synchronous callers; its sessions are named after `part` of Lanes."""
    engine = create_engine(url, **_connect_options(url, part, how))
    _listen(engine)
    return engine


def discreet_async_engine(url: str | URL, *, part: str | None = None, **how: Any) -> "AsyncEngine":
    """Return an engine for asynchronous callers; its sessions are named after `part` of Lanes."""
    # This import also loads the ORM mapper, which commands do not need.
    from sqlalchemy.ext.asyncio import create_async_engine

    made = create_async_engine(url, **_connect_options(url, part, how))
    _listen(made.sync_engine)
    return made


def _connect_options(url: str | URL, part: str | None, how: dict[str, Any]) -> dict[str, Any]:
    given = make_url(url).query
    limits = {name: each for name, each in libpq_options(part).items() if name not in given}
    arguments = limits | how.get("connect_args", {})
    fixed = {
        "hide_parameters": True,
        "json_deserializer": json_data.loads,
        "skip_autocommit_rollback": True,  # a query in autocommit has nothing to roll back
    }
    return {**fixed, **how, "connect_args": arguments}


def _listen(engine: Engine) -> None:
    event.listen(engine, "handle_error", _say_less)
    event.listen(engine, "connect", _begin_session)


# Limits on the server's side, as LIMITS on the client's: the locks of a disconnected client end within 15 seconds.
OF_SESSION = {
    "tcp_keepalives_idle": "4",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "10s",
    "client_connection_check_interval": "4s",
    "idle_in_transaction_session_timeout": "5min",
}
# Sets session settings only if the driver knows the backend's real process id. Behind a pooler it knows another id, and the
# settings would stay in a server session that other clients share.
BEGIN_SESSION: LiteralString = """
    select pg_backend_pid(), count(set_config(name, setting, false))
      from unnest(%s::text[], %s::text[]) given (name, setting) where pg_backend_pid() = %s
"""


# This statement is itself prepared as `_pg3_0`. It finds that name in its session unless the pooler renamed it, which poolers
# do when they keep prepared statements for their clients.
IS_KEPT: LiteralString = """
    select not exists (select from pg_prepared_statements where name = '_pg3_0')
"""


def session_arguments(known_pid: int, **more: str) -> tuple[list[str], list[str], int]:
    """Return the arguments of BEGIN_SESSION; `told` is the backend's process id according to the driver."""
    given = OF_SESSION | more
    return list(given), list(given.values()), known_pid


def _begin_session(connection: Any, entry: ConnectionPoolEntry) -> None:
    """Set the limits of a new connection, and record whether it goes through a pooler.

    Behind a pooler the connection has no session of its own, and prepares statements only if the pooler keeps them for its
    clients.
    """
    driver: Any = entry.driver_connection
    known_pid, commits = driver.info.backend_pid, connection.autocommit
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute(BEGIN_SESSION, session_arguments(known_pid))
    actual_pid = cursor.fetchone()[0]
    cursor.close()
    connection.autocommit = commits
    entry.info["pooled"] = actual_pid != known_pid
    if actual_pid != known_pid and not _keeps_prepared(connection, driver):
        driver.prepare_threshold = None


def _keeps_prepared(connection: Any, driver: Any) -> bool:
    """Return whether the pooler makes a client's prepared statements available in every session that it assigns to the client.

    PgBouncer has done this since 1.22, with `max_prepared_statements`. A libpq older than 17 cannot tell the pooler which
    prepared statements are closed.
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
            cursor.execute("deallocate all")  # other clients share the session that prepared it
        cursor.close()
        connection.commit()
    except psycopg.Error:  # another client has left a statement of that name in the session
        connection.rollback()
        kept = False
    driver.prepare_threshold, connection.autocommit = before, commits
    return kept


def refuse_pooler(connection: Connection) -> None:
    """Raise SetupError if this connection goes through a pooler."""
    if connection.info.get("pooled"):
        of = connection.engine.url
        raise SetupError(POOLED.format(place=f"the database at {of.host}:{of.port}/{of.database}"))


def is_refusal(error: Exception) -> bool:
    """Return whether Postgres refused the values themselves, and would refuse them again.

    False for errors of a connection, a lock or the server.
    """
    state = getattr(error.orig, "sqlstate", None) if isinstance(error, DBAPIError) else None
    return state is not None and state[:2] in REFUSES


def _say_less(context: ExceptionContext) -> None:
    """Reduce a server error to its primary message, SQLSTATE and table, column or constraint: its DETAIL may quote a row."""
    error, wrapped = context.original_exception, context.sqlalchemy_exception
    if not isinstance(error, psycopg.Error):
        return
    # Without a SQLSTATE this is libpq's own message, which may quote the part of the address that it cannot parse.
    if error.sqlstate is None:
        for each in filter(None, (error, wrapped)):
            each.args = tuple(mask_secrets(it) if isinstance(it, str) else it for it in each.args)
        return
    message = error.diag.message_primary or "no message"
    if error.sqlstate.startswith(BAD_VALUE) and error.sqlstate != NO_VALUE:
        message = "a value cannot be stored as it is"
    about = (error.diag.table_name, error.diag.column_name, error.diag.constraint_name)
    more = dict.fromkeys(name for name in about if name and name not in message)
    message = " ".join([message, f"[{error.sqlstate}]", *more])
    error.args = (message,)
    if wrapped is not None:
        wrapped.args = (f"({type(error).__module__}.{type(error).__name__}) {message}",)


BELIEVED_S = 5.0  # a connection that has been idle in the pool for longer is pinged before use

_sessions: WeakKeyDictionary[Engine, set[int]] = WeakKeyDictionary()


def give_out_alive(engine: Engine) -> None:
    """Make the pool replace dead connections before it hands them out.

    When the server ends a connection, its socket becomes readable. The pool pings a connection only then, or after
    `BELIEVED_S` idle seconds: a ping before each transaction would cost as much as the transaction.
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


def track_sessions(engine: Engine) -> Collection[int]:
    """Return the backend process ids of the engine's open connections, as a set that stays up to date."""
    ours = _sessions.get(engine)
    if ours is None:
        ours = _sessions[engine] = set()
        _keep(ours, engine)
    return ours


def _keep(ours: set[int], engine: Engine) -> None:
    def record_session(_: Any, entry: ConnectionPoolEntry) -> None:
        driver: Any = entry.driver_connection
        # Behind a pooler each transaction may run in a different session, which other clients use too.
        if not entry.info["pooled"]:
            entry.info["session"] = driver.info.backend_pid
            ours.add(driver.info.backend_pid)

    def forget_session(_: Any, entry: ConnectionPoolEntry) -> None:
        ours.discard(entry.info.get("session", 0))

    event.listen(engine, "connect", record_session)
    event.listen(engine, "close", forget_session)


def _has_input(entry: ConnectionPoolEntry) -> bool:
    """Return whether the socket is readable or closed: on an idle connection, a sign that the server has ended it."""
    driver: Any = entry.driver_connection
    if driver.closed:
        return True
    looked = select.poll()
    looked.register(driver.fileno(), select.POLLIN)
    return bool(looked.poll(0))
