"""A job as a Python program sees it: its status, and waiting for its end."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from lanes.settling.jobs import JobStatus

POLL_S = 1.0


@dataclass(frozen=True)
class Job:
    """Items that were submitted together under one name, from a file, by event, in SQL or by a client."""

    name: str
    look: Callable[[str], JobStatus]

    def status(self) -> JobStatus:
        """Return the progress, failures, cost and expected end of the job.

        Raises:
            UnknownItem: no job has that name.
        """
        return self.look(self.name)

    def wait(self, timeout_s: float = float("inf")) -> JobStatus:
        """Return its status once it is done, or when `timeout_s` seconds have passed (`is_done` says which).

        Raises:
            UnknownItem: no job has that name.
        """
        until = time.monotonic() + timeout_s
        while not (found := self.status()).is_done and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, POLL_S))
        return found


@dataclass(frozen=True)
class AsyncJob:
    """As `Job`, for asynchronous programs."""

    name: str
    look: Callable[[str], Awaitable[JobStatus]]

    async def status(self) -> JobStatus:
        """See `Job.status`."""
        return await self.look(self.name)

    async def wait(self, timeout_s: float = float("inf")) -> JobStatus:
        """See `Job.wait`."""
        until = time.monotonic() + timeout_s
        while True:
            found, left = await self.status(), until - time.monotonic()
            if found.is_done or left <= 0:
                return found
            await asyncio.sleep(min(left, POLL_S))
