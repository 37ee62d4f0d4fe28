"""Brings batches home: polls them, applies their results in any order, and returns what failed alone."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from lanes.claims import Claim
from lanes.errors import StillLocked
from lanes.outcome import Attempt, Judged, judge
from lanes.provider import batches as provider
from lanes.provider.batches import RequestResult, ResultsCut
from lanes.provider.errors import CallFailed
from lanes.store import batches, workloads
from lanes.store.batches import OpenBatch
from lanes.words import BatchState, Outcome
from lanes.workload import Version
from tasks.connections import Connections
from tasks.saving import save

CHUNK = 500  # items applied in one transaction
T = TypeVar("T")


async def poll(at: Connections, batch: OpenBatch) -> bool:
    """Whether the batch has ended at the provider; its progress is recorded. Trouble is met again at the next tick."""
    assert batch.provider_batch_id is not None
    try:
        seen = await provider.retrieve(at.client, batch.provider_batch_id)
    except CallFailed as failure:
        get_run_logger().warning("batch %d could not be looked up: %s", batch.id, failure)
        return False
    if seen.ended_at is None:
        await at.db.run(batches.progress, batch.id, processed=seen.processed)
        return False
    await at.db.run(batches.ended, batch.id, at=seen.ended_at, now=await at.db.now())
    return True


@task(name="collect batch", task_run_name="collect batch {batch.id}", cache_policy=NO_CACHE, persist_result=False)
async def collect_batch(at: Connections, batch: OpenBatch) -> int:
    """Every result of an ended batch was applied once; the number of items. Safe to repeat after a crash.

    Raises:
        ResultsCut: the stream broke; what was applied stays, the rest follows at the next tick.
        CallFailed: the results cannot be opened yet.
        StillLocked: others hold some of its items; the rest is applied, and these follow at the next tick.
    """
    assert batch.provider_batch_id is not None
    version = await at.db.run(workloads.one, batch.version_id)
    total, held = 0, 0
    requests = max(1, CHUNK * batch.requests // batch.items)
    async for chunk in _chunks(provider.results(at.client, batch.provider_batch_id), requests):
        attempts = await _read(at, batch, version, chunk)
        total += len(attempts)
        held += len((await save(at.db, attempts, batch_id=batch.id)).passed_over)
    if not held:
        missing, held = await _apply_missing(at, batch)
        total += missing
    if held:
        raise StillLocked(f"{held} of its items are in open transactions of others")
    await at.db.run(batches.collected, batch.id, now=await at.db.now())
    get_run_logger().info("batch %d of %s collected: %d items", batch.id, batch.workload, total)
    return total


async def _read(at: Connections, batch: OpenBatch, version: Version, results: list[RequestResult]) -> list[Attempt]:
    """What the results say of the items of their requests."""
    ours = [each for each in results if each.nonce == batch.nonce]
    if len(ours) < len(results):
        get_run_logger().error("batch %d holds %d foreign results", batch.id, len(results) - len(ours))
    now = await at.db.now()
    members = await at.db.run(batches.members, batch.id, [each.number for each in ours])
    return [
        attempt for each in ours for attempt in _attempts(batch, version, members.get(each.number, []), each, now)
    ]


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


async def _apply_missing(at: Connections, batch: OpenBatch) -> tuple[int, int]:
    """Work for which the ended batch held no result has an attempt that says so; how much, and how much others hold."""
    lost = Judged(Outcome.MISSING, error="the batch ended without a result for it")
    total, held = 0, 0
    while not held and (claims := await at.db.run(batches.still_submitted, batch.id, CHUNK)):
        now = await at.db.now()
        started = batch.submitted_at or batch.intended_at
        attempts = [Attempt(claim, lost, None, started, now, 0) for claim in claims]
        held = len((await save(at.db, attempts, batch_id=batch.id)).passed_over)
        total += len(claims) - held
    return total, held


async def collect_ready(at: Connections) -> int:
    """Every open batch was looked up, and those that ended were collected; the number of items brought home."""
    total = 0
    for batch in await at.db.run(batches.open_batches):
        if batch.state is BatchState.SUBMITTED and not await poll(at, batch):
            continue
        if batch.state not in (BatchState.SUBMITTED, BatchState.ENDED):
            continue
        try:
            total += await collect_batch(at, batch)
        except (ResultsCut, CallFailed, StillLocked) as trouble:
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
