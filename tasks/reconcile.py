"""Reconciliation with the provider: finds batches whose create got no response, and compares the bill with the ledger.

Only the holder of the submitter role may search for a batch without a response.
"""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from prefect.logging import get_run_logger

from lanes.batch import reconcile
from lanes.batch.batch import UNCONFIRMED, OpenBatch
from lanes.errors import LanesError
from lanes.money.bill import BillDifference, compare
from lanes.provider import batches as provider
from lanes.provider import bill
from lanes.provider.batches import BatchUnknown, ProviderBatch
from lanes.provider.errors import Action, CallFailed
from lanes.provider.results import RequestResult, ResultsCut, ResultsGone, results
from lanes.settling.outcome import Response
from lanes.store.batch import batches, creates, doubts
from lanes.store.batch.creates import Orphan
from lanes.store.money import ledger
from lanes.store.routing import turnarounds
from lanes.store.signals import Role, RoleLock
from lanes.store.workload.accounts import last_change
from lanes.text import log_ids
from lanes.words import BatchState
from tasks.connections import Connections
from tasks.runs import plain_task

BEFORE_COPY = timedelta(hours=1)  # earlier batches are not checked; covers the duration of a copy
MOST_AHEAD = timedelta(days=1)  # largest accepted difference between the provider's clock and ours
SEVERAL = "several batches at the provider fit it"
WAIT_S = 600.0  # how long a submitter waits for its predecessor


@asynccontextmanager
async def sole_submitter(at: Connections) -> AsyncIterator[None]:
    """Hold the right to create batches, after reconciling the batches that an earlier submitter left unresolved.

    Raises:
        LanesError: another submitter took longer than ten minutes.
    """
    async with RoleLock(at.db.direct_url, Role.SUBMITTER) as role:
        if not await role.take_over(within_s=WAIT_S):
            raise LanesError(
                "another run has been submitting for ten minutes; see its log, then run depart again"
            )
        await reconcile_unresolved(at)
        yield


async def reconcile_unresolved(at: Connections) -> reconcile.BatchFinding | None:
    """Adopt, release or hold each account's unresolved batch, or keep waiting; return the finding, or None without one.

    Held batches are searched for again from time to time. A restored database adopts its orphans first, because a batch
    whose create got no response may be one of them.
    """
    finding: reconcile.BatchFinding | None = None
    await adopt_orphans(at)
    for account in await at.each_account():
        finding = await _reconcile_account(account, finding)
    return finding


async def _reconcile_account(
    at: Connections, found: reconcile.BatchFinding | None
) -> reconcile.BatchFinding | None:
    for batch in await at.db.run(doubts.to_search, at.provider.account, now=await at.db.now()):
        with log_ids(batch=batch.id):
            try:
                finding = await _reconcile(at, batch)
            except CallFailed as failure:
                message = "batch %d without an answer could not be looked for: %s"
                get_run_logger().warning(message, batch.id, failure)
                finding = reconcile.BatchFinding.WAIT
        if batch.state is BatchState.INTENDED or found is None:
            found = finding
    return found


async def adopt_orphans(at: Connections) -> None:
    """Adopt the batches that were sent after the copy from which this database was restored, each once it has ended.

    No new batch is sent until all of them are known, because their items may be waiting here.
    """
    copy = await at.db.run(creates.find_copy, now=await at.db.now())
    if copy is None:
        return
    accounts = await at.each_account()
    open_flags = [await _adopt_from(each, copy) for each in accounts]
    if not any(open_flags) and not at.unopened_blocks:
        await at.db.run(creates.mark_orphans_found, copy)


async def _adopt_from(at: Connections, copy: reconcile.Copy) -> bool:
    """Adopt the ended orphans of one account; return whether others are open, or the search failed."""
    log, asked_at = get_run_logger(), await at.db.now()
    try:
        listing = await provider.listing(await at.client())
        ahead = _ahead(listing.answered_at, asked_at, await at.db.now())
        span = reconcile.CreationSpan(
            copy.as_of + ahead - BEFORE_COPY, copy.noticed + ahead + reconcile.MARGIN
        )
        listed = [
            each
            for each in await listing.since(span.first)
            if each.created_at is None or each.created_at in span
        ]
        ids = [each.id for each in listed]
        known_ids = await at.db.run(batches.find_owned_ids, ids)
        known_ids |= await at.db.run(doubts.strangers, at.provider.account, ids)
        is_open = False
        for each in listed:
            if each.id not in known_ids:
                is_open |= not each.ended
                if each.ended and (sentence := await _adopt(at, each, copy)):
                    log.warning("%s", sentence)
    except (CallFailed, ResultsCut) as failure:
        log.warning("batches that left after the copy could not be looked for: %s", failure)
        return True
    return is_open


