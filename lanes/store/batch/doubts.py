"""Batches in doubt: held, unknown to the provider, released, superseded, or no longer wanted.

A search looks for a provider batch that may be ours. It is adopted first, and then proved to be ours or someone else's.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, case, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert

from lanes.batch.batch import AT_PROVIDER, UNCONFIRMED, OpenBatch
from lanes.ids import BatchId
from lanes.promises.batches import batch_unclear
from lanes.promises.incident import Promise, batch_subject
from lanes.store import incidents
from lanes.store.batch.batches import announce, change, open_batch, select_doubts
from lanes.store.statements import is_, one_of
from lanes.store.states import ANSWERING
from lanes.store.tables import batch, batch_doubt, disowned, work
from lanes.store.work import ready_again
from lanes.words import BatchState, WorkState

# between two searches for a held batch; a batch that blocks its account is searched for at every tick
SEARCH_EVERY = timedelta(minutes=10)
LET_GO = {"provider_batch_id": None, "unproved": False, "submitted_at": None}
LISTED_FOR = timedelta(days=29)  # how long the provider keeps results


def note(
    connection: Connection,
    batch_id: BatchId,
    *,
    otherwise: Mapping[str, Any] | None = None,
    **doubts: Any,
) -> Any:
    """Write a batch's doubts and return their row; if the row exists already, `otherwise` replaces the values to write."""
    wanted = insert(batch_doubt).values(batch_id=batch_id, **doubts)
    kept = wanted.on_conflict_do_update(index_elements=["batch_id"], set_=otherwise or doubts)
    return connection.execute(kept.returning(batch_doubt)).one()


def hold(connection: Connection, batch_id: BatchId, *, note: str, now: datetime) -> None:
    """Hold a batch that cannot be identified at the provider: it keeps its work, and an incident asks for a decision."""
    unconfirmed = batch.c.state.in_(UNCONFIRMED)
    if change(connection, batch_id, unconfirmed, state=BatchState.HELD, note=note):
        tell(connection, batch_id, note, now=now)


def mark_unknown(
    connection: Connection, batch_id: BatchId, *, why: str, grace: timedelta, now: datetime
) -> None:
    """Record that the provider does not know the batch, and open an incident after the grace period.

    A superseded batch, which no longer owns work, is closed instead.
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


def mark_known(connection: Connection, batch_id: BatchId, *, now: datetime) -> None:
    """Record that the provider has the batch after all, and resolve its incident."""
    note(connection, batch_id, unknown_since=None)
    resolve_incident(connection, batch_id, f"The provider has batch {batch_id} after all.", now=now)


def tell(connection: Connection, batch_id: BatchId, why: str, *, now: datetime) -> None:
    """Open the batch's incident, which states the reason and the remedy."""
    row = connection.execute(select(batch).where(batch.c.id == batch_id)).one()
    incidents.open(connection, batch_unclear(row.workload, batch_id, row.items, why), now=now)


def resolve_incident(
    connection: Connection, batch_id: BatchId, sentence: str, *, now: datetime
) -> None:
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
    """Record that a provider batch is not ours, although batch `batch_id` had adopted it."""
    given = {"account": account, "provider_batch_id": provider_batch_id}
    added = insert(disowned).values(**given, batch_id=batch_id, disowned_at=now)
    connection.execute(added.on_conflict_do_nothing())


def strangers(connection: Connection, account: str, candidates: Sequence[str]) -> set[str]:
    """Return the provider batch ids among the candidates that are known not to be ours."""
    wanted = select(disowned.c.provider_batch_id).where(disowned.c.account == account)
    known = one_of(candidates, disowned.c.provider_batch_id)
    return set(connection.execute(wanted.where(known)).scalars())


def release(connection: Connection, batch_id: BatchId, *, note: str, now: datetime) -> bool:
    """Release a batch that was never created: its work is ready again and untried. False if the provider has the batch."""
    released = {"state": BatchState.RELEASED, "ended_at": now, "note": note}
    if not change(connection, batch_id, batch.c.state.in_(UNCONFIRMED), **released):
        return False
    _free(connection, batch_id, now=now)
    resolve_incident(connection, batch_id, f"Batch {batch_id} is released: {note}.", now=now)
    return True


def supersede(connection: Connection, batch_id: BatchId, *, note: str, now: datetime) -> bool:
    """Take all work from a batch that the provider has; `collect` cancels the batch and books its bill.

    Returns False if the provider does not have the batch; the caller must then roll back. Work is locked before its batch, in
    the same order as when results are saved.
    """
    _free(connection, batch_id, now=now)
    superseded = {"state": BatchState.SUPERSEDED, "cancel_at": now, "note": note}
    if not change(connection, batch_id, batch.c.state.in_(AT_PROVIDER), **superseded):
        return False
    resolve_incident(
        connection, batch_id, f"Batch {batch_id} no longer owns work: {note}.", now=now
    )
    return True


def close(connection: Connection, batch_id: BatchId, *, note: str, now: datetime) -> None:
    """Close a superseded batch that has nothing left to book."""
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


# A condition on submitted work `w` of item `i`: its answer is still needed. The answer of a replay or a shadow always is.
WANTED = f"""
(w.purpose not in {ANSWERING}
 or (i.settled_at is null and i.canceled_at is null and i.revision = w.revision))
"""
# An adopted batch that is not proved yet may not be ours.
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
update lanes.batch b set cancel_at = :now, note = 'none of its items needs an answer'
  from unwanted u where b.id = u.id
