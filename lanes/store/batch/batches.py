"""Batches: intent first, then one paid call, then results. What a crash leaves behind can be told apart here."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Select, and_, case, exists, func, insert, or_, select, update

from lanes.batch.short_reads import ShortReads, counted
from lanes.claims import Claim, Claimed
from lanes.packids import PackIds
from lanes.promises.judge import Tally
from lanes.storable import storable
from lanes.store.batch import disowning, unclear
from lanes.store.bounded import bounded, size_of
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
MOST_BYTES = 128 * 1024**2  # payloads held at once for one batch
UNCONFIRMED = (BatchState.INTENDED, BatchState.HELD)  # the provider has not said that it has the batch
AT_PROVIDER = (BatchState.SUBMITTED, BatchState.ENDED)  # and its work belongs to it
OVER = (BatchState.COLLECTED, BatchState.RELEASED)
SUBMITTED = "lanes.batch.submitted"


class Answer(StrEnum):
    """What a create's answer led to."""

    SUBMITTED = "submitted"  # the batch is the provider's of that id
    TAKEN_BACK = "taken back"  # it had been released: all of its work waited still, and is its own again
    SUPERSEDED = "superseded"  # it had been released and work of it went elsewhere: `collect` cancels it and books it
    TWIN = "twin"  # the batch is another of the provider's already, and certainly


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
    create_ended_at: datetime | None = None
    adopted_at: datetime | None = None
    proved_at: datetime | None = None
    unknown_since: datetime | None = None
    cancel_at: datetime | None = None
    pack_ids: PackIds = PackIds.DERIVED

    @property
    def provisional(self) -> bool:
        """Whether it was taken for a listed batch, and no result has proved that yet."""
        return self.adopted_at is not None and self.proved_at is None


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
    flow_run_id: UUID | None = None


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


def lock_for_batch(
    connection: Connection, kind: Kind, *, limit: int, most_bytes: int = MOST_BYTES, now: datetime
) -> list[Claimed]:
    """The most urgent batch work of a kind, locked until this transaction ends: up to `limit`, and no more once its
    payloads have `most_bytes` as JSON. Locked work is passed over."""
    return [claimed(row) for row in bounded(connection, for_batch(kind, limit, now=now), most_bytes=most_bytes)]


def for_batch(kind: Kind, limit: int, *, now: datetime) -> Select[*tuple[Any, ...]]:
    """The most urgent batch work of a kind with its payload, locked; what others have locked is passed over."""
    return (
        select(
            work.c.id, (work.c.claim_no + 1).label("claim_no"), work.c.version_id, work.c.purpose, work.c.failures,
            work.c.rank_at, work.c.alone, item.c.workload, item.c.key, item.c.payload, item.c.due_at,
            size_of(item.c.payload),
        )
        .join(item, item.c.id == work.c.item_id)
        .where(claimable(Lane.BATCH, now), work.c.workload == kind.workload, work.c.version_id == kind.version_id)
        .order_by(work.c.rank_at, work.c.id)
        .limit(limit)
        .with_for_update(of=work, key_share=True, skip_locked=True)
    )  # fmt: skip


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
            bytes=intent.bytes, body_hash=intent.body_hash, pack_ids=PackIds.DERIVED, intended_at=now,
            flow_run_id=intent.flow_run_id,
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
) -> Answer:
    """The create was answered: the provider has the batch under that id, whatever was thought of it meanwhile.

    One that was released takes back what of its work still waits. Where other work of it went elsewhere, it is to be
    cancelled: what has not run yet comes back unspent, and what has is booked.
    """
    row = connection.execute(
        select(batch.c.state, batch.c.account, batch.c.workload, batch.c.requests, batch.c["items"].label("all_items"),
               batch.c.provider_batch_id, batch.c.adopted_at, batch.c.proved_at)
        .where(batch.c.id == batch_id)
        .with_for_update(key_share=True)
    ).one()  # fmt: skip
    answer, state, note = Answer.SUBMITTED, BatchState.SUBMITTED, None
    if row.state == BatchState.RELEASED:
        answer, state = _take_back(connection, batch_id)
        note = f"its create was answered after it had been released: {answer}"
    elif row.state not in UNCONFIRMED:
        if row.provider_batch_id == provider_batch_id:
            connection.execute(update(batch).where(batch.c.id == batch_id).values(proved_at=now))
            return Answer.SUBMITTED
        if row.adopted_at is None or row.proved_at is not None:
            return Answer.TWIN
        disowning.disown(connection, row.account, row.provider_batch_id, batch_id, now=now)
        state = BatchState.SUPERSEDED if row.state == BatchState.SUPERSEDED else BatchState.SUBMITTED
    connection.execute(
        update(batch)
        .where(batch.c.id == batch_id)
        .values(
            state=state, provider_batch_id=provider_batch_id, submitted_at=now, expected_end_at=expected_end_at,
            ended_at=None, adopted_at=None, proved_at=now, unknown_since=None, processed=0, note=note,
            cancel_at=now if answer is Answer.SUPERSEDED else batch.c.cancel_at,
        )
    )  # fmt: skip
    unclear.over(connection, batch_id, f"Batch {batch_id} is {provider_batch_id}: its create was answered.", now=now)
    announce(connection, SUBMITTED, batch_id, row.workload, now, requests=row.requests, items=row.all_items)
    return answer


