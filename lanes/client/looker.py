"""The one look for all who wait in a process."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Self

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from lanes.client.waiter import Waiter
from lanes.store.engines import discreet_async_engine
from lanes.store.settling import results
from lanes.store.signals import LIMITS

AT_ONCE = 1_000  # who wait, in one query


class Looker:
    """The connection that looks, for one look at a time."""

    def __init__(self, pool: AsyncEngine) -> None:
        self._pool = pool
        self._turn = asyncio.Lock()

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str) -> AsyncIterator[Self]:
        """It connects when it is needed."""
        pool = discreet_async_engine(
            url,
            pool_size=1,
            max_overflow=0,
            pool_pre_ping=True,
            connect_args=LIMITS,
            isolation_level="READ COMMITTED",
        )
        try:
            yield cls(pool)
        finally:
            await pool.dispose()

    async def look(self, waiters: Sequence[Waiter]) -> None:
        """Each was told what there is, once. A connection that was lost meanwhile is replaced."""
        async with self._turn:
            try:
                await self._look(waiters)
            except DBAPIError as error:
                if not error.connection_invalidated:
                    raise
                await self._look(waiters)

    async def _look(self, waiters: Sequence[Waiter]) -> None:
        still = [each for each in waiters if not each.found.done()]
        for some in (still[start : start + AT_ONCE] for start in range(0, len(still), AT_ONCE)):
            async with self._pool.begin() as connection:
                found = await connection.run_sync(results.take, [each.asked for each in some])
            for each, what in zip(some, found, strict=True):
                each.tell(what)
