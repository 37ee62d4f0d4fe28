"""The collector of all open batches, beside the ticks of its run: a few at once, each by itself."""

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta

from prefect.logging import get_run_logger

from lanes.backoff import Backoffs
from lanes.batch.batch import OpenBatch
from lanes.ids import BatchId
from lanes.settling.settle import BACKOFF
from lanes.store.batch import batches, collection
from lanes.store.doors import watermarks
from lanes.text import log_ids
from lanes.words import BatchState
from tasks.collect import collect_batch, poll
from tasks.connections import Connections

POLLED_AT_ONCE = 4
COLLECTED_AT_ONCE = 4
LONGEST_S = 3600.0  # a batch of the largest size takes minutes; a stream that trickles for ever keeps no other out
HAND_OVER_S = 20.0
POLLED = (BatchState.SUBMITTED, BatchState.SUPERSEDED)
AT_PROVIDER = (*POLLED, BatchState.ENDED)


class Collector:
    """Polls and collects batches; trouble with one is reported once and tried again after a growing rest.

    `items` counts collected items.
    """

    def __init__(self, at: Connections, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._at, self._clock = at, clock
        self._looking: dict[BatchId, asyncio.Task[None]] = {}
        self._polling = asyncio.Semaphore(POLLED_AT_ONCE)
        self._collecting = asyncio.Semaphore(COLLECTED_AT_ONCE)
        self._rests = Backoffs(BACKOFF)
        self.items = 0

    async def tick(self) -> None:
        """Start on every batch that the provider has, unless it rests, without waiting for any of them."""
        now = self._clock()
        async with self._at.db.transaction() as run:
            found = await run(batches.open_batches)
            await run(watermarks.advance, watermarks.COLLECT, run.now)
        for batch in found:
            is_there = batch.state in AT_PROVIDER and batch.id not in self._looking
            if is_there and self._rests.is_due(batch.id, now):
                self._looking[batch.id] = asyncio.create_task(self._look_after(batch))

    async def idle(self) -> None:
        """Wait until nothing is being collected."""
        while self._looking:
            await asyncio.wait(self._looking.values())

    async def close(self, *, within_s: float = HAND_OVER_S) -> None:
        """Wait up to `within_s` seconds, then cancel the rest, which the next run reads again."""
        try:
            await asyncio.wait_for(self.idle(), within_s)
        except TimeoutError:
            late = list(self._looking.values())
            for each in late:
                each.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _look_after(self, batch: OpenBatch) -> None:
        with log_ids(batch=batch.id):
            try:
                await self._bring_home(batch)
            except Exception as error:
                await self._troubled(batch, f"{type(error).__name__}: {error}")
            finally:
                self._looking.pop(batch.id, None)

    async def _bring_home(self, batch: OpenBatch) -> None:
        at = await self._at.of(batch.provider)
        if batch.state in POLLED:
            async with self._polling:
                ended = await poll(at, batch)
            if not ended:
                await self._well(batch)
                return
        async with self._collecting, asyncio.timeout(LONGEST_S):
            home = await collect_batch(at, batch)
        self.items += home.items
        if home.trouble is None:
            await self._well(batch)
        else:
            await self._troubled(batch, home.trouble, at_least=home.rest)

    async def _troubled(
        self, batch: OpenBatch, trouble: str, *, at_least: timedelta = timedelta(0)
    ) -> None:
        """Let the batch rest, and write the error into the log and its note, once until it changes."""
        if self._rests.fail(batch.id, trouble, self._clock(), at_least=at_least):
            get_run_logger().warning("batch %d will be tried again: %s", batch.id, trouble)
            await self._note(batch, trouble)

    async def _well(self, batch: OpenBatch) -> None:
        if self._rests.recover(batch.id):
            await self._note(batch, None)

    async def _note(self, batch: OpenBatch, note: str | None) -> None:
        try:
            await self._at.db.run(collection.noted, batch.id, note)
        except Exception as error:
            said = "batch %d could not be noted: %s"
            get_run_logger().warning(said, batch.id, type(error).__name__)