def _take_back(connection: Connection, batch_id: int) -> tuple[Answer, BatchState]:
    """The released batch owns what of its work is as it was left; whether that is all of it."""
    of_batch = and_(batch_member.c.batch_id == batch_id, batch_member.c.work_id == work.c.id)
    as_left = work.c.claim_no == batch_member.c.claim_no
    back = connection.execute(
        update(work)
        .where(of_batch, as_left, work.c.state == WorkState.READY)
        .values(state=WorkState.SUBMITTED, batch_id=batch_id)
    ).rowcount
    nobodys = and_(as_left, work.c.state == WorkState.CANCELED)
    elsewhere = select(work.c.id).where(of_batch, or_(work.c.batch_id != batch_id, work.c.batch_id.is_(None)), ~nobodys)
    if connection.execute(elsewhere.limit(1)).first() is None and back:
        return Answer.TAKEN_BACK, BatchState.SUBMITTED
    return Answer.SUPERSEDED, BatchState.SUBMITTED if back else BatchState.SUPERSEDED


def release(connection: Connection, batch_id: int, *, note: str, now: datetime) -> bool:
    """The batch was never created: its work is ready again and has spent nothing. False: the provider has it, it stays."""
    released = connection.execute(
        update(batch)
        .where(batch.c.id == batch_id, batch.c.state.in_(UNCONFIRMED))
        .values(state=BatchState.RELEASED, ended_at=now, note=note)
        .returning(batch.c.id)
    )
    if released.first() is None:
        return False
    _free(connection, batch_id, now=now)
    unclear.over(connection, batch_id, f"Batch {batch_id} is released: {note}.", now=now)
    return True


def supersede(connection: Connection, batch_id: int, *, note: str, now: datetime) -> bool:
    """The batch that the provider has owns no work any more: what it had is ready again. `collect` cancels and books it.

    False: the provider has it no longer, or not yet; then the transaction is to be taken back. Work is locked before its
    batch, as where results are saved.
    """
    _free(connection, batch_id, now=now)
    superseded = connection.execute(
        update(batch)
        .where(batch.c.id == batch_id, batch.c.state.in_(AT_PROVIDER))
        .values(state=BatchState.SUPERSEDED, cancel_at=now, note=note)
        .returning(batch.c.id)
    )
    if superseded.first() is None:
        return False
    unclear.over(connection, batch_id, f"Batch {batch_id} owns no work any more: {note}.", now=now)
    return True


def close(connection: Connection, batch_id: int, *, note: str, now: datetime) -> None:
    """The superseded batch is over: nothing of it can be booked any more."""
    connection.execute(
        update(batch)
        .where(batch.c.id == batch_id, batch.c.state == BatchState.SUPERSEDED)
        .values(state=BatchState.RELEASED, ended_at=func.coalesce(batch.c.ended_at, now), note=batch.c.note + "; " + note)
    )


def _free(connection: Connection, batch_id: int, *, now: datetime) -> None:
    connection.execute(
        update(work)
        .where(work.c.batch_id == batch_id, is_(work.c.state, WorkState.SUBMITTED))
        .values(state=ready_again(), ready_at=now, batch_id=None)
    )


def hold(connection: Connection, batch_id: int, *, note: str, now: datetime) -> None:
    """Nobody knows which batch at the provider it is: its work stays with it, and a person is asked to decide."""
    held = connection.execute(
        update(batch)
        .where(batch.c.id == batch_id, batch.c.state.in_(UNCONFIRMED))
        .values(state=BatchState.HELD, note=note)
        .returning(batch.c.id)
    )
    if held.first() is not None:
        unclear.tell(connection, batch_id, note, now=now)


def unknown(connection: Connection, batch_id: int, *, why: str, grace: timedelta, now: datetime) -> None:
    """The provider has said since some time that it has no such batch; beyond the grace period a person is told.

    One that owns no work any more is closed then.
    """
    row = connection.execute(
        update(batch)
        .where(batch.c.id == batch_id, batch.c.state.in_([*AT_PROVIDER, BatchState.SUPERSEDED]))
        .values(unknown_since=func.coalesce(batch.c.unknown_since, now))
        .returning(batch.c.state, batch.c.unknown_since)
    ).first()
    if row is None or now < row.unknown_since + grace:
        return
    if row.state == BatchState.SUPERSEDED:
        close(connection, batch_id, note=why, now=now)
    else:
        unclear.tell(connection, batch_id, why, now=now)


def known(connection: Connection, batch_id: int, *, now: datetime) -> None:
    """The provider has the batch after all."""
    connection.execute(update(batch).where(batch.c.id == batch_id).values(unknown_since=None))
    unclear.over(connection, batch_id, f"The provider has batch {batch_id} after all.", now=now)


