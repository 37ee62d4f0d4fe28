"""A stream is read while what it brought before is worked on, and no further than it should be."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from tasks.ahead import ahead


class Source:
    """Numbers up to `last`, and then perhaps an error; what was made of them, and whether it was closed."""

    def __init__(self, last: int, error: Exception | None = None) -> None:
        self.last, self.error = last, error
        self.made: list[int] = []
        self.closed = False

    async def numbers(self) -> AsyncGenerator[int]:
        try:
            for number in range(1, self.last + 1):
                self.made.append(number)
                yield number
            if self.error is not None:
                raise self.error
        finally:
            self.closed = True


async def settle() -> None:
    """Whatever can go on has gone on."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_while_one_is_worked_on_the_next_waits_and_one_more_is_made() -> None:
    source = Source(last=9)
    async with ahead(source.numbers()) as numbers:
        async for number in numbers:
            await settle()
            assert source.made[-1] == min(number + 2, 9)
    assert source.made == list(range(1, 10))


async def test_what_a_source_raises_comes_behind_what_it_made() -> None:
    source, read = Source(last=4, error=ValueError("cut")), list[int]()

    async def work() -> None:
        async with ahead(source.numbers()) as numbers:
            async for number in numbers:
                read.append(number)

    with pytest.raises(ValueError, match="cut"):
        await work()
    assert read == [1, 2, 3, 4]


@pytest.mark.parametrize("error", [None, ValueError("cut")])
@pytest.mark.parametrize("last", [1, 2, 9])
async def test_who_stops_early_closes_the_source(last: int, error: Exception | None) -> None:
    source = Source(last, error)

    async def work() -> None:
        async with asyncio.timeout(5), ahead(source.numbers()) as numbers:
            async for _ in numbers:
                await settle()
                raise KeyError

    with pytest.raises(KeyError):
        await work()
    assert source.closed


async def test_who_is_cancelled_closes_the_source() -> None:
    source = Source(last=9)

    async def work() -> None:
        async with ahead(source.numbers()) as numbers:
            async for _ in numbers:
                await asyncio.Event().wait()

    working = asyncio.create_task(work())
    await settle()
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    assert working.cancelled()
    assert source.closed


async def test_a_source_of_nothing_is_read_to_its_end() -> None:
    source = Source(last=0)
    async with ahead(source.numbers()) as numbers:
        assert [number async for number in numbers] == []
    assert source.closed
