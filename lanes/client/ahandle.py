"""The handle for asynchronous programs."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Iterable, Mapping
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import Any, Self, TypeVar, TypeVarTuple, Unpack

from sqlalchemy import URL, Connection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from lanes.client import following, lookout, verbs
from lanes.client.following import AsyncJob, CorrectionWatch, Following
from lanes.client.places import async_place
from lanes.client.verbs import CHUNK, Fields, Sent, Verbs
from lanes.json_data import weight
from lanes.settling.listing import BEGIN, Listed, ListingPlace, ListingQuery
from lanes.store.database import clock
from lanes.store.settling import results
from lanes.store.settling.results import CorrectedRead, Result
from lanes.store.workload import workloads

MOST_BYTES = 1024**2  # in one transaction; serializing them to JSON takes about 5 ms
TURN_S = 0.005  # time after which the event loop's other tasks get a turn

Args = TypeVarTuple("Args")
T = TypeVar("T")


class AsyncLanes:
    """The same as `lanes.client.Lanes`, for one event loop, which it never blocks.

        async with AsyncLanes() as lanes:
            await lanes.submit("tickets", {"text": "..."}, key="t-1", urgent=True)
            await lanes.wait("tickets", "t-1", reader="support-desk", timeout_s=10)

    Waiting callers occupy no thread and no connection that other calls need.
    """

    def __init__(
        self,
        where: str | URL | AsyncEngine | AsyncConnection | None = None,
        *,
        connections: int = 6,
        patience_s: float = 10,
    ) -> None:
        self._place = async_place(where, connections)
        self._verbs = Verbs(timedelta(seconds=patience_s), ours=self._place.ours)

    async def submit(
        self,
        workload: str,
        payload: Mapping[str, Any],
        *,
        key: str | None = None,
        **fields: Unpack[Fields],
    ) -> Sent:
        """See `Lanes.submit`."""
        [sent] = await self.submit_many(workload, [{"payload": payload, "key": key, **fields}])
        return sent.raise_for_refusal()

    async def submit_many(
        self,
        workload: str,
        inputs: Iterable[Mapping[str, Any]],
        *,
        job: str | None = None,
        due_at: datetime | str | None = None,
        budget_usd: float | None = None,
    ) -> list[Sent]:
        """See `Lanes.submit_many`; a transaction takes fewer large inputs, so that the event loop's other tasks get turns."""
        if job is not None or due_at is not None or budget_usd is not None:
            inputs = [each async for each in yield_turns(inputs)]
            order = await asyncio.to_thread(verbs.job_order, job, inputs, due_at, budget_usd)
            await self._run(self._verbs.begin_job, order, workload, inputs)
        sent: list[Sent] = []
        chunk: list[verbs.Placed] = []
        size = 0
        async for each in yield_turns(verbs.assign_places(inputs, job)):
            chunk.append(each)
            size += weight(each)
            if len(chunk) >= CHUNK or size >= MOST_BYTES:
                sent += await self._admit(workload, chunk)
                chunk, size = [], 0
        if chunk:
            sent += await self._admit(workload, chunk)
        if job is not None:
            await self._run(self._verbs.close_job, job, sent)
        return sent

    async def _admit(self, workload: str, chunk: list[verbs.Placed]) -> list[Sent]:
        async def admit(connection: AsyncConnection) -> list[Sent]:
            now = await connection.run_sync(clock)
            submissions = [
                verbs.read(workload, each, now, place) async for place, each in yield_turns(chunk)
            ]
            return await connection.run_sync(self._verbs.admit, submissions, now)

        return await self._place.run(admit)

    async def amend(
        self,
        workload: str,
        key: str,
        payload: Mapping[str, Any],
        *,
        occurred_at: datetime | None = None,
    ) -> Sent:
        """See `Lanes.amend`."""
        sent = await self._run(self._verbs.amend, workload, key, payload, occurred_at)
        return sent.raise_for_refusal()

    async def cancel(self, workload: str, key: str) -> bool:
        """See `Lanes.cancel`."""
        return await self._run(self._verbs.cancel, workload, key)

    async def label(
        self, workload: str, key: str, expected: Mapping[str, Any], *, source: str = "client"
    ) -> None:
        """See `Lanes.label`."""
        await self._run(self._verbs.label, workload, key, expected, source)

    async def read_result(self, workload: str, key: str, *, reader: str) -> Result | None:
        """See `Lanes.read_result`."""
        return await self._run(
            self._verbs.read_result, verbs.build_result_request(workload, key, reader)
        )

    async def wait(
        self, workload: str, key: str, *, reader: str, timeout_s: float = 30, settled: bool = False
    ) -> Result | None:
        """See `Lanes.wait`."""
        request = verbs.build_result_request(workload, key, reader, settled=settled)
        return await lookout.await_(self._place.address(), request, timeout_s=timeout_s)

    async def results(
        self,
        workload: str,
        *,
        states: Collection[str] = (),
        since: datetime | None = None,
        reader: str | None = None,
        follow: bool = False,
        quiet_s: float | None = None,
    ) -> AsyncGenerator[Listed]:
        """See `Lanes.results`.

        If you leave the loop early, close the generator (`contextlib.aclosing`): the event loop would close it later.

        async for item in lanes.results("tickets", follow=True, reader="dashboard"):
            print(item.key, item.state, item.output)
        """
        query = verbs.build_listing_query(workload, states, since, follow=follow, reader=reader)
        if follow:
            async with aclosing(
                following.afollow(self._place, await self._begin(query, reader), quiet_s)
            ) as stream:
                async for item in stream:
                    yield item
            return
        await self._run(workloads.check_known, query.workload)
        onwards: ListingPlace | None = BEGIN
        while onwards is not None:
            async with self._place.transaction() as connection:
                page = await connection.run_sync(verbs.page, query, onwards, reader)
            for item in page.items:
                yield item
            onwards = page.onwards

    async def corrections(
        self, reader: str, *, follow: bool = False, quiet_s: float | None = None
    ) -> AsyncGenerator[CorrectedRead]:
        """See `Lanes.corrections`. If you leave the loop early, close the generator (`contextlib.aclosing`)."""
        if not follow:
            for correction in await self._run(results.to_correct, reader):
                yield correction
            return
        watch = CorrectionWatch(reader)
        async with aclosing(following.afollow(self._place, watch, quiet_s)) as stream:
            async for correction in stream:
                yield correction

    def job(self, name: str) -> AsyncJob:
        """See `Lanes.job`."""
        return AsyncJob(name, lambda name: self._run(verbs.job_status, name))

    async def _run(self, verb: Callable[[Connection, *Args], T], *args: *Args) -> T:
        return await self._place.run(lambda opened: opened.run_sync(verb, *args))

    async def _begin(self, query: ListingQuery, reader: str | None) -> Following:
        self._place.address()  # raises within a caller's transaction, where following is impossible
        async with self._place.transaction() as connection:
            await connection.run_sync(workloads.check_known, query.workload)
            return await connection.run_sync(Following, query, reader)

    async def close(self) -> None:
        """See `Lanes.close`."""
        await self._place.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


async def yield_turns(inputs: Iterable[T]) -> AsyncIterator[T]:
    """Yield each input, and let the event loop's other tasks run from time to time."""
    began = time.monotonic()
    for each in inputs:
        if time.monotonic() - began > TURN_S:
            await asyncio.sleep(0)
            began = time.monotonic()
        yield each
