"""Connections of a pool: given out alive without asking the server each time, and known as ours by their sessions."""

import select
import time
from collections.abc import Collection
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Engine, event
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.pool import ConnectionPoolEntry

BELIEVED_S = 5.0  # a connection that was given back so long ago is asked whether it lives

_sessions: WeakKeyDictionary[Engine, set[int]] = WeakKeyDictionary()


def give_out_alive(engine: Engine) -> None:
    """A connection whose other end is gone is replaced before anybody uses it.

    One that the server ended has said so: something waits on its socket. Only then, or when it lay idle for some seconds, is
    the server asked; a statement for each transaction would cost as much as what it is for.
    """

    def checked_in(_: Any, entry: ConnectionPoolEntry) -> None:
        entry.info["seen"] = time.monotonic()

    def checked_out(connection: Any, entry: ConnectionPoolEntry, _: Any) -> None:
        seen = entry.info.get("seen")
        if seen is None or (time.monotonic() - seen < BELIEVED_S and not _told_something(entry)):
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise InvalidatePoolError from error

    event.listen(engine, "checkin", checked_in)
    event.listen(engine, "checkout", checked_out)


def sessions_of(engine: Engine) -> Collection[int]:
    """The database sessions of the engine's connections, as they come and go."""
    ours = _sessions.get(engine)
    if ours is None:
        ours = _sessions[engine] = set()
        _keep(ours, engine)
    return ours


def _keep(ours: set[int], engine: Engine) -> None:
    def opened(_: Any, entry: ConnectionPoolEntry) -> None:
        driver: Any = entry.driver_connection
        entry.info["session"] = driver.info.backend_pid
        ours.add(driver.info.backend_pid)

    def closed(_: Any, entry: ConnectionPoolEntry) -> None:
        ours.discard(entry.info.get("session", 0))

    event.listen(engine, "connect", opened)
    event.listen(engine, "close", closed)


def _told_something(entry: ConnectionPoolEntry) -> bool:
    """Whether something waits to be read: of an idle connection, the word that it was ended, or its end."""
    driver: Any = entry.driver_connection
    if driver.closed:
        return True
    looked = select.poll()
    looked.register(driver.fileno(), select.POLLIN)
    return bool(looked.poll(0))
