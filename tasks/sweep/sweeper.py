"""The frame of a sweep: each duty has its turn, alone and within a limit; slow requests go on beside the ticks."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from lanes.store.database import Database
from tasks.troubles import Troubles, described

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
