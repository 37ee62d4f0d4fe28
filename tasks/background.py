"""Background tasks, which delay neither the loop of a run nor each other, and the signals that wake the parts of a drain."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import ParamSpec, Protocol, TypeVar

from prefect.logging import get_run_logger

PAUSE_S = 1.0  # before a failed task is started again
CLOSING_S = 1.0  # before a task that did not end is cancelled again
ROUTED_WITHIN_S = 0.1  # longest wait of a look for work for the routing of received items


async def take_signal(event: asyncio.Event, *, within_s: float) -> bool:
    """Wait up to `within_s` seconds for the event and clear it; return whether it came in time."""
    # not wait_for, which on Python 3.11 can swallow our cancellation
    with suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            await event.wait()
    came = event.is_set()
    event.clear()
    return came


class Closable(Protocol):
    """An object that ends its work under way when it is closed."""

    async def close(self) -> None: ...


C = TypeVar("C", bound=Closable)


@asynccontextmanager
async def closing(opened: C) -> AsyncIterator[C]:
    """Yield the object, and close it at the end of the block."""
    try:
        yield opened
    finally:
        await opened.close()


class BackgroundTasks:
    """Coroutines that run until they are closed. A failed one is started again; its error is logged once until it changes."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def keep(
        self,
        name: str,
        act: Callable[[], Awaitable[object]],
        *,
        every_s: float | None = None,
        after_s: float = 0,
    ) -> None:
        """Repeat `act` with a pause of `every_s` seconds, starting after `after_s` seconds.

        With `every_s` None, `act` is expected to run until it is cancelled; if it ends, it is started again after a second.
        """
        self._tasks.add(asyncio.create_task(self._keep(name, act, every_s, after_s), name=name))

    async def close(self, *, again_s: float = CLOSING_S) -> None:
        """Cancel all tasks and wait until they have ended.

        A task that swallows a cancellation, as `asyncio.wait_for` may up to Python 3.11, is cancelled again after `again_s`
        seconds.
        """
        while pending := [task for task in self._tasks if not task.done()]:
            for task in pending:
                task.cancel()
            await asyncio.wait(pending, timeout=again_s)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _keep(
        self, name: str, act: Callable[[], Awaitable[object]], every_s: float | None, after_s: float
    ) -> None:
        await asyncio.sleep(after_s)
        last_error = ""
        while True:
            try:
                await act()
                last_error = ""
            except Exception as error:
                if (trouble := f"{type(error).__name__}: {error}") != last_error:
                    get_run_logger().warning("%s: %s; it is tried again", name, trouble)
                last_error = trouble
            await asyncio.sleep(PAUSE_S if every_s is None else every_s)


P = ParamSpec("P")


class BoundedTasks:
    """A group of tasks of which at most `most` run at once."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._under_way = set[asyncio.Task[None]]()

    async def begin(
        self, act: Callable[P, Awaitable[object]], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Start `act` as soon as fewer than `most` tasks run; raise the error of an earlier task."""
        while len(self._under_way) >= self._most:
            await self._some_end()
        self._under_way.add(asyncio.create_task(_perform(act, *args, **kwargs)))

    async def end(self) -> None:
        """Wait until all tasks have ended; raise the error of a failed task."""
        while self._under_way:
            await self._some_end()

    async def close(self, *, cancel: bool) -> None:
        """Wait until all tasks have ended, and ignore their errors; with `cancel`, cancel them first."""
        for task in self._under_way if cancel else ():
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _some_end(self) -> None:
        ended, self._under_way = await asyncio.wait(
            self._under_way, return_when=asyncio.FIRST_COMPLETED
        )
        await asyncio.gather(*ended)


async def _perform(act: Callable[P, Awaitable[object]], *args: P.args, **kwargs: P.kwargs) -> None:
    await act(*args, **kwargs)


@asynccontextmanager
async def bounded_tasks(most: int) -> AsyncIterator[BoundedTasks]:
    """Yield a group of tasks, and wait for all of them at the end of the block.

    A task that fails, or a block that fails, stops no other task. If the block is cancelled, so are the tasks.
    """
    work = BoundedTasks(most)
    try:
        yield work
        await work.end()
    except Exception:
        await work.close(cancel=False)
        raise
    finally:
        await work.close(cancel=True)


class Wakes:
    """The signals that wake the parts of one drain: the loop, the router, the publisher and the look for lost claims."""

    def __init__(self, *, routed_within_s: float = ROUTED_WITHIN_S) -> None:
        self.loop, self.routing, self.telling = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.rescue = asyncio.Event()
        self.routing.set()  # items may have been received before this drain began
        self._look, self._routed_within_s = True, routed_within_s
        self._later: asyncio.TimerHandle | None = None

    def record_foreign_commit(self) -> None:
        """Wake every part after a commit of another session: it may have added an item, ready work or an event.

        Received items are routed first, so that one look for work finds them too. The look does not wait for routing that takes
        longer than `routed_within_s`, or that another drain does.
        """
        self.routing.set()
        self.telling.set()
        if self._later is None:
            loop = asyncio.get_running_loop()
            self._later = loop.call_later(self._routed_within_s, self.record_ready_work)

    def record_arrival(self) -> None:
        """Record that received items wait for the router."""
        self.routing.set()

    def record_router_role(self) -> None:
        """Look for lost claims now: this drain has become the router, which ends them."""
        self.rescue.set()

    def record_ready_work(self) -> None:
        """Record that there may be work that the loop has not seen."""
        if self._later is not None:
            self._later.cancel()
            self._later = None
        self._look = True
        self.loop.set()

    def record_end_of_routing(self) -> None:
        """Look for work now if a look was waiting for routing to end: the router has routed every received item."""
        if self._later is not None:
            self.record_ready_work()

    def record_free_place(self) -> None:
        """Record that a call ended, so that a waiting pack can use its place."""
        self.loop.set()

    def record_save(self) -> None:
        """Wake the publisher and the loop: attempts are committed, and events with them."""
        self.telling.set()
        self.loop.set()

    def take_look_request(self) -> bool:
        """Return whether to look for work, and reset the request: the caller must look."""
        look, self._look = self._look, False
        return look
