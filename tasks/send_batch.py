"""Sending batch work to the provider: commit an intent, create the batch once, and commit its id."""

from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from prefect.logging import get_run_logger
from sqlalchemy import Connection

from lanes import packing
from lanes.batch.batch import PRIMER, BatchKind, CreateAnswer, Intent
from lanes.batch.departure import NotCreated, fill, whole_from
from lanes.batch.reconcile import version_tag, write_label
from lanes.errors import LanesError
from lanes.ids import BatchId, WorkId
from lanes.json_data import weight
from lanes.money.caching import Marks, PrimerStep
from lanes.money.pack_size import PackSizes
from lanes.packing import Claim, ClaimedWork
from lanes.promises.breaches import report_refusal
from lanes.provider import batches as provider
from lanes.provider.batches import BatchBody, ProviderBatch
from lanes.provider.client import questions
from lanes.provider.errors import FREEZES, OF_MODEL, Action, CallFailed
from lanes.provider.requests import Writer
from lanes.store import incidents
from lanes.store.batch import batches, creates, doubts, ready_work
from lanes.store.batch.affording import Affording
from lanes.store.batch.ready_work import CachePlan
from lanes.store.doors import full_data
from lanes.store.money import budgets, caching, sharing
from lanes.store.routing import turnarounds
from lanes.store.settling import late_context
from lanes.store.workload import workloads
from lanes.text import log_ids
from lanes.units import pluralize
from lanes.words import Lane
from lanes.workload.context import fingerprint
from lanes.workload.definition import content_hash
from lanes.workload.version import Version
from tasks.connections import Connections
from tasks.reconcile import read_create

# payloads of the works whose histories are loaded at once; each history adds several payloads of similar size
HISTORY_BYTES = 1024**2
ORPHANS_AGAIN = timedelta(minutes=1)
DECIDED_AFTER = timedelta(minutes=10)  # pause before a held batch is checked again for a decision


@dataclass(frozen=True)
class BatchSize:
    """The largest size of a batch, and the number of works whose histories are read at once."""

    items: int = 100_000
    bytes: int = provider.MOST_BYTES // 2  # leaves room for the encoding of the body
    read: int = 500
    requests: int = provider.MOST_REQUESTS


class Blocked(LanesError):
    """No batch can be created until another batch of the account is resolved; retry at `until`."""

    def __init__(self, detail: str, until: datetime) -> None:
        self.until = until
        super().__init__(detail)


class TooLarge(LanesError):
    """The provider refuses a batch of this size; fewer than `items` may fit."""

    def __init__(self, detail: str, items: int) -> None:
        self.items = items
        super().__init__(detail)


@dataclass(frozen=True)
class Prepared:
    """A committed intent with the body that will be sent for it."""

    batch_id: BatchId
    nonce: str
    model: str
    items: int
    body: BatchBody


async def send_batch(at: Connections, kind: BatchKind, *, most: BatchSize = BatchSize()) -> int:
    """Send one batch of a workload's waiting items, no larger than `most`; return their number, or 0 if none waited.

    A create without a response leaves the batch `intended`; `collect` later finds out whether it exists.

    Raises:
        CallFailed: the provider refused the batch, and its work is ready again; or the provider did not respond.
        TooLarge: the provider accepts only smaller batches, and the work is ready again.
        Blocked: another batch of the account must be resolved first.
        BudgetUsedUp: the rest of a budget is smaller than the batch's possible cost.
        ReferenceFailed: reference rows cannot be read, and the work stays ready.
        SetupError: the provider block of the workload cannot be loaded, and the work stays ready.
    """
    at = await at.of(kind.provider)
    await _check_unblocked(at)
    prepared = await prepare(at, kind, most=most)
    if prepared is None:
        return 0
    with log_ids(batch=prepared.batch_id):
        try:
            with prepared.body as body:
                within_s = at.provider.create_within_s
                created = await provider.create(await at.client(), body, within_s=within_s)
        except CallFailed as failure:
            await _record_failed_creation(at, kind, prepared, failure)
            if failure.action is Action.SPLIT and prepared.items > 1:
                raise TooLarge(str(failure), prepared.items) from failure
            raise
        await _record_creation(at, kind, prepared, created)
    return prepared.items


async def _check_unblocked(at: Connections) -> None:
    now = await at.db.now()
    if await at.db.run(creates.find_copy, now=now):
        message = "the database was restored, and batches that left after its copy are still open at the provider"
        raise Blocked(f"{message}; see `lanes doctor --after-restore`", now + ORPHANS_AGAIN)
    open_ = await at.db.run(batches.find_unresolved, at.provider.account)
    if open_ is not None:
        until = read_create(at, open_).over_at + timedelta(seconds=at.provider.listing_grace_s)
        batch_name = f"batch {open_.id} of {open_.workload}"
        raise Blocked(
            f"the create of {batch_name} has no answer yet; no other batch is created until it has",
            until,
        )


