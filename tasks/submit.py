"""Carries batch work to the provider: intent committed, created once, id committed."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from lanes.batch.batch import Answer, Intent, Kind
from lanes.batch.fitting import Request, Write, fitting
from lanes.chunks import chunks
from lanes.claims import Claimed
from lanes.errors import LanesError
from lanes.ids import BatchId
from lanes.packids import new_nonce, pack_ids
from lanes.packing import packs
from lanes.payload import weight
from lanes.promises.provider_faults import frozen
from lanes.provider import batches as provider
from lanes.provider.answering import questions
from lanes.provider.batches import ProviderBatch
from lanes.provider.errors import FREEZES, Action, CallFailed
from lanes.provider.requests import body_bytes, parameters
from lanes.store import incidents
from lanes.store.batch import adoption, batches, creates, ready_work, releases
from lanes.store.database import Run
from lanes.store.settling import history
from lanes.store.workload import workloads
from lanes.units import counted
from lanes.words import Lane
from lanes.workload.version import Version
from tasks.connections import Connections
from tasks.reconcile import create_of

MOST_ITEMS = 50_000  # of one batch
MOST_BYTES = provider.MOST_BYTES // 2  # leaves room for how the body is encoded
HISTORIES = 500  # works whose history is loaded at once, or fewer
HISTORY_BYTES = 1024**2  # of their own payloads: those of their entities are of that kind, and there are several each
DECIDED_AFTER = timedelta(minutes=10)  # how often it is seen whether somebody decided about a held batch


class Blocked(LanesError):
    """No batch can be created until another one of the account is resolved. `until`: when to ask again."""

    def __init__(self, detail: str, until: datetime) -> None:
        self.until = until
        super().__init__(detail)


class TooLarge(LanesError):
    """The provider takes no batch of that size; fewer `items` may fit."""

    def __init__(self, detail: str, items: int) -> None:
        self.items = items
        super().__init__(detail)


@dataclass(frozen=True)
class Prepared:
    """A committed intent with the bodies that will be sent for it."""

    batch_id: BatchId
    nonce: str
    items: int
    bodies: list[dict[str, Any]]
    expected_minutes: int


@task(name="submit batch", cache_policy=NO_CACHE, persist_result=False)
async def submit_batch(at: Connections, kind: Kind, *, most: int = MOST_ITEMS) -> int:
    """One batch of up to `most` of a workload's waiting items is with the provider; their number, 0 when none waited.

    A create without an answer leaves the batch `intended`: `collect` finds out what became of it.

    Raises:
        CallFailed: the provider refused, and the work is ready again; or it gave no answer.
        TooLarge: it takes fewer items at once, and the work is ready again.
        Blocked: a batch of the account must be resolved first.
    """
    await _unblocked(at)
    prepared = await prepare(at, kind, most=most)
    if prepared is None:
        return 0
    try:
        within_s = at.provider.create_within_s
        created = await provider.create(await at.client(), prepared.nonce, prepared.bodies, within_s=within_s)
    except CallFailed as failure:
        await _not_created(at, kind, prepared, failure)
        if failure.action is Action.SPLIT and prepared.items > 1:
            raise TooLarge(str(failure), prepared.items) from failure
        raise
    await _created(at, kind, prepared, created)
    return prepared.items


async def _unblocked(at: Connections) -> None:
    open_ = await at.db.run(batches.unresolved, at.provider.account)
    if open_ is not None:
        until = create_of(at, open_).over_at + timedelta(seconds=at.provider.listing_grace_s)
        raise Blocked(f"the create of batch {open_.id} of {open_.workload} has no answer; until it has, none follows", until)


async def prepare(at: Connections, kind: Kind, *, now: datetime | None = None, most: int = MOST_ITEMS) -> Prepared | None:
    """The intent of one batch is committed and owns its work; None when nothing waited. `now` is the database's time
    unless given.

    Raises:
        Blocked: it could not be told apart from a batch of the account that is still to be found.
    """
    async with at.db.transaction() as run:
        now = now or run.now
        version = await run(workloads.one, kind.version_id)
        waiting = await run(ready_work.lock_for_batch, kind, limit=most, most_bytes=MOST_BYTES, now=now)
        waiting, earlier = await _with_history(run, waiting, version.spec.history_items)
        taken = await run(adoption.unsure_counts, at.provider.account)
        nonce = new_nonce()
        full = packs(waiting, version.spec.pack_of(Lane.BATCH))
        write = _writer(version, nonce, earlier)
        requests = fitting(full, write, most_requests=provider.MOST_REQUESTS, most_bytes=MOST_BYTES, taken=taken)
        if full and not requests:
            many = counted(min(len(full), provider.MOST_REQUESTS), "request")
            said = f"{many} could not be told apart from a batch that is still to be found; see `lanes batches`"
            raise Blocked(said, now + DECIDED_AFTER)
        if not requests:
            return None
        bodies = [each.body for each in requests]
        intent = Intent(
            nonce=nonce,
            account=at.provider.account,
            workload=kind.workload,
            version_id=kind.version_id,
            model=version.spec.batch_model,
            bytes=sum(each.size for each in requests),
            body_hash=hashlib.sha256(b"\n".join(map(body_bytes, bodies))).hexdigest(),
            flow_run_id=at.flow_run_id,
        )
        claims = [[each.claim for each in request.pack] for request in requests]
        batch_id = await run(creates.intend, intent, claims, now=now)
    items = sum(len(each.pack) for each in requests)
    return Prepared(batch_id, intent.nonce, items, bodies, version.spec.batch_expected_minutes)


async def _with_history(run: Run, waiting: list[Claimed], most: int) -> tuple[list[Claimed], history.History]:
    """The work with what its entities said before, no more of it once all of that fills a batch; the rest waits."""
    if most == 0:
        return waiting, {}
    taken: list[Claimed] = []
    earlier: history.History = {}
    held = 0
    for part in chunks(waiting, most=HISTORIES, most_bytes=HISTORY_BYTES, weight=lambda each: weight(each.payload)):
        of_part = await run(history.load, part, most)
        taken += part
        earlier |= of_part
        held += sum(map(weight, of_part.values())) + sum(weight(each.payload) for each in part)
        if held >= MOST_BYTES:
            break
    return taken, earlier


def _writer(version: Version, nonce: str, earlier: history.History) -> Write:
    """How a pack becomes a request of the batch of that nonce."""

    def write(number: int, pack: Sequence[Claimed]) -> Request:
        body = parameters(version, Lane.BATCH, questions(pack, pack_ids(nonce, number, len(pack)), earlier))
        return Request([*pack], body, len(body_bytes(body)))

    return write


async def _created(at: Connections, kind: Kind, prepared: Prepared, created: ProviderBatch) -> None:
    async with at.db.transaction() as run:
        expected = run.now + timedelta(minutes=prepared.expected_minutes)
        answer = await run(creates.submitted, prepared.batch_id, created.id, expected_end_at=expected, now=run.now)
    said = "batch %d: %d items of %s as %s"
    get_run_logger().info(said, prepared.batch_id, prepared.items, kind.workload, created.id)
    if answer is not Answer.SUBMITTED:
        get_run_logger().warning("batch %d was answered late: %s", prepared.batch_id, answer)
    if answer is Answer.TWIN:
        await provider.cancel(await at.client(), created.id)


async def _not_created(at: Connections, kind: Kind, prepared: Prepared, failure: CallFailed) -> None:
    what = f"batch {prepared.batch_id} of {kind.workload} with {counted(prepared.items, 'item')}"
    if ambiguous(failure):
        async with at.db.transaction() as run:
            await run(adoption.create_ended, prepared.batch_id, now=run.now)
        get_run_logger().warning("%s may exist: %s; collect finds out", what, failure)
        return
    async with at.db.transaction() as run:
        await run(releases.release, prepared.batch_id, note=f"refused: {failure}", now=run.now)
        if failure.action in FREEZES:
            breach = frozen(kind.workload, Lane.BATCH, prepared.items, str(failure), flow_run_id=at.flow_run_id)
            await run(incidents.open, breach, now=run.now)
    get_run_logger().warning("%s was refused, and its items are ready again: %s", what, failure)


def ambiguous(failure: CallFailed) -> bool:
    """Whether a create that failed so may have created its batch all the same: it is never tried again."""
    return failure.maybe_billed or (failure.action is Action.RETRY and not failure.innocent)
