"""Delivery of events to webhooks in the background; a subscriber that is slow or unavailable delays only itself."""

import asyncio
import os
import secrets
import socket
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta

from prefect.blocks.system import Secret

from lanes.store import webhooks
from lanes.store.database import Database
from lanes.store.signals import RoleLock
from lanes.store.webhooks import KeptEvent, WebhookPage, WebhookReply
from lanes.webhooks import (
    TIMEOUT_S,
    Undelivered,
    WebhookKeys,
    WebhookReceiver,
    block_name,
    make_body,
)
from tasks.background import BackgroundTasks, closing
from tasks.runs import Troubles, summarize_error

PAGE = 32  # events that are sent at once
EVERY_S = 0.5
SAVED = timedelta(seconds=10)  # time to save the replies, even on a busy machine
OPENED_S = 3.0  # longest wait for Prefect to return a block


async def load_keys(name: str) -> WebhookKeys:
    """Load the address and the secrets of a subscriber from its block."""
    async with asyncio.timeout(OPENED_S):
        block: Secret[str] = await Secret.aload(block_name(name))
    return WebhookKeys.read(block.value.get_secret_value())


class Deliverer:
    """Deliveries of one process, which last while its task runs; only one process at a time delivers to a subscriber.

    A lease ensures this. The lease ends with the process, whose session lock shows that it is alive. A process that lost its
    session stops sending, because another process may deliver from then on.
    """

    def __init__(
        self,
        db: Database,
        *,
        keys: Callable[[str], Awaitable[WebhookKeys]] = load_keys,
        timeout_s: float = TIMEOUT_S,
        most: int = PAGE,
    ) -> None:
        self._db, self._load, self._timeout_s, self._most = db, keys, timeout_s, most
        number = secrets.randbits(27) | 1 << 27  # above the numbers of roles and rollouts
        self._name = f"{socket.gethostname()}:{os.getpid()}:{number:07x}"
        self._alive = RoleLock(db.direct_url, webhooks.lock_number(self._name), part="webhooks")
        self._lease = timedelta(seconds=3 * timeout_s) + SAVED  # longer than the requests of a page
        self._keys: dict[int, tuple[int, WebhookKeys]] = {}  # with their secrets_no
        self._under_way: dict[int, asyncio.Task[None]] = {}
        self._troubles = Troubles()

    async def look(self) -> None:
        """Give new events their positions, and start deliveries to each subscriber that is due."""
        if not await self._alive.holds():
            await self._stop()
            if not await self._alive.try_take():
                return
        async with self._db.transaction() as run:
            while await run(webhooks.stamp, now=run.now) == webhooks.MOST_STAMPED:
                pass
            due = await run(webhooks.list_due, now=run.now)
        for id_ in due:
            if (task := self._under_way.get(id_)) is None or task.done():
                self._under_way[id_] = asyncio.create_task(self._serve(id_))

    async def close(self) -> None:
        """Stop delivering; the next process sends events under way again."""
        await self._stop()
        with suppress(Exception):  # the lease expires by itself
            async with asyncio.timeout(OPENED_S), self._db.transaction() as run:
                await run(webhooks.leave, holder=self._name, now=run.now)
        await self._alive.release()

    async def _stop(self) -> None:
        for task in self._under_way.values():
            task.cancel()
        await asyncio.gather(*self._under_way.values(), return_exceptions=True)

    async def deliver(self) -> None:
        """Deliver the due events to each subscriber once, and wait for the end."""
        await self.look()
        await asyncio.gather(*self._under_way.values())

    async def _serve(self, id_: int) -> None:
        try:
            while await self._deliver_page(id_):
                pass
            self._troubles.clear(str(id_))
        except Exception as error:
            self._troubles.report(
                str(id_), f"events wait for webhook {id_}: {summarize_error(error)}"
            )

    async def _deliver_page(self, id_: int) -> bool:
        """Deliver the next events; return whether there may be more."""
        holder_fields = {"holder": self._name}
        async with self._db.transaction() as run:
            page = await run(
                webhooks.take, id_, self._most, lease=self._lease, now=run.now, **holder_fields
            )
            now = run.now
        if page is None:
            return False
        try:
            keys = await self._keys_of(page)
        except Exception as error:
            reason = (
                f"its block {block_name(page.to.name)} cannot be read: {summarize_error(error)}"
            )
            rests = {"last_error": reason, "rest_until": now + webhooks.REST.first}
            await self._db.run(webhooks.change, id_, lease_until=now, **rests)
            raise
        replies = await self._send(page, keys, now)
        async with self._db.transaction() as run:
            return await run(webhooks.save, page, replies, now=run.now, **holder_fields)

    async def _keys_of(self, page: WebhookPage) -> WebhookKeys:
        known, keys = self._keys.get(page.to.id, (0, None))
        if keys is None or known != page.to.secrets_no:
            keys = await self._load(page.to.name)
            self._keys[page.to.id] = (page.to.secrets_no, keys)
        return keys

    async def _send(
        self, page: WebhookPage, keys: WebhookKeys, now: datetime
    ) -> dict[int, WebhookReply]:
        """Send the events of each subject in order, up to the first that is not accepted, and all subjects concurrently."""
        chains, replies = defaultdict[str, list[KeptEvent]](list), dict[int, WebhookReply]()
        for each in page.send:
            chains[each.subject].append(each)
        ends = asyncio.get_running_loop().time() + 2 * self._timeout_s

        async def send(chain: list[KeptEvent]) -> None:
            for each in chain:
                body = make_body(each.event, each.resource, each.payload, each.occurred_at)
                try:
                    await receiver.post(each.id, body, now)
                except Undelivered as error:
                    replies[each.position] = WebhookReply(str(error), error.retry_after, error.gone)
                    return
                replies[each.position] = WebhookReply(None)
                if asyncio.get_running_loop().time() > ends:
                    return

        private = {"allows_private": page.to.allows_private, "timeout_s": self._timeout_s}
        async with WebhookReceiver(keys, **private) as receiver:
            await asyncio.gather(*(send(chain) for chain in chains.values()))
        return replies


@asynccontextmanager
async def delivering(db: Database) -> AsyncIterator[None]:
    """Deliver to webhooks until the end of the block."""
    async with closing(Deliverer(db)) as deliverer, closing(BackgroundTasks()) as beside:
        beside.keep("webhooks", deliverer.look, every_s=EVERY_S)
        yield
