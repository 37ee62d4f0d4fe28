"""Transactions of a handle, its own or its caller's, with database errors translated into errors of Lanes.

A handle commits each of its own transactions; only the caller ends the caller's. Users of the client need not know the driver.
"""

import os
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine
from sqlalchemy.exc import DBAPIError, InvalidRequestError, ResourceClosedError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoConnectionFree
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from lanes import errors
from lanes.errors import Deadlocked, SetupError, TransactionUnfit
from lanes.settings import Settings
from lanes.stand.database import DRIVER, read_address
from lanes.stand.whereabouts import database_url
from lanes.store.database import DEADLOCK, DEADLOCK_TRIES, retry_deadlocks
from lanes.store.engines import discreet_async_engine, discreet_engine

KEPT = 2  # connections that stay open between two calls
# admission must see rows that other transactions committed while it waited for them
COMMITTED = "READ COMMITTED"
NO_WAITING = (
    "a wait within a transaction cannot end: items sent in it are answered only after its commit, and its reads may be old; "
    "commit, then wait on a handle of the database's address"
)

T = TypeVar("T")
# SQLSTATE classes: connection, resources, operator intervention (restart, time limit), system
AWAY = ("08", "53", "57", "58")
NO_SCHEMA = ("3F000", "42P01", "42703", "42883")  # no such schema, table, column, function


class Pool:
    """Transactions of our own. An engine that the caller passed in is not disposed of."""

    ours = True

    def __init__(self, engine: Engine, *, owned: bool) -> None:
        self._engine, self._owned = engine, owned
        if owned:
            _engines.add(engine)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Open a transaction that is committed at the end, or rolled back if the block raises."""
        with translate_errors(), self._engine.connect() as connection:
            connection.execution_options(isolation_level=COMMITTED)
            with connection.begin():
                yield connection

    def run(self, act: Callable[[Connection], T]) -> T:
        """Run `act` in a transaction of its own, which is repeated after a deadlock, and return its result."""

        def once() -> T:
            with self.transaction() as connection:
                return act(connection)

        return retry_deadlocks(once)

    def address(self) -> str:
        """Return the address on which waiting callers poll, on connections of their own.

        Raises:
            SetupError: the engine does not reveal its address.
        """
        return _address(self._engine.url)

    def close(self) -> None:
        """Dispose of the engine if this place created it."""
        if self._owned:
            self._engine.dispose()


class Joined:
    """The transaction of a connection that the caller passed in."""

    ours = False

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Yield the caller's connection, without committing or rolling back."""
        with translate_errors():
            _check_begun(self._connection)
            yield self._connection

    def run(self, act: Callable[[Connection], T]) -> T:
        """Run `act` in the caller's transaction, which only the caller can repeat, and return its result."""
        with self.transaction() as connection:
            return act(connection)

    def address(self) -> str:
        """Raise TransactionUnfit: waiting within a transaction is impossible."""
        raise TransactionUnfit(NO_WAITING)

    def close(self) -> None:
        """Do nothing, because nothing was opened."""


