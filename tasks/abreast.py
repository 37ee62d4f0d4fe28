"""A stream of work, of which several pieces are under way at once while the next is read."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import ParamSpec

P = ParamSpec("P")


class Abreast:
    """Begins pieces of work, and no more than `most` are under way."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._under_way = set[asyncio.Task[None]]()

    async def begin(
        self, act: Callable[P, Awaitable[object]], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """`act` is under way. Raises what an earlier one raised."""
        while len(self._under_way) >= self._most:
            await self._some_end()
        self._under_way.add(asyncio.create_task(_done(act, *args, **kwargs)))

    async def end(self) -> None:
        """Nothing is under way any more. Raises what one of them raised."""
        while self._under_way:
            await self._some_end()

    async def close(self, *, cancel: bool) -> None:
        """As `end`, whatever becomes of them."""
        for task in self._under_way if cancel else ():
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _some_end(self) -> None:
        ended, self._under_way = await asyncio.wait(
            self._under_way, return_when=asyncio.FIRST_COMPLETED
        )
        await asyncio.gather(*ended)


async def _done(act: Callable[P, Awaitable[object]], *args: P.args, **kwargs: P.kwargs) -> None:
    await act(*args, **kwargs)


@asynccontextmanager
async def abreast(most: int) -> AsyncIterator[Abreast]:
    """What the block began has ended when the block has. What fails, or a block that does, stops none that is under way; a
    block that is cancelled cancels them."""
    work = Abreast(most)
    try:
        yield work
        await work.end()
    except Exception:
        await work.close(cancel=False)
        raise
    finally:
        await work.close(cancel=True)
