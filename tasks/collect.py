"""Brings batches home: polls them, applies their results in any order, and returns what failed alone."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import datetime
from typing import TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from lanes.claims import Claim
from lanes.outcome import Attempt, Judged, judge
from lanes.provider import batches as provider
from lanes.provider.batches import BatchUnknown, RequestResult, ResultsCut, ResultsGone
from lanes.provider.errors import CallFailed
from lanes.store import batches, outcomes, workloads
from lanes.store.batches import OpenBatch
from lanes.words import BatchState, Outcome
from lanes.workload import Version
from tasks import reconcile
from tasks.connections import Connections

CHUNK = 500  # items applied in one transaction
T = TypeVar("T")


async def poll(at: Connections, batch: OpenBatch) -> bool:
    """Whether the batch has ended at the provider; its progress is recorded. Trouble is met again at the next tick."""
    assert batch.provider_batch_id is not None
    try:
        seen = await provider.retrieve(at.client, batch.provider_batch_id)
    except BatchUnknown as trouble:
        await reconcile.out_of_reach(at, batch, trouble)
        return False
    except CallFailed as failure:
        get_run_logger().warning("batch %d could not be looked up: %s", batch.id, failure)
        return False
    await reconcile.seen(at, batch, seen)
    if seen.ended_at is None:
        await at.db.run(batches.progress, batch.id, processed=seen.processed)
        return False
    await at.db.run(batches.ended, batch.id, at=seen.ended_at, now=await at.db.now())
    return True


@task(name="collect batch", task_run_name="collect batch {batch.id}", cache_policy=NO_CACHE, persist_result=False)
async def collect_batch(at: Connections, batch: OpenBatch) -> int:
    """Every result of an ended batch was applied once; the number of items. Safe to repeat after a crash.

    A batch that turns out to be a stranger's is let go, and nothing of it is applied.

    Raises:
        ResultsCut: the stream broke; what was applied stays, the rest follows at the next tick.
        CallFailed: the results cannot be opened yet.
        BatchUnknown, ResultsGone: they cannot be opened, and perhaps never will.
    """
    assert batch.provider_batch_id is not None
    version = (await at.db.run(workloads.versions, [batch.version_id]))[batch.version_id]
    total = 0
    requests = max(1, CHUNK * batch.requests // batch.items)
    proved = False
    async with aclosing(provider.results(at.client, batch.provider_batch_id)) as lines:
        async for chunk in _chunks(lines, requests):
            proved = proved or await reconcile.is_ours(at, batch, chunk[0].nonce)
            if not proved:
                return 0
            total += await _apply(at, batch, version, chunk)
    total += await _apply_missing(at, batch)
    await at.db.run(batches.collected, batch.id, now=await at.db.now())
    get_run_logger().info("batch %d of %s collected: %d items", batch.id, batch.workload, total)
    return total


async def _apply(at: Connections, batch: OpenBatch, version: Version, results: list[RequestResult]) -> int:
    ours = [each for each in results if each.nonce == batch.nonce]
    if len(ours) < len(results):
        get_run_logger().error("batch %d holds %d foreign results", batch.id, len(results) - len(ours))
    now = await at.db.now()
    async with at.db.transaction() as run:
        members = await run(batches.members, batch.id, [each.number for each in ours])
        attempts = [
            attempt
            for each in ours
            for attempt in _attempts(batch, version, members.get(each.number, []), each, now)
        ]
        saved = await run(outcomes.save, attempts, batch_id=batch.id, now=now)
        await run(batches.count, batch.id, saved.outcomes)
    return len(attempts)


def _attempts(
    batch: OpenBatch, version: Version, claims: list[Claim], result: RequestResult, now: datetime
) -> list[Attempt]:
    if result.response is not None:
        judged = judge(result.response, [str(slot) for slot in range(1, len(claims) + 1)], version.validator)
    else:
        judged = [result.judged or Judged(Outcome.ERRORED)] * len(claims)
    started = batch.submitted_at or batch.intended_at
    ms = round((now - started).total_seconds() * 1000)
    return [
        Attempt(claim, how, result.response, started, now, ms) for claim, how in zip(claims, judged, strict=True)
    ]


async def _apply_missing(at: Connections, batch: OpenBatch) -> int:
    """Work for which the ended batch held no result has an attempt that says so."""
    lost = Judged(Outcome.MISSING, error="the batch ended without a result for it")
    total = 0
    while claims := await at.db.run(batches.still_submitted, batch.id, CHUNK):
        now = await at.db.now()
        started = batch.submitted_at or batch.intended_at
        async with at.db.transaction() as run:
            attempts = [Attempt(claim, lost, None, started, now, 0) for claim in claims]
            saved = await run(outcomes.save, attempts, batch_id=batch.id, now=now)
            await run(batches.count, batch.id, saved.outcomes)
        total += len(claims)
    return total


async def collect_ready(at: Connections) -> int:
    """Every open batch was looked up, and those that ended were collected; the number of items brought home."""
    total = 0
    for batch in await at.db.run(batches.open_batches):
        if batch.state in (BatchState.SUBMITTED, BatchState.SUPERSEDED) and not await poll(at, batch):
            continue
        if batch.state not in (BatchState.SUBMITTED, BatchState.SUPERSEDED, BatchState.ENDED):
            continue
        try:
            total += await collect_batch(at, batch)
        except (BatchUnknown, ResultsGone) as trouble:
            await reconcile.out_of_reach(at, batch, trouble)
        except (ResultsCut, CallFailed) as trouble:
            get_run_logger().warning("batch %d is collected at the next tick: %s", batch.id, trouble)
    return total


async def _chunks(source: AsyncIterator[T], size: int) -> AsyncIterator[list[T]]:
    chunk: list[T] = []
    async for each in source:
        chunk.append(each)
        if len(chunk) >= size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
