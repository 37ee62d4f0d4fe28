"""Sees to what nobody serves: lost claims, silent drains, orphaned intents, deadlines that the window would miss."""

from contextlib import suppress
from datetime import datetime

from prefect.deployments import arun_deployment

from lanes.settings import Settings
from lanes.store import amendments, items, outbox, outcomes, replays, work
from lanes.store.deadlines import pressing
from lanes.store.signals import Role, RoleLock, holder_exists
from lanes.warmth import THROTTLE
from lanes.words import Lane
from tasks.connections import Connections
from tasks.outgoing import publish_events
from tasks.reconcile import reconcile_unresolved
from tasks.replay import write_diff

SUBMIT = "submit/submit"
WAITING = "lanes.work.waiting"
CALL_EVERY = THROTTLE / 2  # a call inside the trigger's throttle is dropped; the next one is not far


class Sweeper:
    """Sweeps once a tick, and calls for the same thing at most once in a while."""

    def __init__(self, at: Connections) -> None:
        self._at = at
        self._called_at: datetime | None = None

    async def sweep(self) -> None:
        """Everything that waits has somebody who will come for it."""
        now = await self._at.db.now()
        await self._at.db.run(outcomes.save, await self._at.db.run(work.abandoned, now=now), now=now)
        await self._at.db.run(amendments.apply_waiting, now=now)
        await self._wake_drains(now)
        await self._resolve()
        for complete in await self._at.db.run(replays.finish, now=now):
            with suppress(Exception):  # Prefect is away: `lanes diff` shows the same
                await write_diff(self._at.db, complete)
        for workload in await self._at.db.run(pressing, now=now):
            await _submit_early(workload, now)
        await publish_events(self._at.db)

    async def _wake_drains(self, now: datetime) -> None:
        """Work or received items that no drain serves, or a drain that should be warm and is not, call for one."""
        called_lately = self._called_at is not None and now - self._called_at < CALL_EVERY
        if called_lately or await self._at.db.run(holder_exists, Role.READER):
            return
        ready = (await self._at.db.run(work.backlog, Lane.REALTIME, now=now)).ready
        received = await self._at.db.run(items.any_received)
        if ready or received or Settings.read().keep_warm > 0:
            self._called_at = now
            waiting = {"ready": ready, "received": int(received)}
            await self._at.db.run(outbox.add, WAITING, "lanes.lane.realtime", waiting, now=now)

    async def _resolve(self) -> None:
        """An intent whose submitter is gone is looked into; while one is at work, it sees to it itself."""
        async with RoleLock(self._at.db.url, Role.SUBMITTER) as role:
            if await role.try_take():
                await reconcile_unresolved(self._at)


async def _submit_early(workload: str, now: datetime) -> None:
    """A run of `submit` was asked for, at most once a minute."""
    await arun_deployment(
        SUBMIT,
        parameters={"departure": {"workload": workload}},
        idempotency_key=f"deadline {workload} {now:%Y-%m-%dT%H:%M}",
        timeout=0,
        as_subflow=False,
    )
