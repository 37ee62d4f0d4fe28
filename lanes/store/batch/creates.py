"""A batch's one paid create: its intent is committed before it, and whatever answers it is recorded after it."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ARRAY, BigInteger, Connection, Insert, and_, column, func, insert, literal, select, text, update

from lanes.batch.batch import UNCONFIRMED, Answer, Intent
from lanes.claims import Claim
from lanes.ids import BatchId
from lanes.packids import PackIds
from lanes.store.batch import announcing, disowning, unclear
from lanes.store.tables import batch, batch_member, work
from lanes.words import BatchState, WorkState

LOCKED = """
select count(*) from (
  select w.id from lanes.work w join lanes.batch_member m on m.work_id = w.id where m.batch_id = :id
   order by w.id for no key update of w) locked
"""

# What waits for a batch, and what is in these other ones. A claim that was in force elsewhere meanwhile is not the one that the
# batch was made with: there its answers are late ones.
OWNED = """
with owned as (
  update lanes.work w
     set state = 'submitted', batch_id = :id, lease_until = null,
         claim_no = case when w.claim_no = m.claim_no then w.claim_no else w.claim_no + 1 end
    from lanes.batch_member m
   where m.batch_id = :id and m.work_id = w.id
     and ((w.state = 'ready' and w.lane = 'batch') or (w.state = 'submitted' and w.batch_id = any(cast(:emptied as bigint[]))))
  returning w.id, w.claim_no)
update lanes.batch_member m set claim_no = owned.claim_no from owned where m.batch_id = :id and m.work_id = owned.id
"""

# The other batches at the provider of which this one holds all that is still out.
EMPTIED = """
with others as (
  select distinct w.batch_id from lanes.work w join lanes.batch_member m on m.work_id = w.id
   where m.batch_id = :id and w.state = 'submitted' and w.batch_id <> :id)
update lanes.batch b set state = 'superseded', cancel_at = :now, note = :note
  from others o
 where b.id = o.batch_id and b.state = 'submitted' and (b.adopted_at is null or b.proved_at is not null)
   and not exists (
     select from lanes.work w
      where w.batch_id = b.id and w.state = 'submitted'
        and not exists (select from lanes.batch_member m where m.batch_id = :id and m.work_id = w.id))
returning b.id
"""


def intend(
    connection: Connection, intent: Intent, packs: Sequence[Sequence[Claim]], *, marked: int = 0, now: datetime
) -> BatchId:  # fmt: skip
    """The batch is intended and owns its work; its id. Each pack is one request; so many of them mark what they share.

    Raises:
        IntegrityError: the account has an unresolved batch already.
    """
    batch_id = connection.execute(
        insert(batch)
        .values(
            nonce=intent.nonce, account=intent.account, workload=intent.workload, version_id=intent.version_id,
            model=intent.model, state=BatchState.INTENDED, requests=len(packs), items=sum(map(len, packs)),
            marked_requests=marked, bytes=intent.bytes, body_hash=intent.body_hash, pack_ids=PackIds.DERIVED, intended_at=now,
            flow_run_id=intent.flow_run_id,
        )
        .returning(batch.c.id)
    ).scalar_one()  # fmt: skip
    connection.execute(_members(batch_id, packs))
    of_batch = and_(batch_member.c.batch_id == batch_id, batch_member.c.work_id == work.c.id)
    connection.execute(
        update(work)
        .where(of_batch)
        .values(state=WorkState.SUBMITTED, batch_id=batch_id, claim_no=batch_member.c.claim_no, lease_until=None)
    )
    return batch_id


def _members(batch_id: BatchId, packs: Sequence[Sequence[Claim]]) -> Insert:
    """Every claim is a member of the batch. Their numbers travel as texts: the driver needs seconds for so many of them."""
    columns = {
        "request_no": [number for number, pack in enumerate(packs) for _ in pack],
        "slot": [slot for pack in packs for slot in range(len(pack))],
        "work_id": [claim.work_id for pack in packs for claim in pack],
        "claim_no": [claim.number for pack in packs for claim in pack],
    }
    numbers = [func.string_to_array(",".join(map(str, each)), ",").cast(ARRAY(BigInteger)) for each in columns.values()]
    given = func.unnest(*numbers).table_valued(*(column(name, BigInteger) for name in columns), name="given").render_derived()
    return insert(batch_member).from_select(["batch_id", *columns], select(literal(batch_id, BigInteger), *given.c))


def submitted(
    connection: Connection, batch_id: BatchId, provider_batch_id: str, *, expected_end_at: datetime, now: datetime
) -> Answer:
    """The create was answered: the provider has the batch under that id, whatever was thought of it meanwhile.

    One that was released takes back what of its work waits, and what is in another batch of which nothing else is out: that one
    is cancelled in its place. Only where nothing of it waits it is cancelled itself: what has not run yet comes back unspent,
    and what has is booked. Work that is elsewhere otherwise stays there: its answer in this batch is billed and never shown.
    """
    row = connection.execute(
        select(batch.c.state, batch.c.account, batch.c.workload, batch.c.requests, batch.c["items"].label("all_items"),
               batch.c.provider_batch_id, batch.c.adopted_at, batch.c.proved_at)
        .where(batch.c.id == batch_id)
        .with_for_update(key_share=True)
    ).one()  # fmt: skip
    answer, state, note = Answer.SUBMITTED, BatchState.SUBMITTED, None
    if row.state == BatchState.RELEASED:
        answer, state = _take_back(connection, batch_id, now)
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
    announcing.submitted(connection, batch_id, row.workload, requests=row.requests, items=row.all_items, now=now)
    return answer


def _take_back(connection: Connection, batch_id: BatchId, now: datetime) -> tuple[Answer, BatchState]:
    """The released batch owns what of its work is still to be asked; whether there is any."""
    connection.execute(text(LOCKED), {"id": batch_id})
    if not connection.execute(text(OWNED), {"id": batch_id, "emptied": []}).rowcount:
        return Answer.SUPERSEDED, BatchState.SUPERSEDED
    note = f"batch {batch_id} answers all that it holds"
    emptied = connection.execute(text(EMPTIED), {"id": batch_id, "note": note, "now": now}).scalars().all()
    connection.execute(text(OWNED), {"id": batch_id, "emptied": emptied})
    return Answer.TAKEN_BACK, BatchState.SUBMITTED
