"""Patience with locks: nothing of ours waits without a limit for what another transaction holds."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Concatenate, ParamSpec, TypeVar

from psycopg.errors import DeadlockDetected, LockNotAvailable
from sqlalchemy import Connection, Text, bindparam, func, select, true
from sqlalchemy.exc import DBAPIError, OperationalError

from lanes.errors import StillLocked

P = ParamSpec("P")
T = TypeVar("T")

_SET = select(func.set_config("lock_timeout", bindparam("limit", type_=Text), true()))
PATIENCE = timedelta(seconds=1)  # longer than any transaction of ours takes; whoever holds on for longer has left it open


@contextmanager
def waiting_at_most(connection: Connection, limit: timedelta) -> Iterator[None]:
    """Within, no statement waits longer than `limit` for a lock.

    Raises:
        StillLocked: one would have; nothing that was done within has happened, and the transaction goes on.
    """
    try:
        with connection.begin_nested():
            before = connection.execute(select(func.current_setting("lock_timeout"))).scalar_one()
            wait_at_most(connection, limit)
            yield
            _set(connection, before)
    except OperationalError as error:
        if gave_up(error):
            raise _still_locked(limit) from error
        raise


def patiently(
    connection: Connection, limit: timedelta, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """What `query` returns, where none of its statements waits longer than `limit` for a lock.

    Raises:
        StillLocked: one would have; nothing of the query has happened.
    """
    with waiting_at_most(connection, limit):
        return query(connection, *args, **kwargs)


def by_itself(
    connection: Connection, limit: timedelta, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """As `patiently`, for a query that has a transaction to itself: what raises ends it, and nothing of it has to be kept."""
    wait_at_most(connection, limit)
    try:
        return query(connection, *args, **kwargs)
    except OperationalError as error:
        if gave_up(error):
            raise _still_locked(limit) from error
        raise


def wait_at_most(connection: Connection, limit: timedelta) -> None:
    """From now on no statement of this transaction waits longer than `limit` for a lock: it fails (`gave_up`)."""
    _set(connection, setting(limit))


def setting(limit: timedelta) -> str:
    """As `lock_timeout` takes it."""
    return f"{max(1, round(limit.total_seconds() * 1000))}ms"  # 0 would wait for ever


def gave_up(error: DBAPIError) -> bool:
    """Whether a statement failed because another transaction held on to what it needs."""
    return isinstance(error.orig, LockNotAvailable | DeadlockDetected)


def _still_locked(limit: timedelta) -> StillLocked:
    return StillLocked(
        f"somebody's open transaction holds it for longer than {limit.total_seconds():g} s; try again, or end that "
        "transaction (pg_stat_activity shows it)"
    )


def _set(connection: Connection, lock_timeout: str) -> None:
    connection.execute(_SET, {"limit": lock_timeout})
