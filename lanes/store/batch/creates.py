"""The only paid create of a batch: its intent is committed before it, and the provider's answer is recorded after it.

Orphans are batches that were submitted after the copy was made from which a database was restored. They are adopted with the
work that the restored database still has.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from lanes.batch.batch import AT_PROVIDER, PRIMER, CreateAnswer, Intent
from lanes.batch.reconcile import ADOPTED, Copy, RequestLabel, digest, version_tag
from lanes.ids import BatchId, WorkId
from lanes.packing import Claim, ClaimedWork
from lanes.settling.outcome import Attempt, Judgment, PackShare, Response
from lanes.store.batch import batches, doubts
from lanes.store.money import ledger
from lanes.store.statements import one_of
from lanes.store.tables import batch, batch_member, item, watermark, work
from lanes.store.work import OF_ITEM, OF_WORK, read_claimed
from lanes.store.workload import workloads
from lanes.units import pluralize
from lanes.words import BLOCK, BatchState, Lane, Outcome, Purpose, WorkState
from lanes.workload.definition import content_hash
from lanes.workload.version import Version


def intend(
    connection: sa.Connection,
    intent: Intent,
    packs: Sequence[Sequence[Claim]],
    *,
    marked: int = 0,
    now: datetime,
) -> BatchId:
    """Record the intent of a batch, which owns its work from then on; return the batch's id.

    Each pack is one request. The caller commits the intent before the create.

    Raises:
        IntegrityError: the account has an unresolved batch already.
    """
    batch_id = connection.execute(
        sa.insert(batch)
        .values(
            **asdict(intent),
            state=BatchState.INTENDED,
            requests=len(packs),
            items=sum(map(len, packs)),
            marked_requests=marked,
            intended_at=now,
        )
        .returning(batch.c.id)
    ).scalar_one()
    own_work(connection, batch_id, packs)
    return batch_id


def own_work(
    connection: sa.Connection, batch_id: BatchId, packs: Sequence[Sequence[Claim]]
) -> None:
    """Give the claimed work to the batch, one request for each pack; an outdated claim only joins so that it is booked."""
    connection.execute(_members(batch_id, packs))
    of_batch = sa.and_(batch_member.c.batch_id == batch_id, batch_member.c.work_id == work.c.id)
    newest = batch_member.c.claim_no > work.c.claim_no
    taken = sa.update(work).where(of_batch, newest)
    owned = {"state": WorkState.SUBMITTED, "batch_id": batch_id, "lease_until": None}
    connection.execute(taken.values(claim_no=batch_member.c.claim_no, **owned))


def _members(batch_id: BatchId, packs: Sequence[Sequence[Claim]]) -> sa.Insert:
    """Return the insert that makes every claim a member; numbers are sent as text because long lists are slow in the driver."""
    columns = {
        "request_no": [number for number, pack in enumerate(packs) for _ in pack],
        "slot": [slot for pack in packs for slot in range(len(pack))],
        "work_id": [claim.work_id for pack in packs for claim in pack],
        "claim_no": [claim.number for pack in packs for claim in pack],
    }
    numbers = [
        sa.func.string_to_array(",".join(map(str, each)), ",").cast(sa.ARRAY(sa.BigInteger))
        for each in columns.values()
    ]
    named = [sa.column(name, sa.BigInteger) for name in columns]
    given = sa.func.unnest(*numbers).table_valued(*named, name="given").render_derived()
    rows = sa.select(sa.literal(batch_id, sa.BigInteger), *given.c)
    return sa.insert(batch_member).from_select(["batch_id", *columns], rows)


def mark_submitted(
    connection: sa.Connection,
    batch_id: BatchId,
    provider_batch_id: str,
    *,
    expected_end_at: datetime,
    now: datetime,
) -> CreateAnswer:
    """Record that the create was answered: the provider has the batch under that id.

    If the batch's work was released in the meantime, `collect` cancels the batch and books its bill. The batch never takes the
    work back, so that each item is in one batch only. If the batch is already proved to be another one at the provider, the
    caller cancels the duplicate (`UNWANTED`).
    """
    known = sa.select(batch).where(batch.c.id == batch_id)
    row = connection.execute(known.with_for_update(key_share=True)).one()
    if row.provider_batch_id == provider_batch_id:
        batches.change(connection, batch_id, unproved=False)
        wanted = row.state in (*AT_PROVIDER, BatchState.COLLECTED)
        return CreateAnswer.SUBMITTED if wanted else CreateAnswer.UNWANTED
    if row.provider_batch_id is not None:
        if not row.unproved:
            return CreateAnswer.UNWANTED
        doubts.disown(connection, row.account, row.provider_batch_id, batch_id, now=now)
    released = row.state in (BatchState.RELEASED, BatchState.SUPERSEDED)
    late = "its create was answered after that, so it is cancelled"
    kept = PRIMER if row.note == PRIMER else None
    note = f"{row.note}; {late}" if released else kept
    doubts.mark_at_provider(
        connection,
        batch_id,
        provider_batch_id,
        sentence=f"Batch {batch_id} is {provider_batch_id}: its create was answered.",
        now=now,
        state=BatchState.SUPERSEDED if released else BatchState.SUBMITTED,
        expected_end_at=expected_end_at,
        unproved=False,
        processed=0,
        note=note,
        cancel_at=now if released else batch.c.cancel_at,
    )
    return CreateAnswer.UNWANTED if released else CreateAnswer.SUBMITTED


COPY = "copy"  # the watermark of a restored database, until every batch that was submitted after the copy is found
# A database is a copy if another server, database or timeline wrote its watermark last. Every check advances the watermark,
# so that a copy shows how old its rows are.
COPIED = """
with this as (
  select hashtextextended(concat_ws('/', system_identifier, d.oid, left(pg_walfile_name(pg_current_wal_lsn()), 8)), 0) as mark
    from pg_control_system(), pg_database d where d.datname = current_database()),
