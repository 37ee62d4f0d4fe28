"""What goes on beside the loop of a run: each a task of its own, so that none of them delays it or another."""

import asyncio
from collections.abc import Awaitable, Callable

from prefect.logging import get_run_logger

PAUSE_S = 1.0  # before one that broke is begun again
CLOSING_S = 1.0  # before what did not end is cancelled once more


class Beside:
    """Runs coroutines until it is closed. One that breaks says so once, until it changes, and is begun again."""

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
        """`act` is done again and again from now on, or from `after_s` seconds on, `every_s` seconds apart; None: it never ends
        by itself."""
        self._tasks.add(asyncio.create_task(self._keep(name, act, every_s, after_s), name=name))

    async def close(self) -> None:
        """Nothing goes on. What swallows a cancellation, as `asyncio.wait_for` may up to Python 3.11, is cancelled again."""
        while left := [task for task in self._tasks if not task.done()]:
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=CLOSING_S)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _keep(
        self, name: str, act: Callable[[], Awaitable[object]], every_s: float | None, after_s: float
    ) -> None:
        await asyncio.sleep(after_s)
        said = ""
        while True:
            try:
                await act()
                said = ""
            except Exception as error:
                if (trouble := f"{type(error).__name__}: {error}") != said:
                    get_run_logger().warning("%s: %s; it is tried again", name, trouble)
                said = trouble
            await asyncio.sleep(PAUSE_S if every_s is None else every_s)
