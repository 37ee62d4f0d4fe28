"""The application's Postgres: it runs queries, which are functions of a connection, in transactions."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar
from uuid import uuid4

from sqlalchemy import Connection, Engine, text

from lanes.store.asking import CLOCK
from lanes.store.engines import (
    SENDER,
    discreet_async_engine,
    discreet_engine,
    give_out_alive,
    sessions_of,
)

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

KEPT = 8  # connections that a process keeps: a drain uses this many at once, and opening one takes longer than a query
MOST = 12
_CLOCK = text(CLOCK)

P = ParamSpec("P")
T = TypeVar("T")


def clock(connection: Connection) -> datetime:
    """Return the database's time, the one clock of leases, deadlines and order."""
    return connection.execute(_CLOCK).scalar_one()


def engine(url: str, *, most: int = 6, part: str | None = None) -> Engine:
    """Return a pool for a client or a command: it keeps two connections and opens up to `most`."""
    return discreet_engine(url, part=part, pool_size=2, max_overflow=most - 2, pool_pre_ping=True)


def _async_engine(url: str, part: str | None) -> "AsyncEngine":
    """Return a pool that reuses the connection used last, so that few of them prepare the same statements."""
    made = discreet_async_engine(
        url, part=part, pool_size=KEPT, max_overflow=MOST - KEPT, pool_use_lifo=True
    )
    give_out_alive(made.sync_engine)
    return made


class Run:
    """A runner of queries within an open transaction; `now` is the database's time, read inside it."""

    def __init__(self, connection: "AsyncConnection", now: datetime) -> None:
        self._connection, self.now = connection, now

    async def __call__(
        self, query: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Return what `query` returns; nothing is committed before the transaction ends."""
        return await self._connection.run_sync(query, *args, **kwargs)


class Database:
    """A runner of queries for asynchronous callers. Close it, or use it as a context manager.

    `url` may be that of a pooler such as PgBouncer; `direct_url` is the same database without one, for roles and LISTEN. An
    `engine` for `url` may be passed in, to keep its compiled statements. `clock` gives the time of each transaction, and
    `sessions` are the database sessions of its connections, which `part` of Lanes names. Its notifications name `sender`.
    """

    def __init__(
        self,
        url: str,
        *,
        direct_url: str | None = None,
        part: str | None = None,
        engine: "AsyncEngine | None" = None,
        clock: Callable[[Connection], datetime] = clock,
    ) -> None:
        self.url, self.direct_url, self.clock = url, direct_url or url, clock
        self._engine = engine or _async_engine(url, part)
        self.sender = uuid4().hex[:12]
        self._transactions = self._engine.execution_options(**{SENDER: self.sender})
        self._one_by_one = self._transactions.execution_options(isolation_level="AUTOCOMMIT")
        self.sessions = sessions_of(self._engine.sync_engine)

    async def run(
        self, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Return what `query` returns; commit its writes, or none of them if it raises."""
        async with self._transactions.begin() as connection:
            return await connection.run_sync(query, *args, **kwargs)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Run]:
        """Run several queries in one transaction, with the yielded runner."""
        async with self._transactions.begin() as connection:
            yield Run(connection, await connection.run_sync(self.clock))

    @asynccontextmanager
    async def statements(self) -> AsyncIterator[Run]:
        """Run several queries as `transaction` does, but commit each statement by itself."""
        async with self._one_by_one.connect() as connection:
            yield Run(connection, await connection.run_sync(self.clock))

    async def look(
        self, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a query that writes nothing, without a transaction."""
        async with self._one_by_one.connect() as connection:
            return await connection.run_sync(query, *args, **kwargs)

    async def now(self) -> datetime:
        """Return the database's time outside a transaction; a transaction has its own."""
        return await self.look(self.clock)

    async def close(self) -> None:
        """Close all connections."""
        await self._engine.dispose()

    async def __aenter__(self) -> "Database":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
