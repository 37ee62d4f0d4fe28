"""The application's Postgres: queries are plain functions of a connection, run here one transaction each."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, Engine, text

from lanes.store.asking import CLOCK
from lanes.store.engines import discreet_async_engine, discreet_engine, give_out_alive, sessions_of

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

KEPT = 8  # connections of one process: what a drain does at once keeps them, because opening one takes longer than a query
MOST = 12
_CLOCK = text(CLOCK)

P = ParamSpec("P")
T = TypeVar("T")


def clock(connection: Connection) -> datetime:
    """The database's time: the one clock of leases, deadlines and order."""
    return connection.execute(_CLOCK).scalar_one()


def engine(url: str, *, most: int = 6) -> Engine:
    """A small pool for a client or a command: two connections are kept, `most` are opened at once."""
    return discreet_engine(url, pool_size=2, max_overflow=most - 2, pool_pre_ping=True)


def _async_engine(url: str) -> "AsyncEngine":
    """The connection that was used last is used next: what the server has prepared on it is not prepared on all of them."""
    engine = discreet_async_engine(
        url, pool_size=KEPT, max_overflow=MOST - KEPT, pool_use_lifo=True
    )
    give_out_alive(engine.sync_engine)
    return engine


class Run:
    """Runs queries within an open transaction. `now` is the transaction's one clock, read inside it from the database."""

    def __init__(self, connection: "AsyncConnection", now: datetime) -> None:
        self._connection, self.now = connection, now

    async def __call__(
        self, query: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """What `query` returns; nothing is committed before the transaction ends."""
        return await self._connection.run_sync(query, *args, **kwargs)


class Database:
    """Runs named queries for asynchronous callers. Close it, or use it as a context manager.

    With an `engine` that leads to `url`, a caller keeps what that engine compiled from one database to the next. All that
    is done through it happens at the time that `clock` tells, and on one of its `sessions`.
    """

    def __init__(
        self,
        url: str,
        *,
        engine: "AsyncEngine | None" = None,
        clock: Callable[[Connection], datetime] = clock,
    ) -> None:
        self.url, self.clock = url, clock
        self._engine = engine or _async_engine(url)
        self._one_by_one = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        self.sessions = sessions_of(self._engine.sync_engine)

    async def run(
        self, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """What `query` returns; its writes are committed, or none of them when it raises."""
        async with self._engine.begin() as connection:
            return await connection.run_sync(query, *args, **kwargs)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Run]:
        """Several queries in one transaction: call the yielded runner like `run`; it also hands out the time."""
        async with self._engine.begin() as connection:
            yield Run(connection, await connection.run_sync(self.clock))

    @asynccontextmanager
    async def statements(self) -> AsyncIterator[Run]:
        """As `transaction`, but each statement is committed by itself: for those that need not be all or nothing."""
        async with self._one_by_one.connect() as connection:
            yield Run(connection, await connection.run_sync(self.clock))

    async def look(
        self, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """As `run`, where nothing is written: no transaction is begun, nor ended."""
        async with self._one_by_one.connect() as connection:
            return await connection.run_sync(query, *args, **kwargs)

    async def now(self) -> datetime:
        """The database's time, where nothing is written; a transaction that writes hands out its own."""
        return await self.look(self.clock)

    async def close(self) -> None:
        """Every connection is given back."""
        await self._engine.dispose()

    async def __aenter__(self) -> "Database":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
