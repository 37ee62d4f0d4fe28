"""Hears NOTIFY and holds roles by advisory lock, each on a connection of its own that ends with its process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import IntEnum
from typing import LiteralString

import psycopg
from sqlalchemy import Connection, Select, column, select, table, text

from lanes.store.database import plain_url

CHANNEL = "lanes"
CLASS = 7_016  # first key of every role's advisory lock
HOLDERS = """
    select count(*) from pg_locks
     where locktype = 'advisory' and granted and classid = :class and objid = :role
       and database = (select oid from pg_database where datname = current_database())
"""
WAITERS: LiteralString = """
    select exists (select from pg_locks
     where locktype = 'advisory' and not granted and classid = %s and objid = %s
       and database = (select oid from pg_database where datname = current_database()))
"""


class Role(IntEnum):
    """What only one process does at a time; the number is the second key of its advisory lock."""

    READER = 10  # reads the event stream and routes
    KEEPER = 11  # stays warm
    COLLECTOR = 12  # ticks `collect`
    WATCHER = 13  # ticks `watch`
    SUBMITTER = 14  # creates batches, one at a time
    DRAIN = 15  # shared: every drain holds it, so that they can be counted


@asynccontextmanager
async def listening(url: str) -> AsyncIterator[asyncio.Event]:
    """An event that is set whenever something was committed that a drain may want to know."""
    heard = asyncio.Event()
    async with await psycopg.AsyncConnection.connect(plain_url(url), autocommit=True) as connection:
        await connection.execute(f"listen {CHANNEL}")

        async def hear() -> None:
            try:
                async for _ in connection.notifies():
                    heard.set()
            except psycopg.OperationalError:
                heard.set()  # the caller's next query meets the same outage and reports it

        task = asyncio.create_task(hear())
        try:
            yield heard
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


class RoleLock:
    """One process's hold on a role, or on one rollout. The database releases it when the process dies."""

    def __init__(self, url: str, role: int) -> None:
        self._url, self._role = url, role
        self._connection: psycopg.AsyncConnection | None = None
        self.held = False

    async def __aenter__(self) -> "RoleLock":
        self._connection = await psycopg.AsyncConnection.connect(plain_url(self._url), autocommit=True)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._connection is not None:
            await self._connection.close()
        self.held = False

    async def try_take(self) -> bool:
        """Whether the role is ours now."""
        if not self.held:
            self.held = await self._ask("select pg_try_advisory_lock(%s, %s)")
        return self.held

    async def take_over(self, *, within_s: float) -> bool:
        """Whether the role is ours after waiting for its holder to hand over."""
        assert self._connection is not None
        timeout = f"{max(1, round(within_s * 1000))}ms"
        await self._connection.execute("select set_config('lock_timeout', %s, false)", (timeout,))
        try:
            await self._connection.execute("select pg_advisory_lock(%s, %s)", (CLASS, int(self._role)))
            self.held = True
        except psycopg.errors.LockNotAvailable:
            self.held = False
        return self.held

    async def share(self) -> None:
        """The role is ours beside others who share it."""
        assert self._connection is not None
        await self._connection.execute("select pg_advisory_lock_shared(%s, %s)", (CLASS, int(self._role)))
        self.held = True

    async def session(self) -> int:
        """The database session that holds it: others see by it whether we live."""
        assert self._connection is not None
        return self._connection.info.backend_pid

    async def wanted_by_another(self) -> bool:
        """Whether somebody waits to take the role over."""
        return await self._ask(WAITERS)

    async def _ask(self, query: LiteralString) -> bool:
        assert self._connection is not None
        cursor = await self._connection.execute(query, (CLASS, int(self._role)))
        row = await cursor.fetchone()
        return bool(row and row[0])


def holder_exists(connection: Connection, role: int) -> bool:
    """Whether some process holds the role now."""
    return holders(connection, role) > 0


def holders(connection: Connection, role: int) -> int:
    """How many processes hold the role now; more than one only where it is shared."""
    return connection.execute(text(HOLDERS), {"class": CLASS, "role": int(role)}).scalar_one()


def sessions_of(role: int) -> Select[int]:
    """The database sessions that hold the role now."""
    locks = table("pg_locks", *map(column, ("locktype", "granted", "classid", "objid", "database", "pid")))
    here = select(text("oid")).select_from(text("pg_database")).where(text("datname = current_database()"))
    return select(locks.c.pid).where(
        locks.c.locktype == "advisory", locks.c.granted, locks.c.classid == CLASS, locks.c.objid == int(role),
        locks.c.database == here.scalar_subquery(),
    )  # fmt: skip
