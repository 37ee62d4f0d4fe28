"""Standing runs: one ticks until the next waits to take over, and its guard asks for runs of roles that no process holds."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from datetime import datetime
from typing import Any

from prefect.logging import get_run_logger

from lanes.settings import Settings
from lanes.standing.roles import (
    LOOK_EVERY_S,
    STANDING,
    Role,
    StandingRun,
    Vacancies,
    never_free,
    replacement,
)
from lanes.store.database import Database
from lanes.store.promises import recording
from lanes.store.signals import RoleLock, standing_roles
from tasks.asking import ask_for_run, ask_for_standing
from tasks.runs import Troubles, described, stop_signals

Ask = Callable[[StandingRun, datetime], Coroutine[Any, Any, bool]]


class Guard:
    """A guard of the roles, one in every long-lived process; it never fails its caller, nor makes it wait for Prefect.

    `ask` asks for a run and returns whether it did (false: one is on its way); an error is logged, and it is called
    again at the next look.
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
        """Look at the roles, at most once every few seconds; begin to ask for each run that is due."""
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + self._every_s
        try:
            async with self._db.transaction() as run:
                held, now = await run(standing_roles), run.now
        # the caller's own work meets the same outage, and says what becomes of it
        except Exception as error:
            said = f"the standing roles could not be looked at ({described(error)})"
            self._troubles.met("look", said)
            return
        self._troubles.over("look")
        watched = never_free(keep_warm=Settings.read().keep_warm)
        for vacant in self._vacancies.to_ask(watched, held, now):
            if (before := self._asking.get(vacant.flow)) is None or before.done():
                self._asking[vacant.flow] = asyncio.create_task(self._ask_for(vacant, now))
        await self._record_taken()

    async def _record_taken(self) -> None:
        """Record the roles that sessions of other users hold: the run that records other breaches may be the one kept out."""
        try:
            async with self._db.transaction() as run:
                await run(recording.record_taken_roles, now=run.now)
            self._troubles.over("taken roles")
        except Exception as error:
            said = f"roles that other users hold could not be recorded ({described(error)})"
            self._troubles.met("taken roles", said)

    async def run(self) -> None:
        """Look until cancelled, beside everything else that the process does."""
        while True:
            await self.look()
            await asyncio.sleep(self._every_s)

    async def close(self) -> None:
        """Stop asking."""
        asking = list(self._asking.values())
        for each in asking:
            each.cancel()
        await asyncio.gather(*asking, return_exceptions=True)

    async def _ask_for(self, run: StandingRun, now: datetime) -> None:
        try:
            if await self._ask(run, now):
                self._vacancies.asked(run.role, now)
                said = "no process held the role of %s: asked for a run of it"
                get_run_logger().warning(said, run.flow)
            self._troubles.over(run.flow)
        except Exception as error:
            said = f"a run of {run.flow} could not be asked for, and is asked for again"
            self._troubles.met(run.flow, f"{said} ({described(error)})")


async def ask_for_successor(db: Database, role: Role) -> None:
    """Ask for the run that takes a standing run's role over from a run that was asked to stop; a failure is logged."""
    (run,) = [each for each in STANDING if each.role is role]
    try:
        await ask_for_run(replacement(run, await db.now()))
    except Exception as error:
        said = "this run was asked to stop, and could not ask for another run of %s (%s)"
        get_run_logger().warning(said, run.flow, described(error))


TAKE_OVER_S = 120.0


class Tenure:
    """The newest run holds the role; an older one hands over at its next tick. One that dies is replaced by any that lives."""

    def __init__(
        self, db: Database, role: Role, *, every_s: float, guard: Guard | None = None
    ) -> None:
        self._db, self._role = db, role
        self._lock = RoleLock(db.direct_url, role)
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
        """Yield a number from 0 at each tick; none if the run before does not hand over within two minutes.

        A role that was lost with its connection is taken again before the next tick; when another run has it by then,
        there is none. A run that is asked to stop releases the role, asks for its successor, and ticks no more.
        """
        if not await self._lock.take_over(within_s=TAKE_OVER_S):
            get_run_logger().warning("the run before did not hand over; leaving the work to it")
            return
        stop = self._open.enter_context(stop_signals())
        number = 0
        while not stop.is_set():
            if not await self._lock.keep():
                get_run_logger().warning(
                    "the role was lost with its connection, and another run has it; leaving the work to it"
                )
                return
            if await self._lock.wanted_by_another():
                return
            yield number
            number += 1
            with suppress(TimeoutError):
                async with asyncio.timeout(self._every_s):
                    await stop.wait()
        get_run_logger().info("asked to stop: the role is released, and another run is asked for")
        await self._lock.release()
        await ask_for_successor(self._db, self._role)
