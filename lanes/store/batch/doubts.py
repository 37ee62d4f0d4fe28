"""Batches in doubt: held, unknown to the provider, released, superseded, a stranger's, or no longer wanted."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from lanes.batch.batch import AT_PROVIDER, UNCONFIRMED
from lanes.ids import BatchId
from lanes.promises.batches import batch_unclear
from lanes.promises.incident import Promise, batch_subject
from lanes.store import incidents
from lanes.store.batch.batches import change
from lanes.store.bulk import one_of
from lanes.store.literals import is_
from lanes.store.states import ANSWERING
from lanes.store.tables import batch, batch_doubt, disowned, work
from lanes.store.work import ready_again
from lanes.words import BatchState, WorkState


def note(
    connection: Connection,
    batch_id: BatchId,
    *,
    otherwise: Mapping[str, Any] | None = None,
    **doubts: Any,
) -> Any:
    """Write what is doubtful of a batch, and return its row; `otherwise`: what changes where it has one."""
    wanted = insert(batch_doubt).values(batch_id=batch_id, **doubts)
    kept = wanted.on_conflict_do_update(index_elements=["batch_id"], set_=otherwise or doubts)
    return connection.execute(kept.returning(batch_doubt)).one()


def hold(connection: Connection, batch_id: BatchId, *, note: str, now: datetime) -> None:
    """Hold a batch that cannot be identified at the provider: it keeps its work, and a person is asked to decide."""
    unconfirmed = batch.c.state.in_(UNCONFIRMED)
    if change(connection, batch_id, unconfirmed, state=BatchState.HELD, note=note):
        tell(connection, batch_id, note, now=now)


def unknown(
    connection: Connection, batch_id: BatchId, *, why: str, grace: timedelta, now: datetime
) -> None:
    """Note that the provider does not know the batch; beyond the grace period a person is told.

    A batch that owns no work any more is closed then.
    """
    state = connection.execute(
        select(batch.c.state)
        .where(batch.c.id == batch_id, batch.c.state.in_([*AT_PROVIDER, BatchState.SUPERSEDED]))
        .with_for_update(key_share=True)
    ).scalar()
    if state is None:
        return
    first = func.coalesce(batch_doubt.c.unknown_since, now)
    row = note(connection, batch_id, unknown_since=now, otherwise={"unknown_since": first})
    if now < row.unknown_since + grace:
        return
    if state == BatchState.SUPERSEDED:
        close(connection, batch_id, note=why, now=now)
    else:
        tell(connection, batch_id, why, now=now)


def known(connection: Connection, batch_id: BatchId, *, now: datetime) -> None:
    """Note that the provider has the batch after all."""
    note(connection, batch_id, unknown_since=None)
    over(connection, batch_id, f"The provider has batch {batch_id} after all.", now=now)


def tell(connection: Connection, batch_id: BatchId, why: str, *, now: datetime) -> None:
    """Open the batch's incident, which says why and what to do."""
    row = connection.execute(select(batch).where(batch.c.id == batch_id)).one()
    incidents.open(connection, batch_unclear(row.workload, batch_id, row.items, why), now=now)


def over(connection: Connection, batch_id: BatchId, sentence: str, *, now: datetime) -> None:
    """Resolve the batch's incident, if one is open, with that sentence."""
    wanted = select(batch.c.workload).where(batch.c.id == batch_id)
    workload = connection.execute(wanted).scalar_one()
    subject = batch_subject(batch_id)
    incidents.resolve(
        connection, Promise.BATCH_UNCLEAR, workload, subject, sentence=sentence, now=now
    )


def disown(
    connection: Connection,
    account: str,
    provider_batch_id: str,
    batch_id: BatchId,
    *,
    now: datetime,
) -> None:
    """Note that the provider's batch of that id is a stranger's, though batch `batch_id` was taken for it."""
    given = {"account": account, "provider_batch_id": provider_batch_id}
    added = insert(disowned).values(**given, batch_id=batch_id, disowned_at=now)
    connection.execute(added.on_conflict_do_nothing())


def strangers(connection: Connection, account: str, candidates: Sequence[str]) -> set[str]:
    """Return which of these provider batches of the account are known to be strangers'."""
    wanted = select(disowned.c.provider_batch_id).where(disowned.c.account == account)
    known = one_of(candidates, disowned.c.provider_batch_id)
    return set(connection.execute(wanted.where(known)).scalars())


def release(connection: Connection, batch_id: BatchId, *, note: str, now: datetime) -> bool:
    """Release a batch that was never created: its work is ready again, untried; False where the provider has it."""
    released = {"state": BatchState.RELEASED, "ended_at": now, "note": note}
    if not change(connection, batch_id, batch.c.state.in_(UNCONFIRMED), **released):
        return False
    _free(connection, batch_id, now=now)
    over(connection, batch_id, f"Batch {batch_id} is released: {note}.", now=now)
    return True


def supersede(connection: Connection, batch_id: BatchId, *, note: str, now: datetime) -> bool:
    """Take all work from a batch that the provider has; `collect` cancels and books it.

    Returns False where the provider does not have it: then roll the transaction back. Work is locked before its batch, as
    where results are saved.
    """
    _free(connection, batch_id, now=now)
    superseded = {"state": BatchState.SUPERSEDED, "cancel_at": now, "note": note}
    if not change(connection, batch_id, batch.c.state.in_(AT_PROVIDER), **superseded):
        return False
    over(connection, batch_id, f"Batch {batch_id} owns no work any more: {note}.", now=now)
    return True


def close(connection: Connection, batch_id: BatchId, *, note: str, now: datetime) -> None:
    """Close a superseded batch of which nothing can be booked any more."""
    change(
        connection,
        batch_id,
        batch.c.state == BatchState.SUPERSEDED,
        state=BatchState.RELEASED,
        ended_at=func.coalesce(batch.c.ended_at, now),
        note=batch.c.note + "; " + note,
    )


def _free(connection: Connection, batch_id: BatchId, *, now: datetime) -> None:
    connection.execute(
        update(work)
        .where(work.c.batch_id == batch_id, is_(work.c.state, WorkState.SUBMITTED))
        .values(state=ready_again(), ready_at=now, batch_id=None)
    )


# Of work `w` that is submitted with item `i`: an answer is still needed. What a replay or a shadow asks for always is.
WANTED = f"""
(w.purpose not in {ANSWERING}
 or (i.settled_at is null and i.canceled_at is null and i.revision = w.revision))
"""
# An adopted batch that is not proved yet may be a stranger's.
RECALL = f"""
with unwanted as (
  select b.id from lanes.batch b
   where b.state = 'submitted' and b.cancel_at is null and b.provider_batch_id is not null
     and not b.unproved
     and not exists (
       select from lanes.work w join lanes.item i on i.id = w.item_id
        where w.batch_id = b.id and w.state = 'submitted' and {WANTED})
   order by b.id limit 100
     for no key update skip locked)
update lanes.batch b set cancel_at = :now, note = 'none of its items needs an answer any more'
  from unwanted u where b.id = u.id
returning b.id
"""


def recall(connection: Connection, *, now: datetime) -> list[BatchId]:
    """Mark unwanted batches that the provider still works on for cancellation; finished results are billed and booked."""
    return sorted(connection.execute(text(RECALL), {"now": now}).scalars())
