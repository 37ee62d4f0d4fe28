"""A clock of a test: time passes when the test says so, for the product and for the stand-ins."""

import time
from datetime import datetime, timedelta

from sqlalchemy import Connection

from lanes.store.database import clock


class PassingTime:
    """The clock of one test and of its stand-ins: the real time, plus the time that the test let pass."""

    def __init__(self) -> None:
        self._passed = timedelta(0)

    def passes(self, **how_much: float) -> None:
        """Let this much time pass."""
        self._passed += timedelta(**how_much)

    def of_database(self, connection: Connection) -> datetime:
        """Return the time of the database's clock, plus the passed time."""
        return clock(connection) + self._passed

    def of_host(self) -> float:
        """Return the time of the host's clock, plus the passed time, in seconds since the epoch."""
        return time.time() + self._passed.total_seconds()
