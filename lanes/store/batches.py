"""Batches: intent first, then one paid call, then results. What a crash leaves behind can be told apart here."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, exists, func, insert, select, update

from lanes.claims import Claim, Claimed
from lanes.promises import Tally
from lanes.short_reads import ShortReads, counted
from lanes.storable import storable
from lanes.store.bulk import insert_rows, one_of
from lanes.store.literals import is_, is_none_of
from lanes.store.tables import attempt, batch, batch_member, event_outbox, item, version, work, workload
from lanes.store.work import claimable, claimed, ready_again
from lanes.words import BatchState, Lane, Outcome, WorkState

COUNTED = {
    Outcome.VALID: "succeeded",
    Outcome.INVALID: "invalid",
    Outcome.REFUSED: "invalid",
    Outcome.TRUNCATED: "invalid",
    Outcome.ERRORED: "errored",
    Outcome.POISON: "errored",
    Outcome.PACK_REFUSED: "errored",
    Outcome.UNSERVED: "errored",
    Outcome.CANCELED: "canceled",
    Outcome.EXPIRED: "expired",
    Outcome.MISSING: "missing",
}
UNCONFIRMED = (BatchState.INTENDED, BatchState.HELD)  # the provider has not said that it has the batch


@dataclass(frozen=True)
class OpenBatch:
    """A batch that somebody still has to move on."""

    id: int
    nonce: str
    account: str
    workload: str
    version_id: int
    model: str
    state: BatchState
    requests: int
    items: int
    provider_batch_id: str | None
    intended_at: datetime
    submitted_at: datetime | None


@dataclass(frozen=True)
class Intent:
    """What is committed before a batch is paid for."""

    nonce: str
    account: str
    workload: str
    version_id: int
    model: str
    bytes: int
    body_hash: str


@dataclass(frozen=True)
class Kind:
    """One batch holds work of one version only."""

    workload: str
    version_id: int


def waiting_kinds(connection: Connection, name: str | None, *, now: datetime) -> list[Kind]:
    """The (workload, version) pairs with batch work to submit, of one workload or of all; paused ones wait."""
    wanted = and_(claimable(Lane.BATCH, now), workload.c.paused_at.is_(None))
    if name is not None:
        wanted = and_(wanted, work.c.workload == name)
    rows = connection.execute(
        select(work.c.workload, work.c.version_id)
        .join(workload, workload.c.name == work.c.workload)
        .where(wanted)
        .distinct()
        .order_by(work.c.workload, work.c.version_id)
    )
    return [Kind(row.workload, row.version_id) for row in rows]


def lock_for_batch(connection: Connection, kind: Kind, *, limit: int, now: datetime) -> list[Claimed]:
    """The most urgent batch work of a kind, locked until this transaction ends; locked work is passed over."""
    rows = connection.execute(
        select(
            work.c.id, (work.c.claim_no + 1).label("claim_no"), work.c.version_id, work.c.purpose, work.c.failures,
            work.c.rank_at, work.c.alone, item.c.workload, item.c.key, item.c.payload, item.c.due_at,
        )
        .join(item, item.c.id == work.c.item_id)
        .where(claimable(Lane.BATCH, now), work.c.workload == kind.workload, work.c.version_id == kind.version_id)
        .order_by(work.c.rank_at, work.c.id)
        .limit(limit)
        .with_for_update(of=work, key_share=True, skip_locked=True)
    )  # fmt: skip
    return [claimed(row) for row in rows]


def unresolved(connection: Connection, account: str) -> OpenBatch | None:
    """The account's batch whose create has not been confirmed, if any: no other may be created before it is."""
    rows = open_batches(connection, account=account)
    return next((each for each in rows if each.state is BatchState.INTENDED), None)