async def prepare(
    at: Connections, kind: BatchKind, *, now: datetime | None = None, most: BatchSize = BatchSize()
) -> Prepared | None:
    """Commit the intent of one batch, which then owns its work, and return it; return None if no work waited.

    `now` defaults to the database's time.

    Raises:
        Blocked: the batch could not be distinguished from a batch of the account that has not been found yet, or it waits for a
            primer.
        BudgetUsedUp: the rest of a budget is smaller than the batch's possible cost.
    """
    body = BatchBody()
    try:
        prepared = await _prepare(at, kind, body, now, most)
    except BaseException:
        body.close()
        raise
    if prepared is None:
        body.close()
    return prepared


async def _prepare(
    at: Connections, kind: BatchKind, body: BatchBody, now: datetime | None, most: BatchSize
) -> Prepared | None:
    version, plan = await _plan_cache(at, kind)
    primer_until = plan.until if plan.step is PrimerStep.SEND else None
    affording: Affording | None = None
    try:
        async with at.db.transaction() as run:
            now = now or run.now
            taken = await run(doubts.unsure_counts, at.provider.account)
            writing = _Writing(version, body, taken, plan.marked)
            affording = await run(Affording, version, marked=plan.marked, now=now)
            size = replace(most, requests=1) if primer_until else most
            pack_count = await run(
                _write, writing, affording, kind, most=size, taken=taken, now=now
            )
            if pack_count and not writing.packs:
                message = f"{pluralize(pack_count, 'request')} could not be told apart from a batch that is still to be found"
                raise Blocked(f"{message}; see `lanes batches`", now + DECIDED_AFTER)
            if not pack_count:
                if (used_up := await run(lambda _: affording.find_shortage())) is not None:
                    raise used_up
                return None
            body.seal()
            prospects = await run(turnarounds.prospects, now=now)
            stated_back_at = primer_until or prospects.of(version).stated_back_at
            intent = Intent(
                nonce=writing.nonce,
                account=at.provider.account,
                provider=at.name,
                workload=kind.workload,
                version_id=kind.version_id,
                model=version.spec.batch_model,
                bytes=body.size,
                body_hash=body.sha256,
                flow_run_id=at.flow_run_id,
                stated_back_at=stated_back_at,
                note=PRIMER if primer_until else None,
            )
            packs, marked = writing.packs, writing.marked_requests
            batch_id = await run(creates.intend, intent, packs, marked=marked, now=now)
            await run(late_context.note, writing.read)
            if primer_until:
                await run(ready_work.hold, kind.workload, primer_until)
            await run(budgets.reserve, batch_id, affording.bounds(writing.packs), now=now)
    finally:
        if affording is not None and affording.bounds_anything:
            await at.db.run(affording.report)
    items = sum(map(len, writing.packs))
    return Prepared(batch_id, intent.nonce, intent.model, items, body)


async def _plan_cache(at: Connections, kind: BatchKind) -> tuple[Version, CachePlan]:
    """Return the version and the cache plan of its next batch; both are committed before any work is locked.

    The plan says which requests mark their prefix.

    Raises:
        Blocked: the batch waits for a primer.
    """
    async with at.db.transaction() as run:
        version, now = await run(workloads.one, kind.version_id), run.now
        try:
            marks = (await run(caching.weigh, version, Lane.BATCH, now=now)).marks
        except LookupError:  # no known price: caching is not known to pay off
            marks = Marks.NONE
        plan = await run(ready_work.cache_plan, version, marks, now=now)
        if plan.step is PrimerStep.SEND and 1 in await run(
            doubts.unsure_counts, at.provider.account
        ):  # a batch of one request could not be distinguished from a lost one
            plan = replace(plan, step=PrimerStep.NONE)
    if plan.step is PrimerStep.WAIT and plan.until is not None:
        raise Blocked(plan.reason, plan.until)
    return version, plan


