"""The application's Postgres: runners of queries (functions that take a connection) in transactions.

Every statement of Lanes has a limit on how long it waits for another transaction.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar
from uuid import uuid4

from psycopg.errors import DeadlockDetected, LockNotAvailable
from sqlalchemy import Connection, Engine, Text, bindparam, func, select, text, true
from sqlalchemy.exc import DBAPIError, OperationalError

from lanes.errors import Deadlocked, StillLocked
from lanes.store.asking import CLOCK
from lanes.store.engines import (
    SENDER,
    discreet_async_engine,
    discreet_engine,
    give_out_alive,
    track_sessions,
)

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

# Connections that a pool keeps open: a drain uses this many at once, and opening a connection takes longer than a query.
KEPT = 8
MOST = 12
OWN_PATIENCE = timedelta(seconds=10)  # how long a command waits for a lock
LOCK_PATIENCE = timedelta(seconds=1)  # every transaction of Lanes is shorter
DEADLOCK_TRIES = 5  # few are enough: each deadlock lets one of the transactions proceed
DEADLOCK = (
    "another transaction holds rows that this call needs, and waits for rows that this transaction holds (a deadlock): nothing "
    "of this call was done; repeat it, or roll back and begin again, and change items in the order of their keys"
)
_CLOCK = text(CLOCK)
_SET = select(func.set_config("lock_timeout", bindparam("limit", type_=Text), true()))

P = ParamSpec("P")
T = TypeVar("T")


def clock(connection: Connection) -> datetime:
    """Return the database's time, the one clock of leases, deadlines and order."""
    return connection.execute(_CLOCK).scalar_one()


def engine(url: str, *, most: int = 6, part: str | None = None) -> Engine:
    """Return an engine for a client or a command; its pool keeps two connections and opens up to `most`."""
    return discreet_engine(url, part=part, pool_size=2, max_overflow=most - 2, pool_pre_ping=True)


def _async_engine(url: str, part: str | None) -> "AsyncEngine":
    """Return an engine whose pool reuses the last used connection first, so that few connections prepare each statement."""
    made = discreet_async_engine(
        url, part=part, pool_size=KEPT, max_overflow=MOST - KEPT, pool_use_lifo=True
    )
    give_out_alive(made.sync_engine)
    return made


