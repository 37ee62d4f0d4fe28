"""The role of router: the event stream is read, and what was received is routed in chunks."""

import asyncio
import time
from collections.abc import Callable

from lanes.ids import ItemId
from lanes.realtime.heads import Heads
from lanes.store.database import Database
from lanes.store.doors import items
from lanes.store.signals import RoleLock
from tasks.arrivals import ArrivalReader
from tasks.route import route_received


class Router:
    """Routes while it holds the role. `heard` is set when something was admitted; `busy` says whether answers are under way."""

    def __init__(self, db: Database, role: RoleLock, heard: asyncio.Event, *, busy: Callable[[], bool]) -> None:
        self._db, self._role, self._heard, self._busy = db, role, heard, busy
        self._heads = Heads[ItemId]()
        self._reading: asyncio.Task[None] | None = None

    @property
    def holds(self) -> bool:
        """Whether the role was ours when it was last looked at."""
        return self._role.held

    @property
    def reads(self) -> bool:
        """Whether the event stream is being read."""
        return self._reading is not None and not self._reading.done()

    async def turn(self) -> None:
        """What was received is routed, as far as others do not hold it: a chunk, then as long a rest for the answers."""
        if not await self._role.try_take():
            await self.close()  # it may have been ours until its connection was lost
            return
        if not self.reads:
            self._reading = asyncio.create_task(ArrivalReader(self._db, self._heard).run())
        while await self._db.run(items.any_received, since=self._heads.look(time.monotonic()).since):
            began = time.monotonic()
            if not await route_received(self._db, self._heads):
                return
            if self._busy():
                await asyncio.sleep(time.monotonic() - began)

    async def close(self) -> None:
        """The event stream is no longer read."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
            self._reading = None