def intend(connection: Connection, intent: Intent, packs: Sequence[Sequence[Claim]], *, now: datetime) -> int:
    """The batch is intended and owns its work; its id. Each pack is one request.

    Raises:
        IntegrityError: the account has an unresolved batch already.
    """
    members = [
        {"request_no": number, "slot": slot, "work_id": claim.work_id, "claim_no": claim.number}
        for number, pack in enumerate(packs)
        for slot, claim in enumerate(pack)
    ]
    batch_id = connection.execute(
        insert(batch)
        .values(
            nonce=intent.nonce, account=intent.account, workload=intent.workload, version_id=intent.version_id,
            model=intent.model, state=BatchState.INTENDED, requests=len(packs), items=len(members),
            bytes=intent.bytes, body_hash=intent.body_hash, intended_at=now,
        )
        .returning(batch.c.id)
    ).scalar_one()  # fmt: skip
    connection.execute(insert_rows(batch_member, [{"batch_id": batch_id, **member} for member in members]))
    of_batch = and_(batch_member.c.batch_id == batch_id, batch_member.c.work_id == work.c.id)
    connection.execute(
        update(work)
        .where(of_batch)
        .values(state=WorkState.SUBMITTED, batch_id=batch_id, claim_no=batch_member.c.claim_no, lease_until=None)
    )
    return batch_id


def submitted(
    connection: Connection, batch_id: int, provider_batch_id: str, *, expected_end_at: datetime, now: datetime
) -> None:
    """The provider has the batch under that id, and the world is told."""
    row = connection.execute(
        update(batch)
        .where(batch.c.id == batch_id, batch.c.state.in_(UNCONFIRMED))
        .values(
            state=BatchState.SUBMITTED, provider_batch_id=provider_batch_id, submitted_at=now,
            expected_end_at=expected_end_at,
        )
        .returning(batch.c.workload, batch.c.requests, batch.c["items"])
    ).first()  # fmt: skip
    if row is not None:
        _announce(connection, "lanes.batch.submitted", batch_id, row.workload, now, requests=row.requests, items=row.items)


def release(connection: Connection, batch_id: int, *, note: str, now: datetime) -> None:
    """The batch was never created: its work is ready again and has spent nothing. One that the provider has stays."""
    released = connection.execute(
        update(batch)
        .where(batch.c.id == batch_id, batch.c.state.in_(UNCONFIRMED))
        .values(state=BatchState.RELEASED, ended_at=now, note=note)
        .returning(batch.c.id)
    )
    if released.first() is None:
        return
    connection.execute(
        update(work)
        .where(work.c.batch_id == batch_id, is_(work.c.state, WorkState.SUBMITTED))
        .values(state=ready_again(), ready_at=now, batch_id=None)
    )


def hold(connection: Connection, batch_id: int, *, note: str) -> None:
    """Nobody knows whether the batch exists: its work stays with it until a person decides."""
    connection.execute(
        update(batch)
        .where(batch.c.id == batch_id, batch.c.state.in_(UNCONFIRMED))
        .values(state=BatchState.HELD, note=note)
    )


def open_batches(connection: Connection, *, account: str | None = None) -> list[OpenBatch]:
    """The batches that are not finished, oldest first."""
    wanted = is_none_of(batch.c.state, [BatchState.COLLECTED, BatchState.RELEASED])
    if account is not None:
        wanted = and_(wanted, batch.c.account == account)
    rows = connection.execute(select(batch).where(wanted).order_by(batch.c.id))
    return [
        OpenBatch(
            row.id, row.nonce, row.account, row.workload, row.version_id, row.model, BatchState(row.state),
            row.requests, row.items, row.provider_batch_id, row.intended_at, row.submitted_at,
        )
        for row in rows
    ]  # fmt: skip


def owned_ids(connection: Connection, candidates: Sequence[str]) -> set[str]:
    """Which of these provider batches some batch of ours owns."""
    rows = connection.execute(
        select(batch.c.provider_batch_id).where(batch.c.provider_batch_id.in_(list(candidates)))
    )
    return {row.provider_batch_id for row in rows if row.provider_batch_id is not None}


def progress(connection: Connection, batch_id: int, *, processed: int) -> None:
    """How many of the batch's requests the provider has finished."""
    connection.execute(update(batch).where(batch.c.id == batch_id).values(processed=processed))


def ended(connection: Connection, batch_id: int, *, at: datetime, now: datetime) -> None:
    """The provider finished the batch at `at`, and the world is told, once."""
    row = connection.execute(
        update(batch)
        .where(batch.c.id == batch_id, batch.c.state == BatchState.SUBMITTED)
        .values(state=BatchState.ENDED, ended_at=at, processed=batch.c.requests)
        .returning(batch.c.workload, batch.c["items"])
    ).first()
    if row is not None:
        _announce(connection, "lanes.batch.ended", batch_id, row.workload, now, items=row.items)


