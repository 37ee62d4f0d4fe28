"""The frame of a sweep, and the waker beside it.

Each duty has its turn, alone and within a limit; slow requests go on beside the ticks. The waker looks every half second for
work, items or stored events that no drain serves, and asks for a drain, so that a dropped trigger costs a second. Where no
drain is kept warm, it also hears arrivals in the event stream, up to a second before Prefect has stored them.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

from lanes.realtime.drains import LOOK_EVERY_S, READ_EVERY, TRIGGER_S, Calls, Unserved
from lanes.settings import Settings
from lanes.standing import runs
from lanes.store.database import Database
from lanes.store.doors import unrouted
from lanes.store.realtime import load
from lanes.store.realtime.load import call_for_drain
from lanes.store.signals import Role, holder_exists
from lanes.words import Lane
from tasks.arrivals import came_late, has_arrived, subscribed, unread_since
from tasks.asking import ask_unless_coming
from tasks.background import BackgroundTasks
from tasks.runs import Troubles, described

Act = Callable[[], Awaitable[object]]


@dataclass(frozen=True)
class Duty:
    """Something that a sweep does, because nothing else moves that work on; the run's log names it when it fails."""

    name: str
    act: Callable[[datetime], Awaitable[object]]
    every: timedelta = timedelta(0)  # from one turn to the next at least; zero: at every tick
    within_s: float = 10.0  # a turn that takes longer is ended

    def is_due(self, before: datetime | None, now: datetime) -> bool:
        """Return whether it is time for a turn; `before` is when the last one began."""
        return before is None or now - before >= self.every


class BackgroundRequests:
    """Requests to the provider and to Prefect that go on beside the ticks, one of each name at a time."""

    def __init__(self) -> None:
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._troubles = Troubles()

    async def alone(self, name: str, act: Act, *, within_s: float) -> None:
        """Run `act` within a time limit. An error is logged once, until it changes or is over."""
        try:
            async with asyncio.timeout(within_s):
                await act()
            self._troubles.over(name)
        except Exception as error:
            self._troubles.met(name, f"{name}: tried again at the next sweep ({described(error)})")

    def send(self, name: str, act: Act, *, within_s: float) -> None:
        """Start `act` in the background, unless the last one of that name still runs."""
        if (before := self._under_way.get(name)) is None or before.done():
            self._under_way[name] = asyncio.create_task(self.alone(name, act, within_s=within_s))

    async def done(self) -> None:
        """Wait until everything under way has ended."""
        await asyncio.gather(*self._under_way.values())

    async def close(self) -> None:
        """Cancel everything that is under way."""
        for each in self._under_way.values():
            each.cancel()
        await asyncio.gather(*self._under_way.values(), return_exceptions=True)


class Sweeper:
    """Gives each duty its turn: one that fails is logged, one that hangs is ended, and the others follow."""

    def __init__(
        self, db: Database, duties: Sequence[Duty], background: BackgroundRequests
    ) -> None:
        self._db, self._duties, self._background = db, duties, background
        self._began: dict[str, datetime] = {}

    async def sweep(self) -> None:
        """Run every duty that is due."""
        now = await self._db.now()
        for each in self._duties:
            if each.is_due(self._began.get(each.name), now):
                self._began[each.name] = now
                act = partial(each.act, now)
                await self._background.alone(each.name, act, within_s=each.within_s)


PREFECT_S = 5.0  # what one look waits for Prefect, each time that it asks


class Waker:
    """Asks Prefect for a drain, unless one is on its way; where Prefect does not answer, it calls for one by an event.

    `called` learns that the event waits to be published.
    """

    def __init__(
        self, db: Database, *, called: Callable[[], None] = lambda: None, limit_s: float = PREFECT_S
    ) -> None:
        self._db, self._called, self._limit_s = db, called, limit_s
        self._calls = Calls()
        self._looked_for_late: datetime | None = None
        self._is_served = True  # until a look finds no drain
        self.heard = asyncio.Event()
        self._newest: datetime | None = None  # event that was heard since a drain was last seen
        self._troubles = Troubles()

    async def look(self) -> None:
        """Run `turn` half a second after the last look, or soon after an arrival was heard."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_EVERY_S):
                await self.heard.wait()
                await asyncio.sleep(TRIGGER_S)
        self.heard.clear()
        await self.turn(await self._db.now())

    async def listen(self) -> None:
        """Hear arrivals in the event stream until a drain reads it; where one is kept warm, its absence is enough."""
        if self._is_served or Settings.read().keep_warm:
            return
        async with subscribed() as events:
            async for event in events:
                if self._is_served:
                    return
                self.hear(event.occurred)

    def hear(self, occurred: datetime) -> None:
        """Look soon for whether the event that occurred then is unread."""
        self._newest = max(occurred, self._newest or occurred)
        self.heard.set()

    async def turn(self, now: datetime) -> None:
        """Ask for a drain where something needs one that neither runs nor is on its way."""
        self._is_served = await self._db.run(holder_exists, Role.ROUTER)
        if self._is_served:
            self._calls.served()
            self._newest = None
            return
        if not self._calls.due(now):
            return
        unserved = await self._unserved(now)
        if not unserved.needs_a_drain:
            return
        run = replace(runs.answer(), key=f"waiting work {now:%Y-%m-%dT%H:%M:%S}")
        try:
            asked = await ask_unless_coming(run, now, limit_s=self._limit_s)
            self._troubles.over("runs")
            if not asked:
                self._calls.is_coming(now)
                return
        except Exception as error:
            self._troubles.met("runs", f"Prefect was not asked for a drain: {described(error)}")
            waiting = {"ready": unserved.ready, "received": int(unserved.received)}
            await self._db.run(call_for_drain, **waiting, now=now)
            self._called()
        self._calls.call(now)

    async def _unserved(self, now: datetime) -> Unserved:
        ready = (await self._db.run(load.backlog, Lane.REALTIME, now=now)).ready
        received = await self._db.run(unrouted.any_received)
        seen = Unserved(ready, received, keep_warm=Settings.read().keep_warm > 0)
        if seen.needs_a_drain:
            return seen
        return Unserved(0, False, keep_warm=False, unread=await self._unread(now))

    async def _unread(self, now: datetime) -> bool:
        """Return whether events were heard or stored that no drain has read; an error is tried again at the next look."""
        if self._newest is not None and self._newest >= await unread_since(self._db, now):
            return True
        try:
            async with asyncio.timeout(self._limit_s):
                if await has_arrived(self._db, now):
                    return True
                if self._looked_for_late is not None and now - self._looked_for_late < READ_EVERY:
                    return False
                found = await came_late(self._db, now)
            self._looked_for_late = None if found else now
            self._troubles.over("stored events")
        except Exception as error:
            said = f"stored events could not be looked at: {described(error)}"
            self._troubles.met("stored events", said)
            return False
        return found


@asynccontextmanager
async def waking(db: Database, called: Callable[[], None]) -> AsyncIterator[None]:
    """Run a waker until the end of the block; `called` learns of every call."""
    beside, waker = BackgroundTasks(), Waker(db, called=called)
    beside.keep("silent drains", waker.look, every_s=0)
    beside.keep("the event stream", waker.listen, every_s=LOOK_EVERY_S)
    try:
        yield
    finally:
        await beside.close()
