"""Collecting, one file because its steps share a batch's state: poll it, read and save its results, for all open batches."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta

from prefect.logging import get_run_logger

from lanes.backoff import Backoffs
from lanes.batch.batch import APART, REPEATED, OpenBatch, doubt
from lanes.errors import LanesError, StillLocked
from lanes.ids import BatchId
from lanes.packing import ALONE, Claim, pack_ids
from lanes.promises.batches import incomplete
from lanes.promises.breaches import frozen, report_refusal
from lanes.promises.briefing import ErrorTally
from lanes.provider import batches as provider
from lanes.provider.batches import BatchUnknown
from lanes.provider.errors import FREEZES, OF_MODEL, Action, CallFailed
from lanes.provider.results import (
    Line,
    RequestFault,
    RequestResult,
    ResultLines,
    ResultsCut,
    ResultsGone,
    fate,
    results,
    unread,
)
from lanes.settling import attempts
from lanes.settling.attempts import CallTimes
from lanes.settling.outcome import Attempt, Judgment, SaveResult
from lanes.settling.settle import BACKOFF
from lanes.store import incidents
from lanes.store.batch import batches, collection, doubts
from lanes.store.doors.items import COLLECT, advance_watermark
from lanes.store.settling import decisions
from lanes.store.workload import workloads
from lanes.text import log_ids, remove_quotes
from lanes.units import pluralize
from lanes.words import BatchState, Outcome, Verdict
from lanes.workload.version import Version
from tasks import reconcile, tracing
from tasks.background import bounded_tasks
from tasks.connections import Connections
from tasks.runs import plain_task
from tasks.saving import save

CHUNK = 500  # items applied in one transaction
CHUNK_BYTES = 4 * 1024 * 1024  # results of one chunk
AT_ONCE = 2  # chunks of a batch that are applied concurrently: the database works on one while we prepare the other


class ShortRead(ResultsCut):
    """The results ended normally, but without some of the requests."""


class ForeignResults(LanesError):
    """The batch at the provider is not the expected one: none of its requests is ours."""


class Unsaved(LanesError):
    """The database refuses the outcome of some items, even without their answers."""


@dataclass(frozen=True)
class CollectResult:
    """The result of collecting a batch: its items, or why it was not collected and the shortest pause before a retry."""

    items: int
    trouble: str | None = None
    rest: timedelta = timedelta(0)


async def poll(at: Connections, batch: OpenBatch) -> bool:
    """Record the batch's progress at the provider; return whether it has ended.

    Raises:
        CallFailed: the batch could not be retrieved; if it certainly never can be (BatchUnknown), an incident is opened.
    """
    assert batch.provider_batch_id is not None
    try:
        provider_batch = await provider.retrieve(await at.client(), batch.provider_batch_id)
    except BatchUnknown as trouble:
        await reconcile.tell_unreachable(at, batch, trouble)
        raise
    except CallFailed as trouble:
        if trouble.action in FREEZES:
            account, reason = at.provider.account, str(trouble)
            breach = frozen(account, batch.items, reason, flow_run_id=at.flow_run_id)
            await at.db.run(incidents.open, breach, now=await at.db.now())
        raise
    await reconcile.record_seen(at, batch, provider_batch)
    if not provider_batch.ended:
        await at.db.run(collection.progress, batch.id, processed=provider_batch.processed)
        return False
    async with at.db.transaction() as run:
        ended_at = provider_batch.compute_end(run.now, begun_at=batch.begun_at)
        await run(
            collection.mark_ended,
            batch.id,
            at=ended_at,
            now=run.now,
            outcomes=provider_batch.outcomes,
        )
    return True


@plain_task("collect batch", "collect batch {batch.id}")
async def collect_batch(at: Connections, batch: OpenBatch) -> CollectResult:
    """Collect the ended batch, or return the error that prevents it. Safe to repeat, also after a crash."""
    try:
        items = await bring_home(at, batch)
    except ShortRead as trouble:
        return CollectResult(0, str(trouble), APART)
    except (ResultsCut, ForeignResults, StillLocked, Unsaved, CallFailed) as trouble:
        return CollectResult(0, str(trouble))
    if items:
        get_run_logger().info("batch %d of %s collected: %d items", batch.id, batch.workload, items)
    return CollectResult(items)


async def bring_home(
    at: Connections, batch: OpenBatch, *, chunk: int = CHUNK, chunk_bytes: int = CHUNK_BYTES
) -> int:
    """Give every item of an ended batch its outcome, once, and close the batch; return the number of items.

    Return 0 for a superseded batch, which is only booked, and for an adopted batch that turns out to be foreign, which is
    released. Applied results stay applied, whatever is raised; the rest is applied by the next read.

    Raises:
        ResultsCut: the stream broke off, or (ShortRead) ended before its last line.
        ForeignResults: none of its lines is ours; nothing was applied.
        StillLocked, Unsaved: everything was read, but not everything could be saved.
        CallFailed: the results cannot be opened; if they probably never can be, an incident is opened.
    """
    assert batch.provider_batch_id is not None
    version = await at.db.run(workloads.one, batch.version_id)
    reading = ResultReading(at, batch, version)
    try:
        most = max(1, chunk * batch.requests // batch.items)
        bounds = {"most": most, "most_bytes": chunk_bytes, "requests": batch.requests}
        stream = results(await at.client(), batch.provider_batch_id, **bounds)
        async with bounded_tasks(AT_ONCE) as applying, aclosing(stream) as chunks:
            async for lines in chunks:
                if not await reading.is_ours(lines):
                    return 0
                await applying.begin(reading.apply, reading.ours(lines))
    except (BatchUnknown, ResultsGone) as trouble:
        await reconcile.tell_unreachable(at, batch, trouble)
        raise
    await reading.end()
    return 0 if batch.state is BatchState.SUPERSEDED else batch.items


class ResultReading:
    """One read of a batch's results, from the first line to the last."""

    def __init__(self, at: Connections, batch: OpenBatch, version: Version) -> None:
        self._at, self._batch, self._version = at, batch, version
        self._lines = ResultLines(batch.nonce, batch.requests)
        self._own: set[int] = set()  # numbers of the requests that are themselves at fault
        self._frozen = 0  # items without an answer because of the account
        self._refused = 0  # attempts that the database did not take
        self._failures = ErrorTally()  # of items, over the whole read
        self._proved = False  # by the nonce of a result

    async def is_ours(self, chunk: Sequence[Line]) -> bool:
        """Return whether the batch may be ours: no evidence says otherwise. For an adopted batch, the first chunk decides."""
        if not self._proved:
            nonce = self._lines.proof(chunk)
            if nonce is None:
                return True
            self._proved = await reconcile.is_ours(self._at, self._batch, nonce)
        return self._proved

    def ours(self, chunk: Sequence[Line]) -> list[RequestResult]:
        """Return the results of the batch's own requests.

        Raises:
            ForeignResults: results were read, and none of them is ours.
        """
        own_results = self._lines.ours(chunk)
        if self._lines.are_foreign:
            provider_id = self._batch.provider_batch_id
            raise ForeignResults(
                f"the results of {provider_id} are not those of batch {self._batch.id}"
            )
        return own_results

    async def apply(self, ours: Sequence[RequestResult]) -> None:
        """Save the consequences of these results."""
        async with self._at.db.transaction() as run:
            members = await run(collection.members, self._batch.id, [each.number for each in ours])
            now = run.now
            faulted = {each.number: members.get(each.number, []) for each in ours if each.is_fault}
            self._own |= await run(collection.find_own_faults, self._batch, faulted)
        of_each = [self._attempts(each, members.get(each.number, []), now) for each in ours]
        saved = await self._save([attempt for made in of_each for attempt in made])
        if saved.outcomes[Outcome.UNSERVED]:
            await self._freeze(ours, members, now)

    async def end(self) -> None:
        """Close the batch once every item has an outcome.

        Raises:
            ShortRead: some items have no outcome, and it is too early to conclude that they never get one; or the provider's
                counts contradict this, and an incident is opened.
            StillLocked, Unsaved: some items have no outcome, because others hold their rows or the database refuses them.
        """
        outstanding = await self._at.db.run(collection.read_outstanding, self._batch.id)
        # the outcomes of these items are not booked yet
        given_up = await self._at.db.run(collection.find_given_up, self._batch.id)
        awaited = {number: list[Claim]() for number in given_up} | outstanding
        seen_numbers = self._lines.seen
        lacking = {
            number: claims for number, claims in awaited.items() if number not in seen_numbers
        }
        if lacking:
            await self._miss(lacking)
            outstanding = await self._at.db.run(collection.read_outstanding, self._batch.id)
        if outstanding and self._refused:
            results_text = pluralize(self._refused, "result")
            raise Unsaved(
                f"the database refuses {results_text} of batch {self._batch.id}, even without its answer: see the run's log"
            )
        if outstanding:
            locked_count = sum(map(len, outstanding.values()))
            raise StillLocked(
                f"open transactions of others hold {pluralize(locked_count, 'item')} of batch {self._batch.id}"
            )
        await self._close()

    def _attempts(
        self, result: RequestResult, claims: Sequence[Claim], now: datetime
    ) -> list[Attempt]:
        response, nonce, items = result.content, self._batch.nonce, len(claims)
        if isinstance(response, RequestFault):
            has_other_answers = bool(self._lines.answered) or result.number in self._own
            fault, response = (
                response,
                fate(response, items=items, others_answered=has_other_answers),
            )
            if fault.action is Action.POISON:
                response = response._replace(refused_call=str(result.number))
        ids = [ALONE] if items == 1 else pack_ids(nonce, result.number, items)
        times = CallTimes(self._batch.begun_at, now)
        return attempts.build_for_request(self._version, claims, response, times, ids=ids)

    async def _freeze(
        self, read: Sequence[RequestResult], members: dict[int, list[Claim]], now: datetime
    ) -> None:
        """Open the incident of a refused account or model, as for a refused call."""
        faults = {
            each.number: each.content
            for each in read
            if isinstance(each.content, RequestFault) and each.content.action in FREEZES
        }
        if faults:
            self._frozen += sum(len(members.get(number, [])) for number in faults)
            fault, batch = next(iter(faults.values())), self._batch
            subject = self._at.provider.account, batch.workload, batch.model
            is_model, run_id = fault.action in OF_MODEL, self._at.flow_run_id
            breach = report_refusal(
                *subject, self._frozen, fault.detail, is_model=is_model, flow_run_id=run_id
            )
            await self._at.db.run(incidents.open, breach, now=now)

    async def _miss(self, lacking: dict[int, list[Claim]]) -> None:
        """Save an attempt for each item whose result is missing, once it certainly never comes.

        The attempt is `unknown` if its line cannot be read, because the answer may be billed. Without a line it is `missing` if
        the provider's counts allow this. If they do not, an incident is opened; in a superseded batch the attempt is `unknown`.
        """
        async with self._at.db.transaction() as run:
            short = await run(collection.short_read, self._batch.id, lacking, now=run.now)
            now = run.now
        if not short.is_repeated:
            raise ShortRead(
                f"the results of {self._batch.provider_batch_id} ended without {len(lacking):,} of its "
                f"{pluralize(self._batch.requests, 'request')}{self._lines.strays()}: read {short.times} of {REPEATED} times"
            )
        unreadable = self._lines.unreadable(lacking) if self._is_surely_ours else {}
        has_other_answers = bool(self._lines.answered)
        fates = {
            number: unread(reason, items=len(lacking[number]), others_answered=has_other_answers)
            for number, reason in unreadable.items()
        }
        await self._unread(
            {claim: judged for number, judged in fates.items() for claim in lacking[number]}
        )
        absent = {number: claims for number, claims in lacking.items() if number not in unreadable}
        reason = await self._doubt(len(absent)) if absent else None
        if reason is not None and self._batch.state is not BatchState.SUPERSEDED:
            await self._at.db.run(doubts.tell, self._batch.id, reason, now=now)
            raise ShortRead(reason)
        claims = [claim for each in absent.values() for claim in each]
        if reason is not None:
            unknown = Judgment(Outcome.UNKNOWN, error=reason, spends=False)
            await self._unread(dict.fromkeys(claims, unknown))
            return
        for first in range(0, len(claims), CHUNK):
            now, chunk = await self._at.db.now(), claims[first : first + CHUNK]
            await self._save(
                attempts.build_missing(chunk, started_at=self._batch.begun_at, now=now)
            )

    async def _unread(self, judgments: Mapping[Claim, Judgment]) -> None:
        claims = [*judgments]
        for first in range(0, len(claims), CHUNK):
            now, chunk = await self._at.db.now(), claims[first : first + CHUNK]
            of_part = {claim: judgments[claim] for claim in chunk}
            new_attempts = await self._at.db.run(
                decisions.build_unread, self._batch.id, of_part, now=now
            )
            await self._save(new_attempts)

    @property
    def _is_surely_ours(self) -> bool:
        return self._proved or not self._batch.unproved

    async def _doubt(self, lacking: int) -> str | None:
        """Return the reason why the lacking requests cannot count as missing, or None."""
        assert self._batch.provider_batch_id is not None
        provider_batch = await provider.retrieve(
            await self._at.client(), self._batch.provider_batch_id
        )
        return doubt(
            lacking,
            requests=self._batch.requests,
            answered=len(self._lines.answered),
            succeeded=provider_batch.outcomes.get("succeeded"),
            is_ours=self._is_surely_ours,
        )

    async def _close(self) -> None:
        async with self._at.db.transaction() as run:
            tally = await run(collection.mark_collected, self._batch.id, now=run.now)
            complete = tally and incomplete(
                self._batch.workload, self._batch.id, tally, flow_run_id=self._at.flow_run_id
            )
            if complete and complete.verdict is Verdict.FAILED:
                await run(incidents.open, complete, now=run.now)
        tracing.note_batch(self._batch.id)
        if complete and complete.verdict is Verdict.FAILED:
            get_run_logger().error("%s", complete.sentence)
        if strays := self._lines.strays():
            get_run_logger().error("batch %d came back%s", self._batch.id, strays)
        if self._failures.total:
            get_run_logger().warning(
                "batch %d of %s came back, and %d of its %d items have no usable answer: %s",
                self._batch.id,
                self._batch.workload,
                self._failures.total,
                self._batch.items,
                self._failures.describe(),
            )

    async def _save(self, new_attempts: Sequence[Attempt]) -> SaveResult:
        for attempt in new_attempts:
            if attempt.judged.outcome is not Outcome.VALID:
                reason = remove_quotes(attempt.judged.error or "without a reason")
                self._failures.record_error(f"{attempt.judged.outcome}: {reason}")
        at, batch_id = self._at, self._batch.id
        saved = await save(at.db, new_attempts, batch_id=batch_id, flow_run_id=at.flow_run_id)
        self._refused += len(saved.refused)
        return saved