async def _adopt(
    at: Connections, provider_batch: ProviderBatch, copy: reconcile.Copy
) -> str | None:
    """Adopt an ended batch of the provider by its request labels; return a sentence about it, or None if it is not ours."""
    nonce, labels, responses = "", dict[int, reconcile.RequestLabel](), dict[int, Response]()
    stream = results(await at.client(), provider_batch.id, requests=provider_batch.requests)
    try:
        async with aclosing(stream) as chunks:
            async for chunk in chunks:
                for line in chunk:
                    label = reconcile.read_label(line.label)
                    nonce = nonce or (line.nonce if label else "")
                    if label is None or line.nonce != nonce:
                        continue
                    labels[line.number] = label
                    if isinstance(line, RequestResult) and isinstance(line.content, Response):
                        responses[line.number] = line.content
                if not labels:
                    return None
    except (BatchUnknown, ResultsGone) as gone:
        return f"{provider_batch.id} can no longer be read: {gone}"
    orphan = Orphan(
        provider_batch.id,
        provider_batch.requests,
        provider_batch.created_at,
        at.provider.account,
        copy.noticed,
        nonce,
        labels,
        responses,
        at.name,
    )
    return await at.db.run(creates.adopt_orphan, orphan, now=await at.db.now())


async def _reconcile(at: Connections, batch: OpenBatch) -> reconcile.BatchFinding:
    create, grace = read_create(at, batch), timedelta(seconds=at.provider.listing_grace_s)
    asked_at = await at.db.now()
    listing = await provider.listing(await at.client())
    ahead = _ahead(listing.answered_at, asked_at, await at.db.now())
    # with such a clock nothing would be found, and our batch would count as never created
    if abs(ahead) > MOST_AHEAD:
        reason = f"the provider's clock cannot be trusted: it is off by {ahead}"
        raise CallFailed(Action.RETRY, reason, maybe_billed=False)
    listed = [
        reconcile.ListedBatch(each.id, each.requests, each.created_at)
        for each in await listing.since(reconcile.span(create, grace=grace, ahead=ahead).first)
    ]
    ids = [each.id for each in listed]
    owned = await at.db.run(batches.find_owned_ids, ids)
    strangers = await at.db.run(doubts.strangers, batch.account, ids)
    result = reconcile.find(
        create, listed, owned | strangers, grace=grace, ahead=ahead, now=asked_at
    )
    now = await at.db.now()
    match result.finding:
        case reconcile.BatchFinding.ADOPT:
            assert result.batch_id is not None
            ends = await at.db.run(turnarounds.estimate_end, batch.id, now=now)
            await at.db.run(doubts.adopt, batch.id, result.batch_id, expected_end_at=ends, now=now)
        case reconcile.BatchFinding.RELEASE:
            note = f"never created: not listed within {at.provider.listing_grace_s} s; its items are ready again"
            await at.db.run(doubts.release, batch.id, note=note, now=now)
        case reconcile.BatchFinding.HOLD if batch.state is BatchState.INTENDED:
            await at.db.run(doubts.hold, batch.id, note=SEVERAL, now=now)
        case reconcile.BatchFinding.HOLD | reconcile.BatchFinding.WAIT:
            pass
    await at.db.run(doubts.mark_searched, batch.id, now=now)
    get_run_logger().info("batch %d without an answer: %s", batch.id, result.finding)
    return result.finding


def read_create(at: Connections, batch: OpenBatch) -> reconcile.LostCreate:
    """Return the unanswered create request of a batch."""
    longest = timedelta(seconds=at.provider.create_within_s)
    over = reconcile.create_end(batch.intended_at, batch.create_ended_at, longest=longest)
    return reconcile.LostCreate(
        batch.requests, batch.intended_at, over, held=batch.state is BatchState.HELD
    )


def _ahead(provider_time: datetime | None, before: datetime, after: datetime) -> timedelta:
    """Return how far the provider's clock, which reports whole seconds, is ahead of the database's."""
    if provider_time is None:
        return timedelta(0)
    return provider_time + timedelta(seconds=0.5) - (before + (after - before) / 2)


async def is_ours(at: Connections, batch: OpenBatch, nonce: str) -> bool:
    """Return whether the results belong to the batch, by the nonce of the first; this confirms or undoes an adoption."""
    if not batch.unproved or batch.provider_batch_id is None:
        return True
    if nonce == batch.nonce:
        await at.db.run(doubts.mark_proved, batch.id, batch.provider_batch_id)
        return True
    now = await at.db.now()
    await at.db.run(doubts.mark_disproved, batch.id, batch.provider_batch_id, now=now)
    message = "batch %d: %s is not ours; it was let go"
    get_run_logger().error(message, batch.id, batch.provider_batch_id)
    return False