def open_batches(connection: Connection, *, account: str | None = None) -> list[OpenBatch]:
    """The batches that are not finished, oldest first."""
    wanted = is_none_of(batch.c.state, OVER)
    if account is not None:
        wanted = and_(wanted, batch.c.account == account)
    return [open_batch(row) for row in connection.execute(select(batch).where(wanted).order_by(batch.c.id))]


def open_batch(row: Any) -> OpenBatch:
    """A row of the table."""
    return OpenBatch(
        row.id, row.nonce, row.account, row.workload, row.version_id, row.model, BatchState(row.state),
        row.requests, row.items, row.provider_batch_id, row.intended_at, row.submitted_at, row.create_ended_at,
        row.adopted_at, row.proved_at, row.unknown_since, row.cancel_at, PackIds(row.pack_ids),
    )  # fmt: skip


def owned_ids(connection: Connection, candidates: Sequence[str]) -> set[str]:
    """Which of these provider batches some batch of ours owns."""
    rows = connection.execute(select(batch.c.provider_batch_id).where(batch.c.provider_batch_id.in_(list(candidates))))
    return {row.provider_batch_id for row in rows if row.provider_batch_id is not None}


def progress(connection: Connection, batch_id: int, *, processed: int) -> None:
    """How many of the batch's requests the provider has finished."""
    connection.execute(update(batch).where(batch.c.id == batch_id).values(processed=processed))


def ended(connection: Connection, batch_id: int, *, at: datetime, now: datetime) -> None:
    """The provider finished the batch at `at`, and the world is told, once."""
    superseded = and_(batch.c.state == BatchState.SUPERSEDED, batch.c.ended_at.is_(None))
    row = connection.execute(
        update(batch)
        .where(batch.c.id == batch_id, or_(batch.c.state == BatchState.SUBMITTED, superseded))
        .values(
            state=case((batch.c.state == BatchState.SUBMITTED, BatchState.ENDED), else_=batch.c.state),
            ended_at=at,
            processed=batch.c.requests,
        )
        .returning(batch.c.workload, batch.c["items"])
    ).first()
    if row is not None:
        announce(connection, "lanes.batch.ended", batch_id, row.workload, now, items=row.items)


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


def given_up(connection: Connection, batch_id: int) -> set[int]:
    """The numbers of the batch's requests of which items were given up before a result of theirs was booked."""
    of_claim = and_(attempt.c.work_id == batch_member.c.work_id, attempt.c.claim_no == batch_member.c.claim_no)
    booked = exists().where(of_claim, attempt.c.outcome != Outcome.GIVEN_UP)
    given = exists().where(of_claim, attempt.c.outcome == Outcome.GIVEN_UP)
    wanted = select(batch_member.c.request_no).where(batch_member.c.batch_id == batch_id, given, ~booked).distinct()
    return set(connection.execute(wanted).scalars())


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
    """Every result of the batch was applied: how its outcomes add up, None when it was not `ended`.

    One whose work went elsewhere is booked, and released: what of it needed no outcome of its own was never counted.
    """
    superseded = batch.c.state == BatchState.SUPERSEDED
    outcomes = batch.c.succeeded + batch.c.invalid + batch.c.errored + batch.c.canceled + batch.c.expired + batch.c.missing
    row = connection.execute(
        update(batch)
        .where(batch.c.id == batch_id, batch.c.state.in_([BatchState.ENDED, BatchState.SUPERSEDED]))
        .values(
            state=case((superseded, BatchState.RELEASED), else_=BatchState.COLLECTED), collected_at=now,
            note=case((superseded, batch.c.note)),
        )
        .returning(batch.c.state, batch.c["items"].label("all_items"), outcomes.label("outcomes"), batch.c.missing)
    ).first()  # fmt: skip
    if row is None:
        return None
    unclear.over(connection, batch_id, f"Batch {batch_id} came home.", now=now)
    return Tally(row.all_items, row.outcomes, row.missing) if row.state == BatchState.COLLECTED else None


def expected_minutes(connection: Connection, version_id: int) -> int:
    """How long a batch of a version usually takes."""
    return connection.execute(select(version.c.batch_expected_minutes).where(version.c.id == version_id)).scalar_one()


def _by_request(rows: Iterable[Any]) -> dict[int, list[Claim]]:
    found: dict[int, list[Claim]] = {}
    for row in rows:
        found.setdefault(row.request_no, []).append(Claim(row.work_id, row.claim_no))
    return found


def announce(connection: Connection, event: str, batch_id: int, of: str, now: datetime, **payload: Any) -> None:
    """The world is told that something became of the batch."""
    connection.execute(
        insert(event_outbox).values(
            event=event, resource=f"lanes.workload.{of}", payload={"batch_id": batch_id, **payload}, occurred_at=now
        )
    )
    connection.execute(select(func.pg_notify("lanes", "")))
