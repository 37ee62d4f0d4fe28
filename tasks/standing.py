"""Standing runs, their roles and their guard.

A standing run ticks until the next one waits to take over; its guard requests runs for roles that no process holds. A drain
also decides whether it stays, and survives an outage of the database, because it may hold paid answers.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from prefect import get_client
from prefect.logging import get_run_logger
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionFree

from lanes.realtime.drains import POOL, Sight, find_reason_to_end, most_drains
from lanes.settings import Settings
from lanes.standing.roles import (
    LOOK_EVERY_S,
    STANDING,
    StandingRun,
    Vacancies,
    never_free,
    replacement,
)
from lanes.store import signals
from lanes.store.database import Database
from lanes.store.promises import recording
from tasks.runs import Troubles, ask_for_run, ask_for_standing, stop_signals, summarize_error

Ask = Callable[[StandingRun, datetime], Coroutine[Any, Any, bool]]


class Guard:
    """A guard of the roles, one in every long-lived process; it never fails its caller or makes it wait for Prefect.

    `ask` requests a run and returns whether it did; False means that a run is already coming. An error is logged, and `ask` is
    called again at the next look.
    """

    def __init__(
        self,
        db: Database,
        *,
        ask: Ask = ask_for_standing,
        vacancies: Vacancies | None = None,
        every_s: float = LOOK_EVERY_S,
    ) -> None:
        self._db, self._ask, self._every_s = db, ask, every_s
        self._vacancies = vacancies or Vacancies()
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._troubles = Troubles()
        self._next_look = 0.0

    async def look(self) -> None:
        """Check the roles, at most once every few seconds; start a request for each run that is due."""
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + self._every_s
        try:
            async with self._db.transaction() as run:
                role_holders, now = await run(signals.read_standing_roles), run.now
        # the caller's own work meets the same outage and handles it
        except Exception as error:
            message = f"the standing roles could not be looked at ({summarize_error(error)})"
            self._troubles.report("look", message)
            return
        self._troubles.clear("look")
        watched = never_free(keep_warm=Settings.read().keep_warm)
        for vacant in self._vacancies.to_ask(watched, role_holders, now):
            if (earlier := self._asking.get(vacant.flow)) is None or earlier.done():
                self._asking[vacant.flow] = asyncio.create_task(self._ask_for(vacant, now))
        await self._record_taken()

    async def _record_taken(self) -> None:
        """Record roles that sessions of other database users hold; done here because `watch` itself may be the run kept out."""
        try:
            async with self._db.transaction() as run:
                await run(recording.record_taken_roles, now=run.now)
            self._troubles.clear("taken roles")
        except Exception as error:
            message = (
                f"roles that other users hold could not be recorded ({summarize_error(error)})"
            )
            self._troubles.report("taken roles", message)

    async def run(self) -> None:
        """Check the roles until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(self._every_s)

    async def close(self) -> None:
        """Cancel the requests under way."""
        asking = list(self._asking.values())
        for each in asking:
            each.cancel()
        await asyncio.gather(*asking, return_exceptions=True)

    async def _ask_for(self, run: StandingRun, now: datetime) -> None:
        try:
            if await self._ask(run, now):
                self._vacancies.record_request(run.role, now)
                message = "no process held the role of %s: asked for a run of it"
                get_run_logger().warning(message, run.flow)
            self._troubles.clear(run.flow)
        except Exception as error:
            message = f"a run of {run.flow} could not be asked for, and is asked for again"
            self._troubles.report(run.flow, f"{message} ({summarize_error(error)})")


async def ask_for_successor(db: Database, role: signals.Role) -> None:
    """Request the run that takes over the role of a run that was asked to stop; log a failure."""
    (run,) = [each for each in STANDING if each.role is role]
    try:
        await ask_for_run(replacement(run, await db.now()))
    except Exception as error:
        message = "this run was asked to stop, and could not ask for another run of %s (%s)"
        get_run_logger().warning(message, run.flow, summarize_error(error))


TAKE_OVER_S = 120.0


class Tenure:
    """A run's tenure of a role: an older run hands over to a newer one at its next tick, and a dead run is replaced."""

    def __init__(
        self, db: Database, role: signals.Role, *, every_s: float, guard: Guard | None = None
    ) -> None:
        self._db, self._role = db, role
        self._lock = signals.RoleLock(db.direct_url, role)
        self._every_s = every_s
        self._guard = guard or Guard(db)
        self._open = AsyncExitStack()

    async def __aenter__(self) -> "Tenure":
        await self._open.enter_async_context(self._lock)
        self._open.push_async_callback(self._guard.close)
        guarding = asyncio.create_task(self._guard.run())
        self._open.push_async_callback(asyncio.gather, guarding, return_exceptions=True)
        self._open.callback(guarding.cancel)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._open.aclose()

    async def ticks(self) -> AsyncIterator[int]:
        """Yield a number from 0 at each tick; yield nothing if the previous run does not hand over within two minutes.

        A role that was lost with its connection is taken again before the next tick; if another run has it by then, the ticks
        end. A run that is asked to stop releases the role, requests its successor, and ticks no more.
        """
        if not await self._lock.take_over(within_s=TAKE_OVER_S):
            get_run_logger().warning("the previous run did not hand over; leaving the work to it")
            return
        stop = self._open.enter_context(stop_signals())
        number = 0
        while not stop.is_set():
            if not await self._lock.keep():
                get_run_logger().warning(
                    "the role was lost with its connection, and another run has it; leaving the work to it"
                )
                return
            if await self._lock.is_wanted_by_another():
                return
            yield number
            number += 1
            with suppress(TimeoutError):
                async with asyncio.timeout(self._every_s):
                    await stop.wait()
        get_run_logger().info("asked to stop: the role is released, and another run is asked for")
        await self._lock.release()
        await ask_for_successor(self._db, self._role)


