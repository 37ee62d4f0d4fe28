"""The database's time between two looks at it."""

import time
from datetime import datetime, timedelta


class HostClock:
    """The database's time, carried on by this host between two readings."""

    def __init__(self, now: datetime) -> None:
        self._now, self._read_at = now, time.monotonic()

    def __call__(self) -> datetime:
        return self._now + timedelta(seconds=time.monotonic() - self._read_at)
