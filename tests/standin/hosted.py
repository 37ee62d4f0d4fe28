"""The stand-in within this process: one server for all tests, and for each a stand-in that holds nothing of the last one's."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import uvicorn

from lanes.standin.app import App
from lanes.standin.clock import Clock
from lanes.standin.engine import open_engine
from lanes.standin.exchange import TRANSPORT, Receive, Scope, Send
from lanes.standin.limits import Settings
from lanes.standin.serving import address, configured, listening
from tests.standin.process import Endpoint

Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]


class Host:
    """An address at which one stand-in after the other answers; a process for each would take half a second of a test."""

    def __init__(self) -> None:
        self._listener = listening()
        self._server = uvicorn.Server(configured(self))
        self._loop = asyncio.new_event_loop()
        self._app: Asgi | None = None
        self._under_way: set[asyncio.Task[Any]] = set()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @contextlib.contextmanager
    def standin(
        self,
        home: Path,
        *,
        machine: Callable[[], float] = time.time,
        through: Callable[[Asgi], Asgi] = lambda app: app,
    ) -> Iterator[Endpoint]:
        """For the length of the block a new stand-in answers: echo, batches that end at once. After it nothing of it runs.

        `machine` is the clock of its machine; what it says goes `through` that.
        """
        home.mkdir()
        with ThreadPoolExecutor(thread_name_prefix="stand-in") as threads:
            self._loop.call_soon_threadsafe(self._loop.set_default_executor, threads)
            settings = Settings(turnaround_s=0)
            clock = Clock(settings, machine=machine)
            app = App(home=home, engine=open_engine("echo"), settings=settings, clock=clock)
            self._app = through(app)
            try:
                yield Endpoint(address(self._listener))
            finally:
                self._app = None
                asyncio.run_coroutine_threadsafe(self._hang_up(), self._loop).result()
        app.close()

    def stop(self) -> None:
        """Nobody answers any more."""
        self._server.should_exit = self._server.force_exit = True
        self._thread.join()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._under_way.add(task)
        try:
            assert self._app is not None, "nobody is to ask a stand-in whose test has ended"
            await self._app(scope, receive, send)
        except asyncio.CancelledError:
            scope[TRANSPORT].abort()
            while (await receive())["type"] != "http.disconnect":
                pass
        finally:
            self._under_way.discard(task)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._server.serve(sockets=[self._listener]))
        self._loop.close()

    async def _hang_up(self) -> None:
        """What is still being answered, stalled or slow, is given up."""
        under_way = list(self._under_way)
        for each in under_way:
            each.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
