"""What takes its own time in a sweep ends within its limit, and what breaks is said and harms nobody else."""

import asyncio
from collections.abc import Awaitable, Callable

from tasks.troubles import Troubles, described

Act = Callable[[], Awaitable[object]]


class Errands:
    """What asks the provider or tells Prefect goes on beside the ticks, under one name at most once at a time."""

    def __init__(self) -> None:
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._troubles = Troubles()

    async def alone(self, name: str, act: Act, *, within_s: float) -> None:
        """It was done, or ended after so long. What it raised stands in the log once, until it changes or is over."""
        try:
            async with asyncio.timeout(within_s):
                await act()
            self._troubles.over(name)
        except Exception as error:
            self._troubles.met(name, f"{name}: met again at the next sweep ({described(error)})")

    def send(self, name: str, act: Act, *, within_s: float) -> None:
        """It has begun, alone, unless the one before it still goes on."""
        if (before := self._under_way.get(name)) is None or before.done():
            self._under_way[name] = asyncio.create_task(self.alone(name, act, within_s=within_s))

    async def done(self) -> None:
        """What was under way has ended."""
        await asyncio.gather(*self._under_way.values())

    async def close(self) -> None:
        """Nothing goes on."""
        for each in self._under_way.values():
            each.cancel()
        await asyncio.gather(*self._under_way.values(), return_exceptions=True)
