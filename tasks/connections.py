"""What a run that asks the provider works with, opened together and closed together."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from blocks.database import DatabaseBlock
from blocks.provider import Provider
from lanes.provider.client import load
from lanes.store.database import Database
from tasks.runs import BLOCK
from tasks.tracing import tracing

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic
import time
from datetime import datetime, timedelta

from prefect.runtime import flow_run


@dataclass(frozen=True)
class Connections:
    """An open database, a provider whose client opens beside what a run does, and which run works with them."""

    db: Database
    opening: "ProviderClient"
    provider: Provider
    flow_run_id: UUID | None = None

    async def client(self) -> "AsyncAnthropic":
        """Wait for the provider's client; raise what kept it from opening."""
        return await asyncio.shield(self.opening.begin())


class ProviderClient:
    """The provider's client, which opens on a thread, because its packages take over a second to load."""

    def __init__(self, provider: Provider, opened: Callable[[object], object]) -> None:
        self._provider, self._opened = provider, opened
        self._opening: asyncio.Task[AsyncAnthropic] | None = None

    def begin(self) -> "asyncio.Task[AsyncAnthropic]":
        """Open it, once."""
        if self._opening is None:
            self._opening = asyncio.create_task(asyncio.to_thread(self._provider.connect))
            self._opening.add_done_callback(self._opened)
        return self._opening

    async def close(self) -> None:
        """Close it, once it has opened."""
        if self._opening is None:
            return
        await asyncio.wait({self._opening})
        if not self._opening.cancelled() and self._opening.exception() is None:
            await self._opening.result().close()


@asynccontextmanager
async def connections(*, calls_at_once: bool = True) -> AsyncIterator[Connections]:
    """Provide the database and the provider of the `lanes` blocks; the SDK loads meanwhile, or else at the first call."""
    if calls_at_once:
        loading = asyncio.create_task(asyncio.to_thread(load))
        # opening a client raises it again
        loading.add_done_callback(lambda done: done.cancelled() or done.exception())
    provider, where = await asyncio.gather(Provider.aload(BLOCK), DatabaseBlock.aload(BLOCK))
    async with (
        opening(provider, opened=keep_what_is_loaded) as client,
        where.connect() as db,
    ):
        if calls_at_once:
            client.begin()
        async with tracing(db.url):
            yield Connections(db, client, provider, this_run())


@asynccontextmanager
async def opening(
    provider: Provider, *, opened: Callable[[object], object] = lambda _: None
) -> AsyncIterator[ProviderClient]:
    """Provide a client of the provider, and close it; `opened` is called once it has opened."""
    client = ProviderClient(provider, opened)
    try:
        yield client
    finally:
        await client.close()


def keep_what_is_loaded(_: object) -> None:
    """Exclude the objects that the run has loaded from garbage collection.

    They stay for the whole run; each collection that visits them stops the run for a quarter of a second, which took
    a third of the time of its saves.
    """
    gc.freeze()


class HostClock:
    """The database's time, carried on by this host between two readings."""

    def __init__(self, now: datetime) -> None:
        self.read(now)

    def read(self, now: datetime) -> None:
        """Set the clock to the database's time, which was read just now."""
        self._now, self._read_at = now, time.monotonic()

    def __call__(self) -> datetime:
        return self._now + timedelta(seconds=time.monotonic() - self._read_at)


def this_run() -> UUID | None:
    """Return the id of the current flow run, also in its background tasks; None outside of a run."""
    return UUID(str(flow_run.id)) if flow_run.id else None
