"""Sees to what nobody serves: lost claims, silent drains, orphaned intents, deadlines that the window would miss."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from functools import partial

from lanes.realtime.warmth import THROTTLE
from lanes.settings import Settings
from lanes.store import outbox, work
from lanes.store.batch.deadlines import pressing
from lanes.store.doors import amendments, items
from lanes.store.outbox import EventOut
from lanes.store.realtime import giving_up
from lanes.store.replays import replays
from lanes.store.signals import Role, RoleLock, holder_exists
from lanes.words import Lane
from tasks.asking import ask_for_run
from tasks.connections import Connections
from tasks.reconcile import reconcile_unresolved
from tasks.replay import write_diff
from tasks.saving import save
from tasks.troubles import Troubles, described

WAITING = "lanes.work.waiting"
CALL_EVERY = THROTTLE / 2  # a call inside the trigger's throttle is dropped; the next one is not far
GIVE_UP_EVERY = timedelta(minutes=5)
STEP_S = 10.0  # the longest that a step in the database may take
PROVIDER_S = 60.0  # ... that one may that asks the provider, page by page
PREFECT_S = 10.0  # ... that one may that tells Prefect

Step = Callable[[datetime], Awaitable[None]]


class Sweeper:
    """Sweeps once a tick. Each step stands alone: what breaks or hangs in one is logged, and ends no other, nor the tick.

    Steps that reach the provider or Prefect go on beside the tick, each at most once at a time.
    """

    def __init__(self, at: Connections) -> None:
        self._at = at
        self._called_at: datetime | None = None
        self._gave_up_at: datetime | None = None
        self._beside: dict[str, asyncio.Task[None]] = {}
        self._troubles = Troubles()
        self._steps: dict[str, Step] = {
            "lost claims": self._rescue_lost_claims,
            "what waits for ever": self._give_up,
            "late data": self._apply_late_data,
            "silent drains": self._wake_drains,
            "batches without an answer": self._resolve,
            "replays": self._finish_replays,
            "deadlines": self._submit_early,
        }

    async def sweep(self) -> None:
        """Everything that waits has somebody who will come for it, as far as the steps could be taken."""
        now = await self._at.db.now()
        for name, step in self._steps.items():
            await self._stand_alone(name, partial(step, now), STEP_S)

    async def close(self) -> None:
        """What went on beside the ticks has ended."""
        beside = list(self._beside.values())
        for each in beside:
            each.cancel()
        await asyncio.gather(*beside, return_exceptions=True)

    async def _rescue_lost_claims(self, now: datetime) -> None:
        await save(self._at.db, await self._at.db.run(work.abandoned, now=now))

    async def _give_up(self, now: datetime) -> None:
        """Every few minutes, because it reads everything that waits."""
        if self._gave_up_at is not None and now - self._gave_up_at < GIVE_UP_EVERY:
            return
        self._gave_up_at = now
        for lane in Lane:
            await save(self._at.db, await self._at.db.run(giving_up.hopeless, lane, now=now))

    async def _apply_late_data(self, now: datetime) -> None:
        await self._at.db.run(amendments.apply_waiting, now=now)

    async def _wake_drains(self, now: datetime) -> None:
        """Work or received items that no drain serves, or a drain that should be warm and is not, call for one."""
        if await self._at.db.run(holder_exists, Role.ROUTER):
            self._called_at = None
            return
        if self._called_at is not None and now - self._called_at < CALL_EVERY:
            return
        ready = (await self._at.db.run(work.backlog, Lane.REALTIME, now=now)).ready
        received = await self._at.db.run(items.any_received)
        if not (ready or received or Settings.read().keep_warm > 0):
            return
        called_in_vain, self._called_at = self._called_at is not None, now
        waiting = {"ready": ready, "received": int(received)}
        await self._at.db.run(outbox.add, [EventOut(WAITING, "lanes.lane.realtime", waiting)], now=now)
        if called_in_vain:  # a trigger can fail without a trace
            key = f"waiting work {now:%Y-%m-%dT%H:%M}"
            self._go_on_beside("a drain", partial(ask_for_run, "answer", {}, key=key), PREFECT_S)

    async def _resolve(self, _: datetime) -> None:
        self._go_on_beside("the provider's list of batches", self._reconcile, PROVIDER_S)

    async def _reconcile(self) -> None:
        """An intent whose submitter is gone is looked into; while one is at work, it sees to it itself."""
        async with RoleLock(self._at.db.url, Role.SUBMITTER) as role:
            if await role.try_take():
                await reconcile_unresolved(self._at)

    async def _finish_replays(self, now: datetime) -> None:
        """A replay whose work has ended is complete, and its artifact says so; without Prefect `lanes diff` does."""
        for complete in await self._at.db.run(replays.finish, now=now):
            self._go_on_beside(f"the report of {complete.name}", partial(write_diff, self._at.db, complete), PREFECT_S)

    async def _submit_early(self, now: datetime) -> None:
        """A run of `submit` was asked for, of each workload at most once a minute."""
        for workload in await self._at.db.run(pressing, now=now):
            key = f"deadline {workload} {now:%Y-%m-%dT%H:%M}"
            asking = partial(ask_for_run, "submit", {"departure": {"workload": workload}}, key=key)
            self._go_on_beside(f"an early submit of {workload}", asking, PREFECT_S)

    def _go_on_beside(self, name: str, step: Callable[[], Awaitable[object]], limit_s: float) -> None:
        """It has begun, unless the one before it still goes on."""
        if (before := self._beside.get(name)) is None or before.done():
            self._beside[name] = asyncio.create_task(self._stand_alone(name, step, limit_s))

    async def _stand_alone(self, name: str, step: Callable[[], Awaitable[object]], limit_s: float) -> None:
        try:
            async with asyncio.timeout(limit_s):
                await step()
            self._troubles.over(name)
        except Exception as error:
            self._troubles.met(name, f"{name}: met again at the next sweep ({described(error)})")


@asynccontextmanager
async def sweeping(at: Connections) -> AsyncIterator[Sweeper]:
    """A sweeper; at the end it leaves nothing behind."""
    sweeper = Sweeper(at)
    try:
        yield sweeper
    finally:
        await sweeper.close()
