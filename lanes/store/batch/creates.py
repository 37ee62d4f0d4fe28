"""A batch's one paid create: its intent is committed before it, and the provider's answer is recorded after it."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

import sqlalchemy as sa

from lanes.batch.batch import AT_PROVIDER, PRIMER, CreateAnswer, Intent
from lanes.ids import BatchId
from lanes.packing import Claim
from lanes.store.batch import batches, doubts
from lanes.store.tables import batch, batch_member, work
from lanes.words import BatchState, WorkState


def intend(
    connection: sa.Connection,
    intent: Intent,
    packs: Sequence[Sequence[Claim]],
    *,
    marked: int = 0,
    now: datetime,
) -> BatchId:
    """Commit the intent of a batch, which owns its work from then on; return its id. Each pack is one request.

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
    own(connection, batch_id, packs)
    return batch_id


def own(connection: sa.Connection, batch_id: BatchId, packs: Sequence[Sequence[Claim]]) -> None:
    """Give the batch the claimed work, of which each pack is one request; an older claim is only booked with it."""
    connection.execute(_members(batch_id, packs))
    of_batch = sa.and_(batch_member.c.batch_id == batch_id, batch_member.c.work_id == work.c.id)
    newest = batch_member.c.claim_no > work.c.claim_no
    taken = sa.update(work).where(of_batch, newest)
    owned = {"state": WorkState.SUBMITTED, "batch_id": batch_id, "lease_until": None}
    connection.execute(taken.values(claim_no=batch_member.c.claim_no, **owned))


def _members(batch_id: BatchId, packs: Sequence[Sequence[Claim]]) -> sa.Insert:
    """Make every claim a member of the batch; numbers travel as texts, because the driver is slow with long lists of them."""
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


def submitted(
    connection: sa.Connection,
    batch_id: BatchId,
    provider_batch_id: str,
    *,
    expected_end_at: datetime,
    now: datetime,
) -> CreateAnswer:
    """Record that the create was answered: the provider has the batch under that id.

    A batch whose work was released meanwhile is cancelled and its bill booked by `collect`. Its work is never taken back:
    it stays where it went, so that each item is in one batch only. A twin of a batch that certainly is another of the
    provider's is for the caller to cancel.
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
    doubts.has_at_provider(
        connection,
        batch_id,
        provider_batch_id,
        said=f"Batch {batch_id} is {provider_batch_id}: its create was answered.",
        now=now,
        state=BatchState.SUPERSEDED if released else BatchState.SUBMITTED,
        expected_end_at=expected_end_at,
        unproved=False,
        processed=0,
        note=note,
        cancel_at=now if released else batch.c.cancel_at,
    )
    return CreateAnswer.UNWANTED if released else CreateAnswer.SUBMITTED
