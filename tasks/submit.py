"""Carries batch work to the provider: intent committed, created once, id committed."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from lanes import promises
from lanes.claims import Claimed
from lanes.packing import packs
from lanes.provider import batches as provider
from lanes.provider.answering import questions
from lanes.provider.errors import FREEZES, Action, CallFailed
from lanes.provider.requests import body_bytes, parameters
from lanes.store import batches, history, incidents, workloads
from lanes.store.batches import Intent, Kind
from lanes.words import Lane
from lanes.workload import Version
from tasks.connections import Connections

MOST_ITEMS = 50_000  # of one batch
MOST_BYTES = provider.MOST_BYTES // 2  # leaves room for how the body is encoded


@dataclass(frozen=True)
class Prepared:
    """A committed intent with the bodies that will be sent for it."""

    batch_id: int
    nonce: str
    items: int
    bodies: list[dict[str, Any]]
    expected_minutes: int


@task(name="submit batch", cache_policy=NO_CACHE, persist_result=False)
async def submit_batch(at: Connections, kind: Kind) -> int:
    """One batch of a workload's waiting work is with the provider; its number of items, 0 when nothing waited.

    A create without an answer leaves the batch `intended`: `collect` finds out what became of it.

    Raises:
        CallFailed: the provider refused; the work is ready again.
    """
    prepared = await prepare(at, kind, now=await at.db.now())
    if prepared is None:
        return 0
    try:
        created = await provider.create(at.client, prepared.nonce, prepared.bodies)
    except CallFailed as failure:
        await _not_created(at, kind, prepared, failure)
        raise
    now = await at.db.now()
    expected = now + timedelta(minutes=prepared.expected_minutes)
    await at.db.run(batches.submitted, prepared.batch_id, created.id, expected_end_at=expected, now=now)
    get_run_logger().info("batch %d: %d items of %s as %s", prepared.batch_id, prepared.items, kind.workload, created.id)
    return prepared.items


async def prepare(at: Connections, kind: Kind, *, now: datetime) -> Prepared | None:
    """The intent of one batch is committed and owns its work; None when nothing waited."""
    async with at.db.transaction() as run:
        version = await run(workloads.one, kind.version_id)
        waiting = await run(batches.lock_for_batch, kind, limit=MOST_ITEMS, now=now)
        earlier = await run(history.load, waiting, version.spec.history_items)
        requests, size = _fitting(version, waiting, earlier)
        if not requests:
            return None
        bodies = [body for _, body in requests]
        intent = Intent(
            nonce=secrets.token_hex(8),
            account=at.provider.account,
            workload=kind.workload,
            version_id=kind.version_id,
            model=version.spec.batch_model,
            bytes=size,
            body_hash=hashlib.sha256(b"\n".join(map(body_bytes, bodies))).hexdigest(),
        )
        claims = [[each.claim for each in pack] for pack, _ in requests]
        batch_id = await run(batches.intend, intent, claims, now=now)
    items = sum(len(pack) for pack, _ in requests)
    return Prepared(batch_id, intent.nonce, items, bodies, version.spec.batch_expected_minutes)


def _fitting(
    version: Version, waiting: list[Claimed], earlier: history.History
) -> tuple[list[tuple[list[Claimed], dict[str, Any]]], int]:
    """Requests within the provider's limits, with their size in bytes; what does not fit waits for the next batch."""
    fitting: list[tuple[list[Claimed], dict[str, Any]]] = []
    size = 0
    for pack in packs(waiting, version.spec.pack_of(Lane.BATCH))[: provider.MOST_REQUESTS]:
        body = parameters(version, Lane.BATCH, questions(pack, earlier))
        size += len(body_bytes(body))
        if size > MOST_BYTES and fitting:
            break
        fitting.append((pack, body))
    return fitting, size


async def _not_created(at: Connections, kind: Kind, prepared: Prepared, failure: CallFailed) -> None:
    if failure.maybe_billed or failure.action is Action.RETRY:
        get_run_logger().warning("batch %d may exist: %s; collect finds out", prepared.batch_id, failure)
        return
    now = await at.db.now()
    async with at.db.transaction() as run:
        await run(batches.release, prepared.batch_id, note=f"refused: {failure}", now=now)
        if failure.action in FREEZES:
            breach = promises.frozen(kind.workload, Lane.BATCH, prepared.items, str(failure))
            await run(incidents.open, breach, now=now)
