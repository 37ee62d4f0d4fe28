"""Time that passes when a test says so, for everything that the test looks at."""

import time
from datetime import datetime, timedelta

from sqlalchemy import Connection

from lanes.store.database import clock


class PassingTime:
    """The time of one test, and of every stand-in beside it: today's, and later by all that the test let pass."""

    def __init__(self) -> None:
        self._passed = timedelta(0)

    def passes(self, **how_much: float) -> None:
        """Let time pass."""
        self._passed += timedelta(**how_much)

    def of_database(self, connection: Connection) -> datetime:
        """Return the time of the database's clock."""
        return clock(connection) + self._passed

    def of_host(self) -> float:
        """Return the time of the host's clock, in seconds since the epoch."""
        return time.time() + self._passed.total_seconds()
