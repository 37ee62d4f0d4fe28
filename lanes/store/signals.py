"""Listeners for NOTIFY, and roles held by advisory lock, each on a connection of its own that ends with its process.

The connection can also end before the process: Postgres restarts, a network drops it, or an operator ends it. Then the role is
free, and the listener receives nothing. Both detect this and reconnect.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from platform import node
from typing import LiteralString

import psycopg
from psycopg.conninfo import make_conninfo
from sqlalchemy import ColumnElement, Connection, Text, bindparam, func, select, text

from lanes.backoff import Backoff
from lanes.errors import SetupError
from lanes.standing.roles import SPARE, STANDING, Role
from lanes.store.asking import POOLED, libpq_options, place_of, plain_url
from lanes.store.engines import BEGIN_SESSION, SENDER, session_arguments

CHANNEL = "lanes"
CLASS = 7_016  # first key of each role's advisory lock
LEAVE_S = 1.0  # timeout for releasing a role
KEEP_WITHIN_S = 30.0  # how long `RoleLock.keep` waits for an unreachable database
STATEMENT_S = 10.0  # statement timeout; waiting for a role has a timeout of its own
RECONNECT = Backoff.from_seconds(0.1, 5.0)  # between two tries to connect
HELD = """
    select objid, pid from pg_locks
     where locktype = 'advisory' and granted and classid = :class and objid = any(:roles)
       and database = (select oid from pg_database where datname = current_database())
"""
# `libpq_options` names the sessions of drains in this form.
DRAIN_HOSTS = """
    select distinct split_part(split_part(application_name, '@', 2), ':', 1) from pg_stat_activity
     where datname = current_database() and application_name like 'lanes drain@%'
"""
WAITERS: LiteralString = """
    select exists (select from pg_locks
     where locktype = 'advisory' and not granted and classid = %s and objid = %s
       and database = (select oid from pg_database where datname = current_database()))
"""
# Postgres hides the ages of other users' sessions; these sessions count as older.
SHARERS: LiteralString = """
    select count(*), count(*) filter (where (other.backend_start, other.pid) > (own.backend_start, own.pid))
      from pg_locks held join pg_stat_activity other using (pid), pg_stat_activity own
     where own.pid = pg_backend_pid() and locktype = 'advisory' and granted and classid = %s and objid = %s
       and database = (select oid from pg_database where datname = current_database())
"""
WAITING_LIMITS: LiteralString = """
    select set_config('lock_timeout', %s, false), set_config('statement_timeout', %s, false)
"""


def wake(connection: Connection) -> None:
    """Wake all listeners (drains, publishers) once this transaction has committed; repeated calls send one notification."""
    connection.execute(_NOTIFY, sender(connection))


def waking() -> ColumnElement[None]:
    """Return `wake` as an expression for a writing statement; `sender` returns the parameter that it needs."""
    return func.pg_notify(CHANNEL, bindparam(SENDER, "", type_=Text))


_NOTIFY = select(waking())


def sender(connection: Connection) -> dict[str, str]:
    """Return the parameter of `waking`: the connection's sender, by which the sender recognizes its own notifications."""
    return {SENDER: connection.get_execution_options().get(SENDER, "")}


@asynccontextmanager
async def listening(
    url: str, *, but: Collection[int] = (), of: str = ""
) -> AsyncIterator[asyncio.Event]:
    """Yield an event that is set when another session has, or may have, committed something for a drain.

    Commits of the sessions in `but` and of the sender `of` do not set the event: the caller made them itself. The sender is
    needed behind a pooler, where the caller has no sessions of its own.
    """
    event = asyncio.Event()
    task = asyncio.create_task(_listen(url, await _listener(url), event, but, of))
    try:
        yield event
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _listen(
    url: str,
    connection: psycopg.AsyncConnection,
    event: asyncio.Event,
    own_sessions: Collection[int],
    own_sender: str,
) -> None:
    """Listen until cancelled. A lost connection sets the event, because notifications may have been missed."""
    while True:
        with suppress(psycopg.Error):
            async with connection:
                async for notification in connection.notifies():
                    if notification.pid not in own_sessions and not (
                        own_sender and notification.payload == own_sender
                    ):
                        event.set()
        event.set()  # the caller's next query meets the same outage and reports it
        connection = await _reconnect(url)
        event.set()


async def _reconnect(url: str) -> psycopg.AsyncConnection:
    failures = 0
    while True:
        try:
            return await _listener(url)
        except (psycopg.Error, OSError):
            failures += 1
            await asyncio.sleep(RECONNECT.seconds_after(failures))


async def _listener(url: str) -> psycopg.AsyncConnection:
    return await _connect(url, "listen", f"listen {CHANNEL}")


async def _connect(
    url: str, part: str, first: LiteralString | None = None
) -> psycopg.AsyncConnection:
    """Open a session that limits each wait and detects a dead peer.

    When cancelled, finish opening the session and then close it: Postgres would keep a half-open session for a minute.

    Raises:
        SetupError: the address leads to a pooler instead of Postgres itself.
    """
    address = make_conninfo(plain_url(url), **libpq_options(part))
    connecting = asyncio.create_task(psycopg.AsyncConnection.connect(address, autocommit=True))
    try:
        connection = await asyncio.shield(connecting)
    except asyncio.CancelledError:
        with suppress(psycopg.Error):
            await (await connecting).close()
        raise
    try:
        known_pid = connection.info.backend_pid
        limits = session_arguments(known_pid, statement_timeout=_ms(STATEMENT_S))
        row = await (await connection.execute(BEGIN_SESSION, limits)).fetchone()
        if row is None or row[0] != known_pid:
            raise SetupError(
                POOLED.format(place=f"the database at {place_of(url) or 'its address'}")
            )
        if first is not None:
            await connection.execute(first)
    except BaseException:
        await connection.close()
        raise
    return connection


