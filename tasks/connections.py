"""The connections of a run that calls the provider, opened together and closed together."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import httpx
from prefect.exceptions import PrefectException
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from blocks.database import DatabaseBlock
from blocks.provider import Provider
from lanes.errors import SetupError
from lanes.promises.breaches import frozen
from lanes.provider.client import load
from lanes.store import incidents
from lanes.store.database import Database
from lanes.store.workload import accounts
from lanes.store.workload.accounts import LaneAccount
from lanes.words import BLOCK
from tasks.background import closing
from tasks.tracing import tracing

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic


@dataclass(frozen=True)
class Connections:
    """An open database, a provider whose client opens in the background, and the id of the run that uses them.

    `name` is the name of the provider's block; `accounts` opens the blocks of other accounts, None if there is only one.
    """

    db: Database
    opening: "ProviderClient"
    provider: Provider
    flow_run_id: UUID | None = None
    name: str = BLOCK
    accounts: "Accounts | None" = None

    async def client(self) -> "AsyncAnthropic":
        """Wait for the provider's client; raise the error that prevented its opening."""
        return await asyncio.shield(self.opening.begin())

    @property
    def lane_account(self) -> LaneAccount:
        """The key of the account's load on the real-time lane."""
        return LaneAccount(self.provider.account, self.provider.most_calls, self.name)

    async def of(self, name: str) -> "Connections":
        """Return the connections for the account of another provider block.

        Raises:
            SetupError: the block cannot be loaded.
        """
        return self if self.accounts is None else await self.accounts.of(name)

    async def each_account(self) -> Sequence["Connections"]:
        """Return the connections for each account that a workload or an open batch names.

        A block that cannot be loaded is logged and left out; the work that names it waits.
        """
        return [self] if self.accounts is None else await self.accounts.all()

    @property
    def unopened_blocks(self) -> Collection[str]:
        """The provider blocks that are in use but could not be loaded."""
        return [] if self.accounts is None else self.accounts.failed


class Accounts:
    """The accounts of one run, by the name of their provider block; each is opened when it is first needed."""

    def __init__(
        self, main: Connections, load: Callable[[str], Awaitable[Provider]] = Provider.aload
    ) -> None:
        self.main, self._load = replace(main, accounts=self), load
        self._opened = {main.name: self.main}
        self._stack, self._lock = AsyncExitStack(), asyncio.Lock()
        self.failed: set[str] = set()  # blocks in use that could not be loaded
        self._noted: set[str] = set()

    async def all(self) -> Sequence[Connections]:
        """Open the accounts in use, record their names in the database, and return their connections."""
        in_use = await self._note()
        self.failed &= in_use
        if missing := in_use - self._opened.keys():
            for name in sorted(missing):
                try:
                    await self.of(name)
                except SetupError as error:
                    await self._tell(name, error)
                except (httpx.HTTPError, PrefectException) as error:
                    self.failed.add(name)
                    message = "Prefect does not give block Lanes provider/%s (%s); asked again soon"
                    get_run_logger().warning(message, name, type(error).__name__)
            await self._note()
        return [*self._opened.values()]

    async def _note(self) -> set[str]:
        called = {name: each.provider.account for name, each in self._opened.items()}
        async with self.main.db.transaction() as run:
            new = called.keys() - self._noted
            in_use = await run(accounts.note, called, new=new, now=run.now)
        self._noted |= new
        return in_use

    async def of(self, name: str) -> Connections:
        """Return the connections for the account of that block. Raises `SetupError` if the block cannot be loaded."""
        async with self._lock:
            if name not in self._opened:
                try:
                    provider = await self._load(name)
                except ValueError as error:  # the block does not exist, or its content is invalid
                    raise SetupError(
                        f'block "Lanes provider/{name}" cannot be loaded ({type(error).__name__}): create it in Prefect, or '
                        "correct the workloads that name it"
                    ) from error
                client = await self._stack.enter_async_context(opening(provider))
                self._opened[name] = replace(
                    self.main, opening=client, provider=provider, name=name
                )
                self.failed.discard(name)
        return self._opened[name]

    async def _tell(self, name: str, error: SetupError) -> None:
        """Log once that a block cannot be loaded, and keep an incident open while work waits for it."""
        if name not in self.failed:
            get_run_logger().error("%s", error)
        self.failed.add(name)
        async with self.main.db.transaction() as run:
            account, items = await run(accounts.read_backlog, name)
            if items:
                breach = frozen(account, items, str(error), flow_run_id=self.main.flow_run_id)
                await run(incidents.open, breach, now=run.now)

    async def close(self) -> None:
        """Close the clients of all accounts but the first, which its opener closes."""
        await self._stack.aclose()


class ProviderClient:
    """The provider's client, which opens on a thread because its packages take over a second to load."""

    def __init__(self, provider: Provider, opened: Callable[[object], object]) -> None:
        self._provider, self._opened = provider, opened
        self._opening: asyncio.Task[AsyncAnthropic] | None = None

    def begin(self) -> "asyncio.Task[AsyncAnthropic]":
        """Start to open the client, once, and return the task."""
        if self._opening is None:
            self._opening = asyncio.create_task(asyncio.to_thread(self._provider.connect))
            self._opening.add_done_callback(self._opened)
        return self._opening

    async def close(self) -> None:
        """Close the client, after waiting for its opening."""
        if self._opening is None:
            return
        await asyncio.wait({self._opening})
        if not self._opening.cancelled() and self._opening.exception() is None:
            await self._opening.result().close()


@asynccontextmanager
async def connections(*, calls_at_once: bool = True) -> AsyncIterator[Connections]:
    """Yield the database and the provider of the `lanes` blocks; the SDK loads in the background, or else at the first call."""
    if calls_at_once:
        loading = asyncio.create_task(asyncio.to_thread(load))
        # opening a client raises the error again
        loading.add_done_callback(lambda done: done.cancelled() or done.exception())
    provider, database_block = await asyncio.gather(
        Provider.aload(BLOCK), DatabaseBlock.aload(BLOCK)
    )
    async with (
        opening(provider, opened=keep_what_is_loaded) as client,
        database_block.connect() as db,
    ):
        if calls_at_once:
            client.begin()
        run_accounts = Accounts(Connections(db, client, provider, this_run()))
        async with tracing(db.url), closing(run_accounts):
            yield run_accounts.main


@asynccontextmanager
async def opening(
    provider: Provider, *, opened: Callable[[object], object] = lambda _: None
) -> AsyncIterator[ProviderClient]:
    """Yield a client of the provider, and close it at the end; `opened` is called once it has opened."""
    async with closing(ProviderClient(provider, opened)) as client:
        yield client


def keep_what_is_loaded(_: object) -> None:
    """Exclude the objects that the run has loaded from garbage collection.

    They live for the whole run. Each collection that visits them would stop the run for a quarter of a second, which took a
    third of the time of its saves.
    """
    gc.freeze()


class HostClock:
    """The database's time, advanced by this host's monotonic clock between two readings."""

    def __init__(self, now: datetime) -> None:
        self.read(now)

    def read(self, now: datetime) -> None:
        """Set the clock to the database's time `now`, which must have just been read."""
        self._now, self._read_at = now, time.monotonic()

    def __call__(self) -> datetime:
        return self._now + timedelta(seconds=time.monotonic() - self._read_at)


def this_run() -> UUID | None:
    """Return the id of the current flow run, also in its background tasks, or None outside a run."""
    return UUID(str(flow_run.id)) if flow_run.id else None
