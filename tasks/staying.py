"""The roles of a drain, and whether it stays. It outlasts a database that is away, because it may hold paid answers."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

import psycopg
from prefect import get_client
from prefect.logging import get_run_logger
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionFree

from lanes.realtime.drains import POOL, Sight, most_drains, stays
from lanes.settings import Settings
from lanes.store.database import Database
from lanes.store.signals import Role, RoleLock, held_elsewhere, holder_exists, holders

LOOK_EVERY_S = 0.5  # how often roles are looked at
PREFECT_S = 10.0  # how long Prefect may take to tell the limit of the pool
AWAY_S = 120.0  # how long a database may be away before the run ends
TAKE_OVER_S = 60.0  # how long a standing drain waits for the one that is kept warm
ROUTER_S = 10.0  # how long it then waits for the router


@dataclass(frozen=True)
class Roles:
    """What a drain holds, or may come to hold."""

    alive: RoleLock  # shared by all drains: it tells how many there are
    router: RoleLock
    keeper: RoleLock
    standby: RoleLock

    async def release(self) -> None:
        """Free all of them, so that other drains take them before this one has ended."""
        held = self.router, self.keeper, self.standby, self.alive
        await asyncio.gather(*(each.release() for each in held))


@asynccontextmanager
async def roles(url: str, *, standing: bool) -> AsyncIterator[Roles]:
    """Provide the roles of a drain.

    A standing one waits up to a minute to replace the one kept warm, and then up to ten seconds to replace the router: both
    roles move to the newest release, however busy the drains of an older one are.
    """
    async with AsyncExitStack() as stack:
        alive = await stack.enter_async_context(RoleLock(url, Role.DRAIN))
        await alive.share()
        router = await stack.enter_async_context(RoleLock(url, Role.ROUTER))
        keeper = await stack.enter_async_context(RoleLock(url, Role.KEEPER))
        # opens no session unless it is asked for
        standby = stack.push_async_exit(RoleLock(url, Role.STANDBY))
        if standing and _keeps_warm():
            await keeper.take_over(within_s=TAKE_OVER_S)
            await router.take_over(within_s=ROUTER_S)
        yield Roles(alive, router, keeper, standby)


class DrainLimit:
    """How many drains are of use on all hosts together; `most` is None until the work pool was read once."""

    def __init__(self) -> None:
        self.most: int | None = None

    async def read(self) -> None:
        """Read the pool's concurrency limit. While Prefect gives no answer, the limit that was read last holds.

        Raises:
            TimeoutError, httpx.HTTPError, PrefectException: Prefect gave no answer.
        """
        async with asyncio.timeout(PREFECT_S), get_client() as client:
            self.most = most_drains((await client.read_work_pool(POOL)).concurrency_limit)


class Staying:
    """Looks at the roles every half second, beside the answers.

    `busy` says whether this drain has calls under way, or claims, `idle_since` when it last did something.
    """

    def __init__(
        self,
        db: Database,
        roles: Roles,
        limit: DrainLimit,
        *,
        busy: Callable[[], bool],
        idle_since: Callable[[], datetime],
    ) -> None:
        self._db, self._roles, self._limit = db, roles, limit
        self._busy, self._idle_since = busy, idle_since
        self._look_at, self._database_seen = 0.0, time.monotonic()
        self._looking: asyncio.Task[bool] | None = None
        self._goes_on: bool | None = None

    async def goes_on(self) -> bool:
        """Return whether the drain goes on, by the newest look; only the first look is awaited.

        Raises:
            DBAPIError, psycopg.Error: the database was away for longer than two minutes.
        """
        if self._looking is None and time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + LOOK_EVERY_S
            self._looking = asyncio.create_task(self._looks())
        if self._looking is not None and (self._goes_on is None or self._looking.done()):
            self._goes_on = await self._seen(self._looking)
            self._looking = None
        return self._goes_on is not False

    def outlasts(self, error: Exception) -> bool:
        """Return whether the database was seen within the last two minutes; then log that it is away."""
        if time.monotonic() - self._database_seen > AWAY_S:
            return False
        said = "the database is away (%s); calls in flight go on"
        get_run_logger().warning(said, type(error).__name__)
        return True

    async def close(self) -> None:
        """Cancel the look that is running, and wait for its end."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    async def _seen(self, look: asyncio.Task[bool]) -> bool:
        try:
            goes_on = await look
        except (DBAPIError, NoConnectionFree, psycopg.Error) as error:
            if not self.outlasts(error):
                raise
            return True
        self._database_seen = time.monotonic()
        return goes_on

    async def _looks(self) -> bool:
        alive, keeper, standby = self._roles.alive, self._roles.keeper, self._roles.standby
        await alive.share()
        if _keeps_warm():
            await keeper.try_take()
        if Settings.read().keep_warm > 1:
            if await self._db.look(held_elsewhere, Role.KEEPER):
                await standby.try_take()
            else:
                await standby.release()
        sight = Sight(
            keeps=keeper.held or standby.held,
            wanted_by_successor=keeper.held and await keeper.wanted_by_another(),
            keeper_exists=await self._db.look(holder_exists, Role.KEEPER),
            idle_since=self._idle_since(),
            busy=self._busy(),
            drains=await self._db.look(holders, Role.DRAIN),
            most=self._limit.most,
        )
        return stays(sight, await self._db.now())


def _keeps_warm() -> bool:
    """Return whether one idle drain stays; otherwise the last one ends and an event wakes the next."""
    return Settings.read().keep_warm > 0