ROLES_EVERY_S = 0.5  # how often roles are checked
POOL_LIMIT_S = 10.0  # longest wait for Prefect to return the pool's limit
AWAY_S = 120.0  # how long the database may be unavailable before the run ends
KEEPER_S = 60.0  # how long a standing drain waits for the drain that is kept warm
ROUTER_S = 10.0  # how long it then waits for the router


@dataclass(frozen=True)
class Roles:
    """The roles that a drain holds or may take."""

    alive: signals.RoleLock  # shared by all drains, so that they can be counted
    router: signals.RoleLock
    keeper: signals.RoleLock
    standby: signals.RoleLock

    async def release(self) -> None:
        """Release all roles, so that other drains can take them before this one has ended."""
        held = self.router, self.keeper, self.standby, self.alive
        await asyncio.gather(*(each.release() for each in held))


@asynccontextmanager
async def roles(url: str, *, standing: bool) -> AsyncIterator[Roles]:
    """Yield the roles of a drain.

    A standing drain waits up to a minute to replace the drain that is kept warm, and then up to ten seconds to replace the
    router. So both roles move to the newest release even if the drains of an older release are busy. It counts as a drain only
    after that, because it answers nothing while it waits.
    """
    async with AsyncExitStack() as stack:
        alive = await stack.enter_async_context(signals.RoleLock(url, signals.Role.DRAIN))
        router = await stack.enter_async_context(signals.RoleLock(url, signals.Role.ROUTER))
        keeper = await stack.enter_async_context(signals.RoleLock(url, signals.Role.KEEPER))
        # opens no session before it is needed
        standby = stack.push_async_exit(signals.RoleLock(url, signals.Role.STANDBY))
        if standing and _keeps_warm():
            await keeper.take_over(within_s=KEEPER_S)
            await router.take_over(within_s=ROUTER_S)
        await alive.share()
        yield Roles(alive, router, keeper, standby)


class DrainLimit:
    """The largest useful number of drains on all hosts together; `most` is None until the work pool has been read once."""

    def __init__(self) -> None:
        self.most: int | None = None

    async def read(self) -> None:
        """Read the pool's concurrency limit. While Prefect does not answer, the last limit stays valid.

        Raises:
            TimeoutError, httpx.HTTPError, PrefectException: Prefect did not answer.
        """
        async with asyncio.timeout(POOL_LIMIT_S), get_client() as client:
            self.most = most_drains((await client.read_work_pool(POOL)).concurrency_limit)


class Staying:
    """The decision whether a drain continues, from checks of the roles every half second in the background.

    `busy` returns whether this drain has calls in flight or claims, `idle_since` when it last did work.
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
        """Return whether the drain continues, by the newest check; only the first check is awaited.

        Raises:
            DBAPIError, psycopg.Error: the database was unavailable for longer than two minutes.
        """
        if self._looking is None and time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + ROLES_EVERY_S
            self._looking = asyncio.create_task(self._looks())
        if self._looking is not None and (self._goes_on is None or self._looking.done()):
            self._goes_on = await self._finish_look(self._looking)
            self._looking = None
        return self._goes_on is not False

    def outlasts(self, error: Exception) -> bool:
        """Return whether the database was reached within the last two minutes; if so, log that it is unavailable now."""
        if time.monotonic() - self._database_seen > AWAY_S:
            return False
        message = "the database is away (%s); calls in flight go on"
        get_run_logger().warning(message, type(error).__name__)
        return True

    async def close(self) -> None:
        """Cancel the check under way, and wait for its end."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    async def _finish_look(self, look: asyncio.Task[bool]) -> bool:
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
            if await self._db.look(signals.is_held_elsewhere, signals.Role.KEEPER):
                await standby.try_take()
            else:
                await standby.release()
        drains, younger = await alive.count_sharers()
        sight = Sight(
            keeps=keeper.held or standby.held,
            wanted_by_successor=keeper.held and await keeper.is_wanted_by_another(),
            keeper_exists=await self._db.look(signals.holder_exists, signals.Role.KEEPER),
            idle_since=self._idle_since(),
            busy=self._busy(),
            drains=drains,
            younger=younger,
            most=self._limit.most,
        )
        reason = find_reason_to_end(sight, await self._db.now())
        if reason is not None:
            get_run_logger().info("this drain ends: %s", reason)
        return reason is None


def _keeps_warm() -> bool:
    """Return whether one idle drain stays; otherwise the last one ends and an event wakes the next."""
    return Settings.read().keep_warm > 0