async def record_seen(at: Connections, batch: OpenBatch, now_there: ProviderBatch) -> None:
    """Record that the provider knows a batch, and cancel the batch at the provider if a cancellation is due."""
    assert batch.provider_batch_id is not None
    if batch.unknown_since is not None:
        async with at.db.transaction() as run:
            await run(doubts.mark_known, batch.id, now=run.now)
    if batch.cancel_at is None or now_there.canceling or now_there.ended:
        return
    try:
        await provider.cancel(await at.client(), batch.provider_batch_id)
    except CallFailed as failure:
        get_run_logger().warning("batch %d is cancelled at the next tick: %s", batch.id, failure)


async def tell_unreachable(
    at: Connections, batch: OpenBatch, trouble: BatchUnknown | ResultsGone
) -> None:
    """Record that a batch or its results are gone: open an incident, for an unknown batch only after the grace period.

    A superseded batch whose results are gone is closed instead.
    """
    now = await at.db.now()
    if isinstance(trouble, BatchUnknown):
        grace = timedelta(seconds=at.provider.listing_grace_s)
        await at.db.run(doubts.mark_unknown, batch.id, why=str(trouble), grace=grace, now=now)
    elif batch.state is BatchState.SUPERSEDED:
        await at.db.run(doubts.close, batch.id, note=str(trouble), now=now)
    else:
        await at.db.run(doubts.tell, batch.id, str(trouble), now=now)


async def describe_unconfirmed(at: Connections) -> list[str]:
    """Return a sentence for each batch that the provider has not confirmed."""
    return [
        f"batch {each.id} of {each.workload}, {each.items} items, has been {each.state} since "
        f"{each.intended_at:%Y-%m-%d %H:%M} UTC"
        for each in await at.db.run(batches.open_batches)
        if each.state in UNCONFIRMED
    ]


DAYS = 7  # late usage is searched for as long as an incident of its day may be open
DAY, HOUR = timedelta(days=1), timedelta(hours=1)


@plain_task("compare the bill")
async def compare_bill(at: Connections) -> list[str]:
    """Record incidents for differences; return a sentence for each differing row, or why a bill cannot be read.

    An account is compared if its block has an admin key. Days on which a workload moved from one account to another, and
    earlier days, are not compared.
    """
    now, accounts = await at.db.now(), await at.each_account()
    compared = [each for each in accounts if each.provider.admin_key is not None]
    if not compared:
        return []
    until = _midnight(now)
    since = until - DAYS * DAY
    if (moved := await at.db.run(last_change)) is not None:
        since = max(since, _midnight(moved) + DAY)
    differences, sentences = dict[str, list[BillDifference]](), list[str]()
    for each in compared if since < until else []:
        account = each.provider.account if len(accounts) > 1 else ""
        suffix = account and f" of account {account}"
        try:
            differences[account] = await _explain_differences(each, since, until)
        except CallFailed as failure:
            sentences.append(f"{failure}{suffix}")
            continue
        sentences += [
            f"{row.of.at:%Y-%m-%d}{suffix}: {row.sentence}" for row in differences[account]
        ] or [
            f"the bill{suffix} of {(until - since).days} days until {until:%Y-%m-%d} agrees with the ledger"
        ]
    complete = len(differences) == len(compared)
    await at.db.run(ledger.record_differences, differences, complete=complete, now=now)
    return sentences


def _midnight(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


async def _explain_differences(
    at: Connections, since: datetime, until: datetime
) -> list[BillDifference]:
    """Return the days that differ, each with the hours of the difference and the responses that may be missing."""
    days = await _differences(at, since, until, DAY)
    if not days:
        return []
    hours = await _differences(at, days[0].of.at, days[-1].of.at + DAY, HOUR)
    return [await _add_requests(at, each, hours) for each in days]


async def _differences(
    at: Connections, since: datetime, until: datetime, width: timedelta
) -> list[BillDifference]:
    block = at.provider
    login = None if block.login is None else block.login.get_secret_value()
    assert block.admin_key is not None
    keys = block.admin_key.get_secret_value(), block.api_key.get_secret_value()
    bill_sums = await bill.read(block.base_url, keys, login, since, until, width)
    ledger_sums = await at.db.run(ledger.sum_by_period, at.name, since, until, width)
    return compare(ledger_sums, bill_sums)


async def _add_requests(
    at: Connections, difference: BillDifference, hours: list[BillDifference]
) -> BillDifference:
    day, *row = difference.of
    within = [h.of.at for h in hours if [*h.of[1:]] == row and day <= h.of.at < day + DAY]
    details = [f"from {each:%H:%M}" for each in within]
    details += await at.db.run(ledger.missing_examples, at.name, difference, DAY)
    return (
        replace(difference, detail=f"{difference.detail} ({', '.join(details)})")
        if details
        else difference
    )
