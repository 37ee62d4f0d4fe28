"""Limits on waiting for locks: none of our statements waits for another transaction without one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Concatenate, ParamSpec, TypeVar

from psycopg.errors import DeadlockDetected, LockNotAvailable
from sqlalchemy import Connection, Engine, Text, bindparam, func, select, true
from sqlalchemy.exc import DBAPIError, OperationalError

from lanes.errors import Deadlocked, StillLocked

P = ParamSpec("P")
T = TypeVar("T")

OWN_PATIENCE = timedelta(seconds=10)  # how long a command waits
TRIES = 5  # of a call that meets a deadlock; each time one of the waiting transactions goes on

_SET = select(func.set_config("lock_timeout", bindparam("limit", type_=Text), true()))
DEADLOCK = (
    "another transaction holds rows that this call needs, and waits for rows that this transaction holds (a deadlock): nothing "
    "of this call was done; repeat it, or roll back and begin again, and change items in the order of their keys"
)
PATIENCE = timedelta(seconds=1)  # longer than any transaction of ours takes


@contextmanager
def waiting_at_most(connection: Connection, limit: timedelta) -> Iterator[None]:
    """Limit how long statements within wait for a lock.

    Raises:
        StillLocked: one would have waited longer; what was done within is undone, and the transaction goes on.
        Deadlocked: the same, because another transaction waited for this one.
    """
    try:
        with connection.begin_nested():
            before = connection.execute(select(func.current_setting("lock_timeout"))).scalar_one()
            wait_at_most(connection, limit)
            yield
            _set(connection, before)
    except OperationalError as error:
        if gave_up(error):
            raise _refusal(error, limit) from error
        raise


def patiently(
    connection: Connection,
    limit: timedelta,
    query: Callable[Concatenate[Connection, P], T],
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """Return what `query` returns, if none of its statements waits longer than `limit` for a lock.

    Raises:
        StillLocked: one would have waited longer; what the query did is undone.
    """
    with waiting_at_most(connection, limit):
        return query(connection, *args, **kwargs)


def by_itself(
    connection: Connection,
    limit: timedelta,
    query: Callable[Concatenate[Connection, P], T],
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """Run a query as `patiently` does, in a transaction of its own that an error may end."""
    wait_at_most(connection, limit)
    try:
        return query(connection, *args, **kwargs)
    except OperationalError as error:
        if gave_up(error):
            raise _refusal(error, limit) from error
        raise


def repeated(act: Callable[[], T]) -> T:
    """Return what `act` returns, repeated after a deadlock, `TRIES` times in all. It has its own transaction.

    Raises:
        Deadlocked: each try met one.
    """
    for _ in range(TRIES - 1):
        with suppress(Deadlocked):
            return act()
    return act()


def in_own_transaction(
    pool: Engine,
    limit: timedelta,
    query: Callable[Concatenate[Connection, P], T],
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """Return what `query` returns in a transaction of its own, which is repeated after a deadlock.

    Raises:
        StillLocked: a statement would have waited longer than `limit` for a lock; nothing was done.
    """

    def once() -> T:
        with pool.begin() as connection:
            return by_itself(connection, limit, query, *args, **kwargs)

    return repeated(once)


def wait_at_most(connection: Connection, limit: timedelta) -> None:
    """Let later statements of this transaction fail (`gave_up`) instead of waiting longer than `limit` for a lock."""
    _set(connection, setting(limit))


def setting(limit: timedelta) -> str:
    """Return the value of `lock_timeout` for a limit."""
    return f"{max(1, round(limit.total_seconds() * 1000))}ms"  # 0 would wait for ever


def gave_up(error: DBAPIError) -> bool:
    """Return whether a statement failed because another transaction holds what it needs."""
    return isinstance(error.orig, LockNotAvailable | DeadlockDetected)


def _refusal(error: DBAPIError, limit: timedelta) -> StillLocked:
    if isinstance(error.orig, DeadlockDetected):
        return Deadlocked(DEADLOCK)
    return StillLocked(
        f"another transaction has held it for longer than {limit.total_seconds():g} s; try again, or end that "
        "transaction (pg_stat_activity shows it)"
    )


def _set(connection: Connection, lock_timeout: str) -> None:
    connection.execute(_SET, {"limit": lock_timeout})
