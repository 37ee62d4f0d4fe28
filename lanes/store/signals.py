"""Hears NOTIFY and holds roles by advisory lock, each on a connection of its own that ends with its process.

Such a connection can also end before its process: Postgres is restarted, a network drops it, an operator ends it. Then
a role is no longer held, and a listener hears nothing. Both find out, and connect again.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from typing import LiteralString

import psycopg
from psycopg.conninfo import make_conninfo
from sqlalchemy import ColumnElement, Connection, func, select, text

from lanes.backoff import Backoff
from lanes.standing.roles import STANDING, Role
from lanes.store.asking import plain_url

CHANNEL = "lanes"
CLASS = 7_016  # first key of every role's advisory lock
LEAVE_S = 1.0  # for handing a role back
KEEP_WITHIN_S = 30.0  # how long a database that is away is waited for before its role is given up
STATEMENT_S = (
    10.0  # the longest that one statement may take; waiting for a role has a limit of its own
)
RECONNECT = Backoff.of_seconds(0.1, 5.0)  # between two tries to connect
LIMITS = {
    "connect_timeout": 5,
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
# The server's side of the same: a holder that vanished from the network frees its role within some 15 seconds.
LIMITS_OF_SESSION: LiteralString = """
    select set_config('statement_timeout', %s, false), set_config('tcp_keepalives_idle', '5', false),
           set_config('tcp_keepalives_interval', '3', false), set_config('tcp_keepalives_count', '3', false)
"""
HELD = """
    select objid from pg_locks
     where locktype = 'advisory' and granted and classid = :class and objid = any(:roles)
       and database = (select oid from pg_database where datname = current_database())
"""
WAITERS: LiteralString = """
    select exists (select from pg_locks
     where locktype = 'advisory' and not granted and classid = %s and objid = %s
       and database = (select oid from pg_database where datname = current_database()))
"""
WAITING_LIMITS: LiteralString = """
    select set_config('lock_timeout', %s, false), set_config('statement_timeout', %s, false)
