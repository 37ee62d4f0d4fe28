"""A standing run: ticks until the next one waits to take over. One that breaks is replaced by an automation."""

import asyncio
from collections.abc import AsyncIterator

from prefect.logging import get_run_logger

from lanes.store.database import Database
from lanes.store.signals import Role, RoleLock

TAKE_OVER_S = 120.0


class Standing:
    """The newest run holds the role; an older one hands over at its next tick."""

    def __init__(self, db: Database, role: Role, *, every_s: float) -> None:
        self._lock = RoleLock(db.url, role)
        self._every_s = every_s

    async def __aenter__(self) -> "Standing":
        await self._lock.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._lock.__aexit__(*error)

    async def ticks(self) -> AsyncIterator[int]:
        """Numbers from 0, one a tick; none when the run before does not hand over within two minutes."""
        if not await self._lock.take_over(within_s=TAKE_OVER_S):
            get_run_logger().warning("the run before did not hand over; leaving the work to it")
            return
        number = 0
        while not await self._lock.wanted_by_another():
            yield number
            number += 1
            await asyncio.sleep(self._every_s)