before as (select seen_until, position from lanes.watermark where name = 'database'),
kept as (
  insert into lanes.watermark (name, seen_until, position) select 'database', :now, mark from this
      on conflict (name) do update set seen_until = excluded.seen_until, position = excluded.position),
noticed as (
  insert into lanes.watermark (name, seen_until, position)
  select 'copy', :now, extract(epoch from before.seen_until) from before, this where before.position <> this.mark
      on conflict (name) do update set seen_until = excluded.seen_until
  returning seen_until, position)
select seen_until, to_timestamp(position) as as_of from noticed
 union all select seen_until, to_timestamp(position) from lanes.watermark where name = 'copy'
"""


@dataclass(frozen=True)
class Orphan:
    """A batch at the provider with its nonce, and the labels and billed responses of its requests by number.

    Work that began to wait after the copy was `noticed` may have reused an id, so it does not belong to the orphan.
    """

    provider_batch_id: str
    requests: int | None
    created_at: datetime | None
    account: str
    noticed: datetime
    nonce: str
    labels: Mapping[int, RequestLabel] = field(default_factory=dict)
    responses: Mapping[int, Response] = field(default_factory=dict)
    provider: str = BLOCK  # the block of the account


@dataclass(frozen=True)
class LostWork:
    """Work that is missing from the database and billed to its version: the copy never had it, or it was archived."""

    version: Version
    purpose: Purpose = Purpose.ANSWER

    @property
    def workload(self) -> str:
        return self.version.workload

    def model(self, lane: Lane) -> str:
        """Return the version's model for that lane."""
        return (
            self.version.spec.batch_model
            if lane is Lane.BATCH
            else self.version.spec.realtime_model
        )


def find_copy(connection: sa.Connection, *, now: datetime) -> Copy | None:
    """Check whether the database is a copy; return the copy while orphans may be open, or None."""
    row = connection.execute(sa.text(COPIED), {"now": now}).first()
    return None if row is None else Copy(row.seen_until, row.as_of)


def search_orphans(connection: sa.Connection, since: datetime, *, now: datetime) -> None:
    """Request a search for orphans submitted after `since`, as if the database were a copy that is noticed now."""
    given = {"name": COPY, "seen_until": now, "position": int(since.timestamp())}
    connection.execute(insert(watermark).values(given).on_conflict_do_nothing())


def mark_orphans_found(connection: sa.Connection, copy: Copy) -> None:
    """Record that the copy no longer has open orphans."""
    this = watermark.c.name == COPY, watermark.c.seen_until == copy.noticed
    connection.execute(sa.delete(watermark).where(*this))


def orphan_notes(connection: sa.Connection) -> list[tuple[BatchId, str]]:
    """Return the ids and notes of the batches that were adopted after a restore."""
    wanted = sa.select(batch.c.id, batch.c.note).where(is_orphan()).order_by(batch.c.id)
    return [(row.id, row.note) for row in connection.execute(wanted)]


def is_orphan() -> sa.ColumnElement[bool]:
    """Match batches that were adopted after a restore."""
    return sa.func.coalesce(batch.c.note, "").startswith(ADOPTED)


