"""What is read from a stream is made ready while what was read before is worked on."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Generic, TypeVar

T = TypeVar("T")


class _Ahead(Generic[T]):
    """Reads a source to its end, one element ahead of what waits."""

    def __init__(self, source: AsyncGenerator[T]) -> None:
        self._source, self._waiting = source, asyncio.Queue[list[T]](1)  # the empty list: there are no more
        self._reading = asyncio.create_task(self._read())

    async def elements(self) -> AsyncIterator[T]:
        """What the source yields; what it raises is raised behind it."""
        while made := await self._waiting.get():
            yield made[0]
        await self._reading

    async def close(self) -> None:
        """The source is closed, wherever it was."""
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)

    async def _read(self) -> None:
        try:
            async with aclosing(self._source) as source:
                async for each in source:
                    await self._waiting.put([each])
        except Exception:
            await self._waiting.put([])
            raise
        await self._waiting.put([])


@asynccontextmanager
async def ahead(source: AsyncGenerator[T]) -> AsyncIterator[AsyncIterator[T]]:
    """The elements of `source`, each made while the one before is worked on. One waits, so that a source that is faster
    fills no memory. At the end the source is closed."""
    reading = _Ahead(source)
    try:
        yield reading.elements()
    finally:
        await reading.close()