class RoleLock:
    """An advisory lock on a role, or on a number (a rollout's, or the process's own); `part` then names the session.

    The database releases the lock when the process or its connection dies. `held` is the state at the last check: call `holds`,
    `try_take` or `keep` before each use.
    """

    def __init__(self, url: str, role: int, *, part: str = "rollout") -> None:
        self._url, self._key = url, (CLASS, int(role))
        self._part = role.name.lower() if isinstance(role, Role) else part
        self._connection: psycopg.AsyncConnection | None = None
        self.held = False

    async def __aenter__(self) -> "RoleLock":
        await self._open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.release()

    async def release(self) -> None:
        """Release the role; a database that does not respond releases it once it detects the closed connection."""
        try:
            if self.held and self._connection is not None:
                with suppress(psycopg.Error, TimeoutError):
                    async with asyncio.timeout(LEAVE_S):
                        await self._connection.execute("select pg_advisory_unlock_all()")
        finally:
            await self._close()

    async def holds(self) -> bool:
        """Check the session that holds the role, and return whether this process still holds it."""
        if self.held:
            try:
                await (await self._open()).execute("select 1")
            except psycopg.Error:
                await self._close()
        return self.held

    async def try_take(self) -> bool:
        """Take the role if it is free, also after its connection was lost, and return whether this process holds it."""
        if not await self.holds():
            self.held = await self._ask("select pg_try_advisory_lock(%s, %s)")
        return self.held

    async def keep(self, *, within_s: float = KEEP_WITHIN_S) -> bool:
        """Take the role as `try_take` does, and wait while the database is unavailable.

        Raises:
            psycopg.OperationalError: the database was unavailable for longer than `within_s` seconds.
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
        """Wait up to `within_s` seconds for the holder to release the role, and return whether this process holds it."""
        until = time.monotonic() + within_s
        while not await self.holds():
            connection = await self._open()
            left_s = max(0.001, until - time.monotonic())
            try:
                await connection.execute(WAITING_LIMITS, (_ms(left_s), _ms(left_s + STATEMENT_S)))
                await connection.execute("select pg_advisory_lock(%s, %s)", self._key)
                self.held = True
                await connection.execute(WAITING_LIMITS, ("0", _ms(STATEMENT_S)))
            except (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled):
                return False
            except psycopg.OperationalError:  # connection lost: wait on for the remaining time
                await self._close()
                if time.monotonic() >= until:
                    raise
        return True

    async def share(self) -> None:
        """Hold the role's lock in shared mode, together with other processes; take it again after a lost connection."""
        if not await self.holds():
            await self._ask("select true from (select pg_advisory_lock_shared(%s, %s)) taken")
            self.held = True

    async def count_sharers(self) -> tuple[int, int]:
        """Return how many processes hold a shared role, and how many of their sessions are younger than this one."""
        cursor = await (await self._open()).execute(SHARERS, self._key)
        return await cursor.fetchone() or (0, 0)

    async def is_wanted_by_another(self) -> bool:
        """Return whether another session waits for the role."""
        return await self._ask(WAITERS)

    async def _ask(self, query: LiteralString) -> bool:
        """Run a query about the role and return its boolean; use a new connection if the old one, and the role, is lost."""
        try:
            return await self._fetch(query)
        except psycopg.OperationalError:
            if self._connection is not None and not self._connection.closed:
                raise
            await self._close()
            return await self._fetch(query)

    async def _fetch(self, query: LiteralString) -> bool:
        cursor = await (await self._open()).execute(query, self._key)
        row = await cursor.fetchone()
        return bool(row and row[0])

    async def _open(self) -> psycopg.AsyncConnection:
        """Return the connection; if it is missing or lost, open a new one, which does not hold the role."""
        if self._connection is None or self._connection.closed:
            await self._close()
            self._connection = await _connect(self._url, self._part)
        return self._connection

    async def _close(self) -> None:
        self.held = False
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


def list_held_roles(connection: Connection, roles: Collection[int]) -> set[int]:
    """Return the roles among `roles` that any process holds now, without taking a lock."""
    found = connection.execute(text(HELD), {"class": CLASS, "roles": [int(each) for each in roles]})
    return {row.objid for row in found}


def read_standing_roles(connection: Connection) -> set[int]:
    """Return the roles of standing runs that any process holds now."""
    return list_held_roles(connection, [each.role for each in (*STANDING, SPARE)])


def is_held_elsewhere(connection: Connection, role: int) -> bool:
    """Return whether a process on another host holds the role now, according to its session's name."""
    holder = f"select application_name from ({HELD}) held join pg_stat_activity using (pid)"
    found = connection.execute(text(holder), {"class": CLASS, "roles": [int(role)]}).scalars()
    return any(f"@{node()[:28]}:" not in (name or "") for name in found)


def holder_exists(connection: Connection, role: int) -> bool:
    """Return whether a process holds the role now."""
    return holders(connection, role) > 0


def holders(connection: Connection, role: int) -> int:
    """Return the number of processes that hold the role now; only a shared role has more than one."""
    return len(connection.execute(text(HELD), {"class": CLASS, "roles": [int(role)]}).all())


def drain_hosts(connection: Connection) -> set[str]:
    """Return the hosts of drains, as far as this user may see their sessions."""
    return set(connection.execute(text(DRAIN_HOSTS)).scalars())


def _ms(seconds: float) -> str:
    return f"{max(1, round(seconds * 1000))}ms"
