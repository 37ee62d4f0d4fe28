"""Background tasks with a limit: they run concurrently, never more than the limit, and none is left running."""

import asyncio
from collections import defaultdict

import pytest

from tasks.background import BoundedTasks, bounded_tasks


class Pieces:
    """Pieces of work that end when a test lets them; records which pieces began and how they ended."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.ended: dict[int, str] = {}
        self.may_end: defaultdict[int, asyncio.Event] = defaultdict(asyncio.Event)

    async def work(self, number: int, error: Exception | None = None) -> None:
        self.begun.append(number)
        try:
            await self.may_end[number].wait()
        except asyncio.CancelledError:
            self.ended[number] = "cancelled"
            raise
        self.ended[number] = "done" if error is None else "failed"
        if error is not None:
            raise error

    async def let(self, *numbers: int) -> None:
        for number in numbers:
            self.may_end[number].set()
        await settle()


async def settle() -> None:
    """Run the event loop until every task that can continue has continued."""
    for _ in range(20):
        await asyncio.sleep(0)


async def begin_all(pieces: Pieces, numbers: range, work: BoundedTasks) -> None:
    for number in numbers:
        await work.begin(pieces.work, number)


async def test_pieces_run_up_to_the_limit_and_the_next_begins_when_any_ends() -> None:
    pieces = Pieces()

    async def run() -> None:
        async with bounded_tasks(2) as work:
            await begin_all(pieces, range(4), work)

    running = asyncio.create_task(run())
    await settle()
    assert pieces.begun == [0, 1]
    await pieces.let(1)
    assert pieces.begun == [0, 1, 2]
    await pieces.let(0, 2, 3)
    await running
    assert pieces.ended == dict.fromkeys(range(4), "done")


async def test_the_block_ends_when_its_last_piece_ends() -> None:
    pieces = Pieces()

    async def run() -> None:
        async with bounded_tasks(2) as work:
            await begin_all(pieces, range(2), work)

    running = asyncio.create_task(run())
    await settle()
    assert not running.done()
    await pieces.let(0, 1)
    assert running.done()


async def test_an_error_is_raised_after_the_running_pieces_end_and_no_other_piece_begins() -> None:
    pieces = Pieces()

    async def run() -> None:
        async with bounded_tasks(2) as work:
            await work.begin(pieces.work, 0, ValueError("broken"))
            await begin_all(pieces, range(1, 4), work)

    running = asyncio.create_task(run())
    await settle()
    await pieces.let(0)
    assert not running.done()
    await pieces.let(1)
    with pytest.raises(ValueError, match="broken"):
        await running
    assert pieces.begun == [0, 1]
    assert pieces.ended == {0: "failed", 1: "done"}


async def test_a_failure_of_the_last_piece_is_raised_too() -> None:
    pieces = Pieces()
    pieces.may_end[0].set()

    async def run() -> None:
        async with bounded_tasks(2) as work:
            await work.begin(pieces.work, 0, ValueError("broken"))

    with pytest.raises(ValueError, match="broken"):
        await run()


async def test_a_failing_block_waits_for_its_pieces_and_raises_its_own_error() -> None:
    pieces = Pieces()

    async def run() -> None:
        async with bounded_tasks(2) as work:
            await work.begin(pieces.work, 0)
            await work.begin(pieces.work, 1, ValueError("broken too"))
            raise KeyError("cut")

    running = asyncio.create_task(run())
    await settle()
    assert not running.done()
    await pieces.let(0, 1)
    with pytest.raises(KeyError, match="cut"):
        await running
    assert pieces.ended == {0: "done", 1: "failed"}


async def test_a_cancelled_block_cancels_its_running_pieces() -> None:
    pieces = Pieces()

    async def run() -> None:
        async with bounded_tasks(2) as work:
            await begin_all(pieces, range(4), work)

    running = asyncio.create_task(run())
    await settle()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert running.cancelled()
    assert pieces.ended == {0: "cancelled", 1: "cancelled"}