class AsyncPool:
    """The same as `Pool`, for asynchronous programs."""

    ours = True

    def __init__(self, engine: AsyncEngine, *, owned: bool) -> None:
        self._engine, self._owned = engine, owned
        if owned:
            _engines.add(engine.sync_engine)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """See `Pool`."""
        with translate_errors():
            async with self._engine.connect() as connection:
                await connection.execution_options(isolation_level=COMMITTED)
                async with connection.begin():
                    yield connection

    async def run(self, act: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """See `Pool`."""
        for _ in range(DEADLOCK_TRIES - 1):
            with suppress(Deadlocked):
                return await self._once(act)
        return await self._once(act)

    async def _once(self, act: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        async with self.transaction() as connection:
            return await act(connection)

    def address(self) -> str:
        """See `Pool`."""
        return _address(self._engine.url)

    async def close(self) -> None:
        """See `Pool`."""
        if self._owned:
            await self._engine.dispose()


class AsyncJoined:
    """The same as `Joined`, for asynchronous programs."""

    ours = False

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """See `Joined`."""
        with translate_errors():
            await self._connection.run_sync(_check_begun)
            yield self._connection

    async def run(self, act: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """See `Joined`."""
        async with self.transaction() as connection:
            return await act(connection)

    def address(self) -> str:
        """Raise TransactionUnfit: waiting within a transaction is impossible."""
        raise TransactionUnfit(NO_WAITING)

    async def close(self) -> None:
        """Do nothing, because nothing was opened."""


def place(where: str | URL | Engine | Connection | None, most: int) -> Pool | Joined:
    """Return the place where a synchronous handle works: an engine or a connection.

    Raises:
        SetupError: the address is not a Postgres address, or the driver is not psycopg.
    """
    match where:
        case Engine():
            _check_driver(where)
            return Pool(where, owned=False)
        case Connection():
            _check_driver(where)
            return Joined(where)
        case None | str() | URL():
            url = _read(where)
            return Pool(discreet_engine(url, **_queue_options(most)), owned=True)
    raise TypeError(
        f"Lanes works on an address, an Engine or a Connection of SQLAlchemy, not on {type(where).__name__}"
    )


def async_place(
    where: str | URL | AsyncEngine | AsyncConnection | None, most: int
) -> AsyncPool | AsyncJoined:
    """Return the place where an asynchronous handle works; see `place`."""
    match where:
        case AsyncEngine():
            _check_driver(where)
            return AsyncPool(where, owned=False)
        case AsyncConnection():
            _check_driver(where)
            return AsyncJoined(where)
        case None | str() | URL():
            url = _read(where)
            return AsyncPool(discreet_async_engine(url, **_queue_options(most)), owned=True)
    raise TypeError(
        f"AsyncLanes works on an address, an AsyncEngine or an AsyncConnection of SQLAlchemy, not on {type(where).__name__}"
    )


def _read(where: str | URL | None) -> URL:
    source = database_url() if where is None else where
    address = source if isinstance(source, str) else source.render_as_string(hide_password=False)
    return read_address(address) if where is None else read_address(address, "the given address")


def _queue_options(most: int) -> dict[str, Any]:
    pool_size = min(KEPT, most)
    return {"pool_size": pool_size, "max_overflow": most - pool_size, "pool_pre_ping": True}


def _check_driver(bind: Engine | Connection | AsyncEngine | AsyncConnection) -> None:
    dialect = bind.dialect
    if f"{dialect.name}+{dialect.driver}" not in ("postgresql+psycopg", "postgresql+psycopg_async"):
        raise SetupError(
            f"Lanes speaks to Postgres through psycopg, not to {dialect.name} through {dialect.driver}: make the engine for "
            f"{DRIVER}://..."
        )


def _check_begun(connection: Connection) -> None:
    """Raise TransactionUnfit if the connection commits each statement by itself."""
    raw = connection.connection.dbapi_connection
    if raw is not None and connection.dialect.detect_autocommit_setting(raw):
        raise TransactionUnfit(
            "this connection commits each statement by itself, so there is no transaction to join: give the handle its engine, "
            "or a connection without AUTOCOMMIT"
        )


def _address(url: URL) -> str:
    if url.database is None:
        raise SetupError(
            "the engine does not say where it connects to, and waiting takes a connection of its own: wait on a handle of the "
            "database's address"
        )
    settings = Settings.read()
    pooled_url, direct = settings.database_url, settings.direct_database_url
    if (
        pooled_url is not None
        and direct is not None
        and read_address(pooled_url.get_secret_value()) == url
    ):
        return direct.get_secret_value()  # a pooler does not forward NOTIFY
    return url.render_as_string(hide_password=False)


_engines: weakref.WeakSet[Engine] = weakref.WeakSet()
# Kept alive, because psycopg warns if an open connection is garbage-collected.
_inherited: list[object] = []


def _forget_connections() -> None:
    """Leave inherited connections to the parent process, in a forked process."""
    for engine in list(_engines):
        _inherited.append(engine.pool)
        engine.dispose(close=False)


os.register_at_fork(after_in_child=_forget_connections)


@contextmanager
def translate_errors() -> Iterator[None]:
    """Raise database errors within the block as errors of Lanes, with the driver's error as the cause."""
    try:
        yield
    except SQLAlchemyError as error:
        lanes_error = translate(error)
        if lanes_error is None:
            raise
        raise lanes_error from error


def translate(error: Exception) -> errors.LanesError | None:
    """Return the error of Lanes for a driver's error, or None if the fault is in Lanes itself."""
    match error:
        case NoConnectionFree():
            return errors.DatabaseAway(
                "every connection of this handle is busy; let it open more, or ask for less at once"
            )
        case DBAPIError():
            return _translate_driver_error(error)
        case ResourceClosedError() | InvalidRequestError():
            return errors.TransactionUnfit(
                "the connection that this handle was given cannot be used as it is (closed, or its transaction has ended): "
                "begin another transaction, and give the handle that one"
            )
    return None


def _translate_driver_error(error: DBAPIError) -> errors.LanesError | None:
    state, kind = getattr(error.orig, "sqlstate", None), type(error.orig).__name__
    message = next(iter(str(error.orig).strip().splitlines()), kind)
    outage = errors.DatabaseAway(f"the database does not answer: {message}")
    match state:
        case None:
            is_away = kind in ("OperationalError", "InterfaceError")
            return outage if error.connection_invalidated or is_away else None
        case "40P01":
            return errors.Deadlocked(DEADLOCK)
        case "55P03":
            return errors.StillLocked("another transaction holds what this one needs; try again")
        case "40001":
            return errors.StillLocked(
                "another transaction changed it meanwhile: begin yours again (READ COMMITTED has no need to)"
            )
        case "25P02":
            return errors.TransactionUnfit(
                "the transaction that this handle joined has failed already: roll it back, and begin again"
            )
        case "25006":
            return errors.SetupError(
                "the database only reads, as a standby does: give the address of the one that writes"
            )
        case "42501":
            return errors.SetupError(f"the user of this address may not do that: {message}")
        case _ if state in NO_SCHEMA:
            return errors.SetupError(
                f"the schema of Lanes is not there, or not this version's: {message}; `lanes up` brings it up to date"
            )
        case _ if state.startswith(AWAY):
            return outage
        case _ if state.startswith("28") or state == "3D000":
            return errors.SetupError(
                f"the database accepts no connection at this address: {message}"
            )
    return None
