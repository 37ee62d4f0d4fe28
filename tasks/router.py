"""The role of router: the event stream is read, and what was received is routed in portions."""

import asyncio
import time
from collections.abc import Callable

from lanes.realtime.cursor import QueueCursor
from lanes.store.database import Database
from lanes.store.doors import unrouted
from lanes.store.doors.unrouted import RoutedUpTo
from lanes.store.signals import RoleLock
from tasks.arrivals import ArrivalReader
from tasks.route import Portions, Rooms, route_received
from tasks.wakes import Wakes

LOOK_EVERY_S = 0.5  # how often the role is looked at: what is routed beside another router is still routed once


class Router:
    """Routes items while it holds the role and wakes the parts that get work from it; `busy` tells whether calls run."""

    def __init__(
        self,
        db: Database,
        role: RoleLock,
        wakes: Wakes,
        *,
        busy: Callable[[], bool],
        rooms: Rooms | None = None,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        self._db, self._role, self._wakes, self._busy = db, role, wakes, busy
        self._look_every_s, self._look_at = look_every_s, float("-inf")
        self._heads, self._rooms = QueueCursor[RoutedUpTo](), rooms
        self._reading: asyncio.Task[None] | None = None

    @property
    def holds(self) -> bool:
        """Whether the role was ours when it was last looked at."""
        return self._role.held

    @property
    def reads(self) -> bool:
        """Whether the event stream is being read."""
        return self._reading is not None and not self._reading.done()

    def rest_s(self) -> float:
        """Return the seconds until everything received is checked again; 0 if the next look does it."""
        return self._heads.rest_s(time.monotonic())

    async def turn(self) -> None:
        """Route a chunk of what was received and is not held, then rest as long as that took."""
        if not await self._is_ours():
            await self.close()  # it may have been ours until its connection was lost
            return
        if not self.reads:
            self._reading = asyncio.create_task(ArrivalReader(self._db, self._wakes.received).run())
        portions = Portions()
        while True:
            began = time.monotonic()
            heads, rooms = self._heads, self._rooms
            if not await route_received(self._db, portions.size, heads=heads, rooms=rooms):
                return
            self._wakes.work_is_ready()
            took = time.monotonic() - began
            since = heads.look(time.monotonic()).since
            if not await self._db.look(unrouted.any_received, since=since):
                return
            portions.go_on(busy=self._busy())
            if self._busy() and await self._received_within(took):
                portions.begin()

    async def close(self) -> None:
        """Stop reading the event stream."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
            self._reading = None

    async def _is_ours(self) -> bool:
        if time.monotonic() >= self._look_at:
            await self._role.try_take()
            self._look_at = time.monotonic() + self._look_every_s
        return self._role.held

    async def _received_within(self, seconds: float) -> bool:
        """Return whether something new came within that time."""
        try:
            async with asyncio.timeout(seconds):
                await self._wakes.routing.wait()
        except TimeoutError:
            return False
        self._wakes.routing.clear()
        return True
