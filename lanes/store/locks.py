"""Patience with locks: nothing of ours waits without a limit for what another transaction holds."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from psycopg.errors import DeadlockDetected, LockNotAvailable
from sqlalchemy import Connection, func, select
from sqlalchemy.exc import OperationalError

from lanes.errors import StillLocked


@contextmanager
def waiting_at_most(connection: Connection, limit: timedelta) -> Iterator[None]:
    """Within, no statement waits longer than `limit` for a lock.

    Raises:
        StillLocked: one would have; nothing that was done within has happened, and the transaction goes on.
    """
    limit_ms = max(1, round(limit.total_seconds() * 1000))  # 0 would wait for ever
    try:
        with connection.begin_nested():
            before = connection.execute(select(func.current_setting("lock_timeout"))).scalar_one()
            _set(connection, f"{limit_ms}ms")
            yield
            _set(connection, before)
    except OperationalError as error:
        if isinstance(error.orig, LockNotAvailable | DeadlockDetected):
            raise StillLocked(f"another transaction holds it for longer than {limit.total_seconds():g} s") from error
        raise


def _set(connection: Connection, lock_timeout: str) -> None:
    connection.execute(select(func.set_config("lock_timeout", lock_timeout, True)))