class _Writing:
    """The requests of a batch while they are written; only the claims of written requests stay in memory."""

    def __init__(
        self, version: Version, body: BatchBody, taken: Collection[int], marked: range
    ) -> None:
        self.version, self.nonce, self._marked = version, packing.new_nonce(), marked
        self.packs: list[tuple[Claim, ...]] = []
        self.read = dict[
            WorkId, dict[str, list[str]]
        ]()  # digests of the contexts of the written work
        self.earlier: full_data.History = {}  # contexts of work that is not written yet, or may be written again
        self._body, self._writer, self._whole = body, Writer(version, Lane.BATCH), whole_from(taken)
        self._tag = version_tag(content_hash(version.spec))

    def __len__(self) -> int:
        return len(self.packs)

    @property
    def size(self) -> int:
        """The size of the body in bytes."""
        return self._body.size

    @property
    def marked_requests(self) -> int:
        """The number of requests that mark their prefix."""
        return sum(number in self._marked for number in range(len(self.packs)))

    def add(self, pack: Sequence[ClaimedWork]) -> None:
        """Write the pack as the next request."""
        number = len(self.packs)
        alone, marked = len(pack) == 1, number in self._marked
        ids = [packing.ALONE] if alone else packing.pack_ids(self.nonce, number, len(pack))
        request = self._writer.write(questions(pack, ids, self.earlier), marked=marked)
        name = provider.custom_id(self.nonce, number, write_label(self._tag, pack))
        self._body.add(name, request)
        self.packs.append(tuple(each.claim for each in pack))
        if self.version.spec.corrects_late:
            works = [each.claim.work_id for each in pack]
            self.read |= {id_: fingerprint(self.earlier.get(id_, ())) for id_ in works}
        if len(self.packs) >= self._whole:
            for each in pack:
                self.earlier.pop(each.claim.work_id, None)

    def weigh(self, work_item: ClaimedWork) -> int:
        """Return the number of bytes that an item and its context add to a request."""
        context_parts = self.earlier.get(work_item.claim.work_id, ())
        return packing.item_bytes(work_item) + sum(part.most_bytes for part in context_parts)

    def keep(self, requests: int) -> None:
        """Keep only the first `requests`."""
        self._body.keep(requests)
        del self.packs[requests:]


def _write(
    connection: Connection,
    writing: _Writing,
    affording: Affording,
    kind: BatchKind,
    *,
    most: BatchSize,
    taken: Collection[int],
    now: datetime,
) -> int:
    """Write the waiting work that fits a batch and its budgets while reading it; return the number of packs that fit."""
    version = writing.version
    sizes = PackSizes(sharing.read_pack_sizes(connection))
    size, most_bytes = sizes.of(version, Lane.BATCH), sizes.most_bytes(version, Lane.BATCH, now)
    waiting = ready_work.lock_batch_work(
        connection, kind, limit=most.items, most_bytes=most.bytes, now=now
    )
    read = _add_history(connection, affording.read(waiting), writing, most.read)
    bounds = {"most_requests": most.requests, "most_bytes": most.bytes}
    with closing(waiting), closing(read) as each:
        weigh, scope = writing.weigh, version.spec.pack_scope
        calls = packing.fill_packs(each, size, most=most_bytes, weigh=weigh, scope=scope)
        return fill(writing, affording.payable(calls, writing.earlier), **bounds, taken=taken)


def _add_history(
    connection: Connection, waiting: Iterator[ClaimedWork], writing: _Writing, at_once: int
) -> Generator[ClaimedWork]:
    """Yield the work with its context loaded, reading ahead by at most one chunk."""
    if not writing.version.spec.context.parts:
        yield from waiting
        return
    for chunk in packing.chunks(
        waiting, most=at_once, most_bytes=HISTORY_BYTES, weight=lambda each: weight(each.payload)
    ):
        works = {
            each.claim.work_id: {"payload": each.payload, "consumer": each.consumer}
            for each in chunk
        }
        writing.earlier |= full_data.read(connection, writing.version, works)
        yield from chunk


async def _record_creation(
    at: Connections, kind: BatchKind, prepared: Prepared, created: ProviderBatch
) -> None:
    async with at.db.transaction() as run:
        expected = await run(turnarounds.estimate_end, prepared.batch_id, now=run.now)
        answer = await run(
            creates.mark_submitted,
            prepared.batch_id,
            created.id,
            expected_end_at=expected,
            now=run.now,
        )
    message = "batch %d: %d items of %s as %s"
    get_run_logger().info(message, prepared.batch_id, prepared.items, kind.workload, created.id)
    if answer is CreateAnswer.UNWANTED:
        message = "batch %d was created too late: %s is cancelled"
        get_run_logger().warning(message, prepared.batch_id, created.id)
        try:
            await provider.cancel(await at.client(), created.id)
        except CallFailed as failure:
            get_run_logger().warning("%s is not cancelled yet: %s", created.id, failure)


async def _record_failed_creation(
    at: Connections, kind: BatchKind, prepared: Prepared, failure: CallFailed
) -> None:
    batch_text = (
        f"batch {prepared.batch_id} of {kind.workload} with {pluralize(prepared.items, 'item')}"
    )
    if failure.as_create is NotCreated.MAYBE:
        async with at.db.transaction() as run:
            await run(doubts.mark_create_ended, prepared.batch_id, now=run.now)
        get_run_logger().warning("%s may exist: %s; collect finds out", batch_text, failure)
        return
    async with at.db.transaction() as run:
        await run(doubts.release, prepared.batch_id, note=f"refused: {failure}", now=run.now)
        if failure.action in FREEZES:
            subject = (
                at.provider.account,
                kind.workload,
                prepared.model,
                prepared.items,
                str(failure),
            )
            is_model, run_id = failure.action in OF_MODEL, at.flow_run_id
            breach = report_refusal(*subject, is_model=is_model, flow_run_id=run_id)
            await run(incidents.open, breach, now=run.now)
    get_run_logger().warning(
        "%s was refused, and its items are ready again: %s", batch_text, failure
    )