returning b.id
"""


def recall(connection: Connection, *, now: datetime) -> list[BatchId]:
    """Mark batches at the provider for cancellation if no item needs its answer; finished results are billed and booked."""
    return sorted(connection.execute(text(RECALL), {"now": now}).scalars())


def mark_create_ended(connection: Connection, batch_id: BatchId, *, now: datetime) -> None:
    """Record that the create of an intended batch ended at `now` without an answer and is not tried again."""
    intended = batch.c.id == batch_id, batch.c.state == BatchState.INTENDED
    if connection.execute(select(batch.c.id).where(*intended)).first() is not None:
        first = func.coalesce(batch_doubt.c.create_ended_at, now)
        note(connection, batch_id, create_ended_at=now, otherwise={"create_ended_at": first})


def to_search(connection: Connection, account: str, *, now: datetime) -> list[OpenBatch]:
    """Return the account's batches to search for in the provider's list: the unresolved one, and due held ones."""
    searched_at = batch_doubt.c.searched_at
    due = or_(searched_at.is_(None), searched_at <= now - SEARCH_EVERY)
    held = and_(is_(batch.c.state, BatchState.HELD), due, batch.c.intended_at > now - LISTED_FOR)
    wanted = and_(batch.c.account == account, or_(is_(batch.c.state, BatchState.INTENDED), held))
    return [open_batch(row) for row in connection.execute(select_doubts(wanted))]


def mark_searched(connection: Connection, batch_id: BatchId, *, now: datetime) -> None:
    """Record that the provider's list was searched for the batch at `now`."""
    note(connection, batch_id, searched_at=now)


def adopt(
    connection: Connection,
    batch_id: BatchId,
    provider_batch_id: str,
    *,
    expected_end_at: datetime,
    now: datetime,
) -> bool:
    """Adopt a listed provider batch until its first result proves or disproves it; return whether ours was unconfirmed."""
    sentence = f"Batch {batch_id} is taken for {provider_batch_id}."
    values = {"state": BatchState.SUBMITTED, "unproved": True, "expected_end_at": expected_end_at}
    unconfirmed = batch.c.state.in_(UNCONFIRMED)
    found = mark_at_provider(
        connection, batch_id, provider_batch_id, unconfirmed, sentence=sentence, now=now, **values
    )
    return found is not None


def mark_at_provider(
    connection: Connection,
    batch_id: BatchId,
    provider_batch_id: str,
    *only: ColumnElement[bool],
    sentence: str,
    now: datetime,
    **values: Any,
) -> Any | None:
    """Record that the provider has the batch under that id if all conditions in `only` hold; return its row, or None.

    The given sentence resolves the batch's incident.
    """
    values |= {"provider_batch_id": provider_batch_id, "submitted_at": now, "ended_at": None}
    row = change(connection, batch_id, *only, **values)
    if row is not None:
        note(connection, batch_id, unknown_since=None)
        resolve_incident(connection, batch_id, sentence, now=now)
        payload = {"requests": row.requests, "items": row.items}
        announce(connection, "lanes.batch.submitted", batch_id, row.workload, payload, now=now)
    return row


def mark_proved(connection: Connection, batch_id: BatchId, provider_batch_id: str) -> None:
    """Record that the adopted provider batch is proved to be ours: its first result carries our nonce."""
    its = batch.c.provider_batch_id == provider_batch_id
    change(connection, batch_id, its, batch.c.unproved, unproved=False)


def let_go(connection: Connection, batch_id: BatchId) -> None:
    """Drop the adopted provider id, which does not belong to the batch, and hold the batch."""
    adopted = batch.c.state.in_(AT_PROVIDER), batch.c.unproved
    held = {"state": BatchState.HELD, **LET_GO, "ended_at": None}
    change(connection, batch_id, *adopted, **held)


def mark_disproved(
    connection: Connection, batch_id: BatchId, provider_batch_id: str, *, now: datetime
) -> bool:
    """Drop an adopted provider batch that is not ours, and never adopt it again; return whether there was one to drop.

    Our batch keeps its work and is held, an incident reports it, and the search continues. A superseded batch is released.
    """
    superseded = batch.c.state == BatchState.SUPERSEDED
    row = change(
        connection,
        batch_id,
        batch.c.provider_batch_id == provider_batch_id,
        batch.c.state.in_([*AT_PROVIDER, BatchState.SUPERSEDED]),
        batch.c.unproved,
        state=case((superseded, BatchState.RELEASED), else_=BatchState.HELD),
        ended_at=case((superseded, now)),
        **LET_GO,
        expected_end_at=None,
        processed=0,
        note=f"{provider_batch_id} was taken for it and is not ours",
    )
    if row is None:
        return False
    note(connection, batch_id, unknown_since=None, searched_at=None)
    disown(connection, row.account, provider_batch_id, batch_id, now=now)
    if row.state == BatchState.HELD:
        why = (
            f"{provider_batch_id} was taken for it, but carries another batch's results; nothing of it was applied, and the "
            "search goes on"
        )
        tell(connection, batch_id, why, now=now)
    return True


def unsure_counts(connection: Connection, account: str) -> set[int]:
    """Return the request counts of the account's unsure batches, by which they may have to be found at the provider."""
    state = batch.c.state
    unsure = or_(state.in_(UNCONFIRMED), and_(state.in_(AT_PROVIDER), batch.c.unproved))
    counts = select(batch.c.requests).where(batch.c.account == account, unsure)
    return set(connection.execute(counts).scalars())
