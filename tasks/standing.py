"""A standing run: ticks until the next one waits to take over, and looks after the other standing runs meanwhile."""

import asyncio
from collections.abc import AsyncIterator

from prefect.logging import get_run_logger

from lanes.standing.roles import Role
from lanes.store.database import Database
from lanes.store.signals import RoleLock
from tasks.guard import Guard

TAKE_OVER_S = 120.0


class Tenure:
    """The newest run holds the role; an older one hands over at its next tick. One that dies is replaced by any that lives."""

    def __init__(
        self, db: Database, role: Role, *, every_s: float, guard: Guard | None = None
    ) -> None:
        self._lock = RoleLock(db.url, role)
        self._every_s = every_s
        self._guard = guard or Guard(db)
        self._guarding: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Tenure":
        await self._lock.__aenter__()
        self._guarding = asyncio.create_task(self._guard.run())
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._guarding is not None:
            self._guarding.cancel()
            await asyncio.gather(self._guarding, return_exceptions=True)
        await self._guard.close()
        await self._lock.__aexit__(*error)

    async def ticks(self) -> AsyncIterator[int]:
        """Yield a number from 0 at each tick; none if the run before does not hand over within two minutes.

        A role that was lost with its connection is taken anew before the next tick; when another run has it by then,
        there is none.
        """
        if not await self._lock.take_over(within_s=TAKE_OVER_S):
            get_run_logger().warning("the run before did not hand over; leaving the work to it")
            return
        number = 0
        while await self._lock.keep():
            if await self._lock.wanted_by_another():
                return
            yield number
            number += 1
            await asyncio.sleep(self._every_s)
        get_run_logger().warning(
            "the role was lost with its connection, and another run has it; leaving the work to it"
        )