def members(connection: Connection, batch_id: int, request_nos: Sequence[int]) -> dict[int, list[Claim]]:
    """The claims behind those requests, in the order of their slots."""
    rows = connection.execute(
        select(batch_member.c.request_no, batch_member.c.work_id, batch_member.c.claim_no)
        .where(batch_member.c.batch_id == batch_id, one_of(request_nos, batch_member.c.request_no))
        .order_by(batch_member.c.request_no, batch_member.c.slot)
    )
    return _by_request(rows)


def outstanding(connection: Connection, batch_id: int) -> dict[int, list[Claim]]:
    """The claims of the batch that have no attempt yet, by the number of their request."""
    has_attempt = exists().where(attempt.c.work_id == batch_member.c.work_id, attempt.c.claim_no == batch_member.c.claim_no)
    rows = connection.execute(
        select(batch_member.c.request_no, batch_member.c.work_id, batch_member.c.claim_no)
        .where(batch_member.c.batch_id == batch_id, ~has_attempt)
        .order_by(batch_member.c.request_no, batch_member.c.slot)
    )
    return _by_request(rows)


def short_read(connection: Connection, batch_id: int, lacking: Collection[int], *, now: datetime) -> ShortReads:
    """The results of the batch ended without these requests: how often in a row, with this time."""
    row = connection.execute(
        select(batch.c.short_reads, batch.c.short_read_lacking, batch.c.short_read_at)
        .where(batch.c.id == batch_id)
        .with_for_update(key_share=True)
    ).one()
    before = None
    if row.short_read_lacking is not None and row.short_read_at is not None:
        before = ShortReads(row.short_reads, row.short_read_lacking, row.short_read_at)
    after = counted(before, lacking, now=now)
    connection.execute(
        update(batch)
        .where(batch.c.id == batch_id)
        .values(short_reads=after.times, short_read_lacking=after.lacking, short_read_at=after.counted_at)
    )
    return after


def noted(connection: Connection, batch_id: int, note: str | None) -> None:
    """What keeps the batch from coming home stands in its note; one that is home keeps its own."""
    connection.execute(
        update(batch)
        .where(batch.c.id == batch_id, batch.c.state.in_([BatchState.SUBMITTED, BatchState.ENDED]))
        .values(note=note and storable(note))
    )


def count(connection: Connection, batch_id: int, outcomes: Mapping[Outcome, int]) -> None:
    """The batch's counts of items have changed by these outcomes. `outcomes.save` calls it; nobody else needs to."""
    sums: Counter[str] = Counter()
    for outcome, number in outcomes.items():
        if outcome in COUNTED:
            sums[COUNTED[outcome]] += number
    if sums:
        connection.execute(
            update(batch).where(batch.c.id == batch_id).values({name: batch.c[name] + n for name, n in sums.items()})
        )


def collected(connection: Connection, batch_id: int, *, now: datetime) -> Tally | None:
    """Every result of the batch was applied: how its outcomes add up, None when it was not `ended`."""
    outcomes = batch.c.succeeded + batch.c.invalid + batch.c.errored + batch.c.canceled + batch.c.expired + batch.c.missing
    row = connection.execute(
        update(batch)
        .where(batch.c.id == batch_id, batch.c.state == BatchState.ENDED)
        .values(state=BatchState.COLLECTED, collected_at=now, note=None)
        .returning(batch.c["items"], outcomes.label("outcomes"), batch.c.missing)
    ).first()
    return None if row is None else Tally(row[0], row.outcomes, row.missing)


def expected_minutes(connection: Connection, version_id: int) -> int:
    """How long a batch of a version usually takes."""
    minutes = version.c.spec["batch_expected_minutes"].as_integer()
    return connection.execute(select(minutes).where(version.c.id == version_id)).scalar_one()


def _by_request(rows: Iterable[Any]) -> dict[int, list[Claim]]:
    found: dict[int, list[Claim]] = {}
    for row in rows:
        found.setdefault(row.request_no, []).append(Claim(row.work_id, row.claim_no))
    return found


def _announce(connection: Connection, event: str, batch_id: int, of: str, now: datetime, **payload: Any) -> None:
    connection.execute(
        insert(event_outbox).values(
            event=event, resource=f"lanes.workload.{of}", payload={"batch_id": batch_id, **payload}, occurred_at=now
        )
    )
    connection.execute(select(func.pg_notify("lanes", "")))