"""
_NOTIFY = select(func.pg_notify(CHANNEL, ""))

__all__ = [
    "Role",
    "RoleLock",
    "held_roles",
    "holder_exists",
    "holders",
    "listening",
    "standing_roles",
    "wake",
]


def wake(connection: Connection) -> None:
    """Whoever listens looks again once this transaction has committed: drains, publishers. Several wakes in one are one."""
    connection.execute(_NOTIFY)


def waking() -> ColumnElement[None]:
    """The same as a part of the statement that writes what is to be looked at."""
    return func.pg_notify(CHANNEL, "")


@asynccontextmanager
async def listening(url: str, *, but: Collection[int] = ()) -> AsyncIterator[asyncio.Event]:
    """An event that is set whenever something was committed that a drain may want to know, or may have been.

    What the sessions of `but` committed, as they are at that time, does not set it: whoever did that knows.
    """
    heard = asyncio.Event()
    task = asyncio.create_task(_hear(url, await _listener(url), heard, but))
    try:
        yield heard
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _hear(
    url: str, connection: psycopg.AsyncConnection, heard: asyncio.Event, but: Collection[int]
) -> None:
    """Hears until cancelled. What was committed while the connection was lost went unheard: the event is set."""
    while True:
        with suppress(psycopg.Error):
            async with connection:
                async for each in connection.notifies():
                    if each.pid not in but:
                        heard.set()
        heard.set()  # the caller's next query meets the same outage and reports it
        connection = await _connected_again(url)
        heard.set()


async def _connected_again(url: str) -> psycopg.AsyncConnection:
    failures = 0
    while True:
        try:
            return await _listener(url)
        except (psycopg.Error, OSError):
            failures += 1
            await asyncio.sleep(RECONNECT.seconds_after(failures))


async def _listener(url: str) -> psycopg.AsyncConnection:
    return await _connect(url, f"listen {CHANNEL}")


async def _connect(url: str, first: LiteralString | None = None) -> psycopg.AsyncConnection:
    """A session on which nothing waits without a limit, and which notices when its other end is gone.

    One that nobody wants any more is opened, then closed: Postgres keeps a half open one for a minute.
    """
    connecting = asyncio.create_task(
        psycopg.AsyncConnection.connect(make_conninfo(plain_url(url), **LIMITS), autocommit=True)
    )
    try:
        connection = await asyncio.shield(connecting)
    except asyncio.CancelledError:
        with suppress(psycopg.Error):
            await (await connecting).close()
        raise
    try:
        await connection.execute(LIMITS_OF_SESSION, (_ms(STATEMENT_S),))
        if first is not None:
            await connection.execute(first)
    except BaseException:
        await connection.close()
        raise
    return connection


class RoleLock:
    """One process's hold on a role, or on one rollout.

    The database releases it when the process dies, or its connection does. `held` is what was true when the role was
    last looked at: ask `holds`, `try_take` or `keep` before each use of it.
    """

    def __init__(self, url: str, role: int) -> None:
        self._url, self._role = url, role
        self._connection: psycopg.AsyncConnection | None = None
        self.held = False

    async def __aenter__(self) -> "RoleLock":
        await self._open()
        return self

    async def __aexit__(self, *_: object) -> None:
        """The role is free when this returns, or where the database does not answer, once it sees that we are gone."""
        try:
            if self.held and self._connection is not None:
                with suppress(psycopg.Error, TimeoutError):
                    async with asyncio.timeout(LEAVE_S):
                        await self._connection.execute("select pg_advisory_unlock_all()")
        finally:
            await self._close()

    async def holds(self) -> bool:
        """Whether the role is ours still: the session that holds it was asked, and answered."""
        if self.held:
            try:
                await (await self._open()).execute("select 1")
            except psycopg.Error:
                await self._close()
        return self.held

    async def try_take(self) -> bool:
        """Whether the role is ours now. One that was lost with its connection is taken anew, if nobody else did."""
        if not await self.holds():
            self.held = await self._ask("select pg_try_advisory_lock(%s, %s)")
        return self.held

    async def keep(self, *, within_s: float = KEEP_WITHIN_S) -> bool:
        """The same, with patience for a database that is away.

        Raises:
            psycopg.OperationalError: it was away for longer than `within_s` seconds.
        """
        until = time.monotonic() + within_s
        failures = 0
        while True:
            try:
                return await self.try_take()
            except psycopg.OperationalError:
                failures += 1
                pause_s = RECONNECT.seconds_after(failures)
                if time.monotonic() + pause_s > until:
                    raise
            await asyncio.sleep(pause_s)

    async def take_over(self, *, within_s: float) -> bool:
        """Whether the role is ours after waiting for its holder to hand over."""
        until = time.monotonic() + within_s
        while not await self.holds():
            connection = await self._open()
            left_s = max(0.001, until - time.monotonic())
            try:
                await connection.execute(WAITING_LIMITS, (_ms(left_s), _ms(left_s + STATEMENT_S)))
                await connection.execute(
                    "select pg_advisory_lock(%s, %s)", (CLASS, int(self._role))
                )
                self.held = True
                await connection.execute(WAITING_LIMITS, ("0", _ms(STATEMENT_S)))
            except (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled):
                return False
            except (
                psycopg.OperationalError
            ):  # the connection was lost: wait on, on a new one, for the time that is left
                await self._close()
                if time.monotonic() >= until:
                    raise
        return True

    async def share(self) -> None:
        """The role is ours beside others who share it; taken again when it was lost with its connection."""
        if not await self.holds():
            await self._ask("select true from (select pg_advisory_lock_shared(%s, %s)) taken")
            self.held = True

    async def wanted_by_another(self) -> bool:
        """Whether somebody waits to take the role over."""
        return await self._ask(WAITERS)

    async def _ask(self, query: LiteralString) -> bool:
        """What the database says; on a new connection when the one we had turns out to be lost, and our hold with it."""
        try:
            return await self._told(query)
        except psycopg.OperationalError:
            if self._connection is not None and not self._connection.closed:
                raise
            await self._close()
            return await self._told(query)

    async def _told(self, query: LiteralString) -> bool:
        cursor = await (await self._open()).execute(query, (CLASS, int(self._role)))
        row = await cursor.fetchone()
        return bool(row and row[0])

    async def _open(self) -> psycopg.AsyncConnection:
        """The connection; a new one, which holds nothing, when there is none or it was lost."""
        if self._connection is None or self._connection.closed:
            await self._close()
            self._connection = await _connect(self._url)
        return self._connection

    async def _close(self) -> None:
        self.held = False
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


def held_roles(connection: Connection, roles: Collection[int]) -> set[int]:
    """Which of these roles some process holds now. Nothing is locked by looking."""
    found = connection.execute(text(HELD), {"class": CLASS, "roles": [int(each) for each in roles]})
    return {row.objid for row in found}


def standing_roles(connection: Connection) -> set[int]:
    """Which roles of standing runs some process holds now."""
    return held_roles(connection, [each.role for each in STANDING])


def holder_exists(connection: Connection, role: int) -> bool:
    """Whether some process holds the role now."""
    return holders(connection, role) > 0


def holders(connection: Connection, role: int) -> int:
    """How many processes hold the role now; more than one only where it is shared."""
    return len(connection.execute(text(HELD), {"class": CLASS, "roles": [int(role)]}).all())


def _ms(seconds: float) -> str:
    return f"{max(1, round(seconds * 1000))}ms"