class Run:
    """A runner of queries within an open transaction; `now` is the database's time, read inside the transaction."""

    def __init__(self, connection: "AsyncConnection", now: datetime) -> None:
        self._connection, self.now = connection, now

    async def __call__(
        self, query: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run `query` and return its value; nothing is committed before the transaction ends."""
        return await self._connection.run_sync(query, *args, **kwargs)


class Database:
    """A runner of queries for asynchronous callers. Close it, or use it as a context manager.

    `url` may lead to a pooler such as PgBouncer; `direct_url` leads to the same database without a pooler, for roles and
    LISTEN. Pass an `engine` for `url` to reuse its compiled statements. `clock` returns the time of each transaction.
    `sessions` are the database sessions of its connections; `part` of Lanes names them. Its notifications carry `sender`.
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
        self.sessions = track_sessions(self._engine.sync_engine)

    async def run(
        self, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run `query` in a transaction and return its value; commit its writes, or roll them back if it raises."""
        async with self._transactions.begin() as connection:
            return await connection.run_sync(query, *args, **kwargs)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Run]:
        """Yield a runner whose queries share one transaction."""
        async with self._transactions.begin() as connection:
            yield Run(connection, await connection.run_sync(self.clock))

    @asynccontextmanager
    async def statements(self) -> AsyncIterator[Run]:
        """Yield a runner as `transaction` does, but commit each statement by itself."""
        async with self._one_by_one.connect() as connection:
            yield Run(connection, await connection.run_sync(self.clock))

    async def look(
        self, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a read-only query without a transaction, and return its value."""
        async with self._one_by_one.connect() as connection:
            return await connection.run_sync(query, *args, **kwargs)

    async def now(self) -> datetime:
        """Return the database's time outside a transaction; inside one, use `Run.now`."""
        return await self.look(self.clock)

    async def close(self) -> None:
        """Close all connections."""
        await self._engine.dispose()

    async def __aenter__(self) -> "Database":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


@contextmanager
def limit_waits(connection: Connection, limit: timedelta) -> Iterator[None]:
    """Limit how long each statement inside the block waits for a lock.

    Raises:
        StillLocked: a statement would have waited longer. The block is rolled back; the transaction stays usable.
        Deadlocked: the same, because another transaction waited for this one.
    """
    try:
        with connection.begin_nested():
            before = connection.execute(select(func.current_setting("lock_timeout"))).scalar_one()
            wait_at_most(connection, limit)
            yield
            _set_lock_timeout(connection, before)
    except OperationalError as error:
        if is_lock_failure(error):
            raise _lock_refusal(error, limit) from error
        raise


def run_patiently(
    connection: Connection,
    limit: timedelta,
    query: Callable[Concatenate[Connection, P], T],
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """Run `query` in a savepoint and return its value; each of its statements waits at most `limit` for a lock.

    Raises:
        StillLocked: a statement would have waited longer; the query is rolled back.
    """
    with limit_waits(connection, limit):
        return query(connection, *args, **kwargs)


def run_alone(
    connection: Connection,
    limit: timedelta,
    query: Callable[Concatenate[Connection, P], T],
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """Run `query` as `run_patiently` does, but without a savepoint: for a transaction of its own, which an error aborts."""
    wait_at_most(connection, limit)
    try:
        return query(connection, *args, **kwargs)
    except OperationalError as error:
        if is_lock_failure(error):
            raise _lock_refusal(error, limit) from error
        raise


def retry_deadlocks(act: Callable[[], T]) -> T:
    """Call `act` and return its value; repeat it after a deadlock, up to `DEADLOCK_TRIES` tries in all.

    `act` must use a transaction of its own.

    Raises:
        Deadlocked: every try ended in a deadlock.
    """
    for _ in range(DEADLOCK_TRIES - 1):
        with suppress(Deadlocked):
            return act()
    return act()


def run_in_transaction(
    pool: Engine,
    limit: timedelta,
    query: Callable[Concatenate[Connection, P], T],
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """Run `query` in a transaction of its own and return its value; repeat the transaction after a deadlock.

    Raises:
        StillLocked: a statement would have waited longer than `limit` for a lock; nothing was written.
    """

    def once() -> T:
        with pool.begin() as connection:
            return run_alone(connection, limit, query, *args, **kwargs)

    return retry_deadlocks(once)


def wait_at_most(connection: Connection, limit: timedelta) -> None:
    """Make later statements of this transaction fail (`is_lock_failure`) instead of waiting longer than `limit` for a lock."""
    _set_lock_timeout(connection, format_limit(limit))


def format_limit(limit: timedelta) -> str:
    """Return the limit as a value of `lock_timeout`, at least 1 ms."""
    return f"{max(1, round(limit.total_seconds() * 1000))}ms"  # 0 would disable the timeout


def is_lock_failure(error: DBAPIError) -> bool:
    """Return whether a statement failed because another transaction holds a lock that it needs."""
    return isinstance(error.orig, LockNotAvailable | DeadlockDetected)


def _lock_refusal(error: DBAPIError, limit: timedelta) -> StillLocked:
    if isinstance(error.orig, DeadlockDetected):
        return Deadlocked(DEADLOCK)
    return StillLocked(
        f"another transaction has held it for longer than {limit.total_seconds():g} s; try again, or end that "
        "transaction (pg_stat_activity shows it)"
    )


def _set_lock_timeout(connection: Connection, lock_timeout: str) -> None:
    connection.execute(_SET, {"limit": lock_timeout})