def adopt_orphan(connection: sa.Connection, orphan: Orphan, *, now: datetime) -> str | None:
    """Adopt an ended orphan: it owns the work that it answers and that is still ready, and `collect` collects it.

    Answers to work that is missing from the copy are booked at once. Returns a sentence about the result, None for a batch of
    another database.
    """
    known = sa.select(batch.c.id).where(batch.c.nonce == orphan.nonce)
    if (ours := connection.execute(known).scalar()) is not None:
        mark_submitted(connection, ours, orphan.provider_batch_id, expected_end_at=now, now=now)
        return f"batch {ours}: its create was answered after the copy"
    version = _find_labeled_version(connection, orphan.labels.values())
    if version is None:
        return None
    requests = max([orphan.requests or 0, *(number + 1 for number in orphan.labels)])
    packs: list[Sequence[Claim]] = [()] * requests
    lost = dict(orphan.labels)
    for number, pack in _orphan_claims(connection, orphan).items():
        packs[number] = pack
        del lost[number]
    items = sum(map(len, packs))
    note = f"{ADOPTED} as {orphan.provider_batch_id}"
    missing = sum(len(each.work_ids) for each in lost.values())
    missing += sum(claim.number < 0 for pack in packs for claim in pack)
    if missing:
        gone = pluralize(missing, "item")
        note += f"; {gone} of it came after the copy, so their answers are booked and lost: send them again"
    begun_at = min(orphan.created_at or now, now)
    batch_id = connection.execute(
        sa.insert(batch)
        .values(
            nonce=orphan.nonce,
            account=orphan.account,
            provider=orphan.provider,
            workload=version.workload,
            version_id=version.id,
            model=version.spec.batch_model,
            state=BatchState.SUBMITTED if items else BatchState.COLLECTED,
            requests=requests,
            items=items,
            bytes=0,
            body_hash="",
            provider_batch_id=orphan.provider_batch_id,
            intended_at=begun_at,
            submitted_at=begun_at,
            expected_end_at=now,
            ended_at=None if items else now,
            collected_at=None if items else now,
            note=note,
        )
        .returning(batch.c.id)
    ).scalar_one()
    own_work(connection, batch_id, packs)
    _book_lost(
        connection,
        batch_id,
        version,
        {n: (orphan.responses[n], lost[n]) for n in lost if n in orphan.responses},
        now,
    )
    payload = {"requests": requests, "items": items}
    batches.announce(
        connection, "lanes.batch.submitted", batch_id, version.workload, payload, now=now
    )
    return f"batch {batch_id} of {version.workload}, {pluralize(items, 'item')}: {note}"


def _find_labeled_version(
    connection: sa.Connection, labels: Collection[RequestLabel]
) -> Version | None:
    """Return the version that the labels name, if this database has it."""
    named = {(each.version_id, each.version) for each in labels}
    for id_, tag in named:
        version = workloads.versions(connection, [id_]).get(id_)
        if version is not None and version_tag(content_hash(version.spec)) == tag:
            return version
    return None


def _orphan_claims(connection: sa.Connection, orphan: Orphan) -> dict[int, list[Claim]]:
    """Return the claims of the requests whose work is in this database, by request number.

    The digest proves or disproves a complete request. In an incomplete request, the slot of a missing item gets a negative
    claim number of other work, so that its part of the bill is booked.
    """
    works = _orphan_works(
        connection,
        {id_ for each in orphan.labels.values() for id_ in each.work_ids},
        orphan.noticed,
    )
    complete_claims, partly, disproved = dict[int, list[Claim]](), dict[int, list[Claim]](), 0
    for number, label in orphan.labels.items():
        pack = [works[id_] for id_ in label.work_ids if id_ in works]
        if len(pack) == len(label.work_ids):
            if digest(pack) == label.digest:
                complete_claims[number] = [each.claim for each in pack]
            else:
                disproved += 1
        elif pack:
            other = pack[0].claim.work_id
            partly[number] = [
                works[id_].claim if id_ in works else Claim(other, -1 - slot)
                for slot, id_ in enumerate(label.work_ids)
            ]
    return complete_claims | partly if complete_claims or not disproved else complete_claims


def _orphan_works(
    connection: sa.Connection, ids: set[WorkId], noticed: datetime
) -> dict[WorkId, ClaimedWork]:
    """Lock and return the copy's work by id, with a new claim if it is ready for a batch, else with an outdated claim."""
    ready = (work.c.state == WorkState.READY) & (work.c.lane == Lane.BATCH)
    rows = connection.execute(
        sa.select(
            work.c.id,
            sa.case((ready, work.c.claim_no + 1), else_=0).label("claim_no"),
            *(work.c[name] for name in OF_WORK),
            *(item.c[name] for name in OF_ITEM),
        )
        .join(item, item.c.id == work.c.item_id)
        .where(one_of(ids, work.c.id), work.c.waits_since <= noticed)
        .order_by(work.c.id)
        .with_for_update(of=work, key_share=True)
    )
    return {row.id: read_claimed(row) for row in rows}


def _book_lost(
    connection: sa.Connection,
    batch_id: BatchId,
    version: Version,
    lost: Mapping[int, tuple[Response, RequestLabel]],
    now: datetime,
) -> None:
    """Book the responses to work that is missing from the copy."""
    nothing = WorkId(0)
    made = [
        Attempt(
            Claim(nothing, 0),
            Judgment(Outcome.UNKNOWN),
            response,
            now,
            now,
            0,
            share=PackShare(0, len(label.work_ids)),
        )
        for response, label in lost.values()
    ]
    if made:
        ledger.book(connection, made, {nothing: LostWork(version)}, batch_id=batch_id)