POLLED_AT_ONCE = 4
COLLECTED_AT_ONCE = 4
LONGEST_S = 3600.0  # the largest batch takes minutes; a stream without end must not block others
HAND_OVER_S = 20.0
POLLED = (BatchState.SUBMITTED, BatchState.SUPERSEDED)
AT_PROVIDER = (*POLLED, BatchState.ENDED)


class Collector:
    """Polling and collecting of all open batches; a failure is logged once, and the batch is retried after a back-off.

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
        """Start polling or collecting every batch at the provider, except those in back-off, without waiting for them."""
        now = self._clock()
        async with self._at.db.transaction() as run:
            current_batches = await run(batches.open_batches)
            await run(advance_watermark, COLLECT, run.now)
        for batch in current_batches:
            is_there = batch.state in AT_PROVIDER and batch.id not in self._looking
            if is_there and self._rests.is_due(batch.id, now):
                self._looking[batch.id] = asyncio.create_task(self._look_after(batch))

    async def idle(self) -> None:
        """Wait until no batch is being polled or collected."""
        while self._looking:
            await asyncio.wait(self._looking.values())

    async def close(self, *, within_s: float = HAND_OVER_S) -> None:
        """Wait up to `within_s` seconds, then cancel the remaining reads, which the next run repeats."""
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
                await self._record_trouble(batch, f"{type(error).__name__}: {error}")
            finally:
                self._looking.pop(batch.id, None)

    async def _bring_home(self, batch: OpenBatch) -> None:
        at = await self._at.of(batch.provider)
        if batch.state in POLLED:
            async with self._polling:
                ended = await poll(at, batch)
            if not ended:
                await self._record_recovery(batch)
                return
        async with self._collecting, asyncio.timeout(LONGEST_S):
            result = await collect_batch(at, batch)
        self.items += result.items
        if result.trouble is None:
            await self._record_recovery(batch)
        else:
            await self._record_trouble(batch, result.trouble, at_least=result.rest)

    async def _record_trouble(
        self, batch: OpenBatch, trouble: str, *, at_least: timedelta = timedelta(0)
    ) -> None:
        """Put the batch in back-off; write the error to the log and the batch's note, once until it changes."""
        if self._rests.fail(batch.id, trouble, self._clock(), at_least=at_least):
            get_run_logger().warning("batch %d will be tried again: %s", batch.id, trouble)
            await self._note(batch, trouble)

    async def _record_recovery(self, batch: OpenBatch) -> None:
        if self._rests.recover(batch.id):
            await self._note(batch, None)

    async def _note(self, batch: OpenBatch, note: str | None) -> None:
        try:
            await self._at.db.run(collection.write_note, batch.id, note)
        except Exception as error:
            message = "batch %d could not be noted: %s"
            get_run_logger().warning(message, batch.id, type(error).__name__)
