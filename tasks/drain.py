"""A running `answer`: claims and answers real-time work, and, in the role of router, admits and routes what arrived."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import datetime, timedelta

from prefect.logging import get_run_logger

from lanes.buffer import Buffer
from lanes.claims import Claimed
from lanes.pace import Pace
from lanes.provider.client import CALL_TIMEOUT_S
from lanes.settings import Settings
from lanes.store import items, outbox, outcomes, work, workloads
from lanes.store.signals import Role, RoleLock, holder_exists, holders, listening
from lanes.warmth import Sight, needs_more, stays
from lanes.words import Lane
from lanes.workload import Version
from tasks.answer import answer_micro_batch
from tasks.arrivals import ArrivalReader
from tasks.connections import Connections
from tasks.outgoing import publish_events
from tasks.publish import publish
from tasks.route import route_received
from tasks.sweep import WAITING

LEASE = timedelta(seconds=CALL_TIMEOUT_S * 2 + 30)  # a halved pack asks more than once
TICK_S = 1.0  # longest sleep: a lost notification costs no more than this
CHORES_EVERY = timedelta(seconds=5)


class Drain:
    """The loop's parts, in the order in which `flows.answer` calls them."""

    def __init__(self, at: Connections, reader: RoleLock, keeper: RoleLock, heard: asyncio.Event, now: datetime) -> None:
        self._at = at
        self._reader_role, self._keeper_role = reader, keeper
        self._heard = heard
        self._pace = Pace(most=at.provider.most_calls)
        self._name = f"{socket.gethostname()}:{os.getpid()}"
        self._buffer = Buffer()
        self._versions: dict[int, Version] = {}
        self._running: set[asyncio.Task[object]] = set()
        self._reading: asyncio.Task[None] | None = None
        self._idle_since = now
        self._chores_at = now
        self._told: set[str] = set()
        self.answered = 0

    async def stays(self) -> bool:
        """Whether the drain goes on."""
        if _keeps_warm():
            await self._keeper_role.try_take()
        sight = Sight(
            keeps=self._keeper_role.held,
            wanted_by_successor=self._keeper_role.held and await self._keeper_role.wanted_by_another(),
            keeper_exists=await self._at.db.run(holder_exists, Role.KEEPER),
            idle_since=self._idle_since,
            busy=bool(self._running) or len(self._buffer) > 0,
            drains=await self._at.db.run(holders, Role.DRAIN),
        )
        return stays(sight, await self._at.db.now())

    async def route(self) -> None:
        """Holding the role of router, what was received is routed."""
        if not await self._reader_role.try_take():
            return
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(ArrivalReader(self._at.db, self._heard).run())
        if await self._at.db.run(items.any_received):
            await route_received(self._at.db)

    async def answer(self) -> None:
        """What may be claimed now is claimed, and what need not wait in the buffer is being answered."""
        now = await self._at.db.now()
        ready = await self._claim(now, places) if (places := self._pace.places(now)) else []
        ready += self._buffer.take(self._versions, now)
        if not ready:
            return
        batch = asyncio.create_task(answer_micro_batch(self._at, self._versions, ready, self._pace))
        self._running.add(batch)
        batch.add_done_callback(self._finished)
        self.answered += len(ready)

    async def _claim(self, now: datetime, places: int) -> list[Claimed]:
        """Claimed work that waits for nothing; the rest is in the buffer."""
        claimed = await self._at.db.run(
            work.claim, Lane.REALTIME, worker=self._name, places=places, lease=LEASE, now=now,
            without=self._pace.resting(now),
        )  # fmt: skip
        if not claimed:
            return []
        self._idle_since = now
        self._pace.reserve(len(claimed))
        await self._learn({each.version_id for each in claimed})
        return self._buffer.add(claimed, self._versions, now)

    async def chores(self) -> None:
        """Events out are published; every few seconds blocks are published, lost claims rescued, more drains called."""
        await publish_events(self._at.db)
        now = await self._at.db.now()
        if now < self._chores_at:
            return
        self._chores_at = now + CHORES_EVERY
        lost = await self._at.db.run(work.abandoned, now=now)
        await self._at.db.run(outcomes.save, lost, now=now)
        if self._reader_role.held:
            await self._publish_blocks()
            backlog = await self._at.db.run(work.backlog, Lane.REALTIME, now=now)
            if needs_more(backlog.ready, backlog.ready_since, now):
                waiting = {"ready": backlog.ready}
                await self._at.db.run(outbox.add, WAITING, "lanes.lane.realtime", waiting, now=now)

    async def wait(self) -> None:
        """Something was committed, a call ended, a buffered window leaves, or a second passed."""
        leave = self._buffer.next_leave(self._versions)
        pause = TICK_S if leave is None else (leave - await self._at.db.now()).total_seconds()
        waiting: set[asyncio.Task[object]] = {asyncio.create_task(self._heard.wait()), *self._running}
        await asyncio.wait(waiting, timeout=max(0.0, min(pause, TICK_S)), return_when=asyncio.FIRST_COMPLETED)
        for each in waiting - self._running:
            each.cancel()
        self._heard.clear()

    async def close(self) -> None:
        """Calls in flight were answered and saved; the stream is no longer read."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        await asyncio.gather(*self._running, return_exceptions=True)
        await publish_events(self._at.db)

    async def _publish_blocks(self) -> None:
        with suppress(Exception):  # Prefect is away: versions stay as they are
            for problem in (await publish(self._at.db)).problems:
                if str(problem) not in self._told:
                    self._told.add(str(problem))
                    get_run_logger().error("%s", problem)

    async def _learn(self, ids: set[int]) -> None:
        unknown = ids - self._versions.keys()
        if unknown:
            self._versions |= await self._at.db.run(workloads.versions, unknown)

    def _finished(self, batch: asyncio.Task[object]) -> None:
        self._running.discard(batch)
        self._heard.set()
        if not batch.cancelled() and (error := batch.exception()) is not None:
            get_run_logger().error("a micro-batch broke; its claims come back when their lease ends", exc_info=error)


def _keeps_warm() -> bool:
    """Whether one drain stays when there is nothing to do; else the last one leaves, and an event wakes the next."""
    return Settings.read().keep_warm > 0


@asynccontextmanager
async def drain(at: Connections, *, standing: bool) -> AsyncIterator[Drain]:
    """A drain with its roles; a standing one waits up to a minute to take the place of the one that is kept warm."""
    async with AsyncExitStack() as stack:
        heard = await stack.enter_async_context(listening(at.db.url))
        await (await stack.enter_async_context(RoleLock(at.db.url, Role.DRAIN))).share()
        reader = await stack.enter_async_context(RoleLock(at.db.url, Role.READER))
        keeper = await stack.enter_async_context(RoleLock(at.db.url, Role.KEEPER))
        if standing and _keeps_warm():
            await keeper.take_over(within_s=60)
        opened = Drain(at, reader, keeper, heard, await at.db.now())
        try:
            yield opened
        finally:
            await opened.close()
