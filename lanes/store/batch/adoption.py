"""Which of the provider's batches is ours: searched for, adopted, then proved or disproved."""

from datetime import datetime, timedelta

from sqlalchemy import Connection, and_, case, func, or_, select

from lanes.batch.batch import AT_PROVIDER, UNCONFIRMED, OpenBatch
from lanes.ids import BatchId
from lanes.store.batch import batches, doubts
from lanes.store.batch.batches import open_batch, with_doubts
from lanes.store.batch.doubts import disown
from lanes.store.literals import is_
from lanes.store.tables import batch, batch_doubt
from lanes.words import BatchState

# for held batches; one that blocks its account is searched for at every tick
SEARCH_EVERY = timedelta(minutes=10)
LET_GO = {"provider_batch_id": None, "unproved": False, "submitted_at": None}
LISTED_FOR = timedelta(days=29)  # how long the provider keeps results


def create_ended(connection: Connection, batch_id: BatchId, *, now: datetime) -> None:
    """Note that the create of an intended batch ended at `now` without an answer: it is not tried any more."""
    intended = batch.c.id == batch_id, batch.c.state == BatchState.INTENDED
    if connection.execute(select(batch.c.id).where(*intended)).first() is not None:
        first = func.coalesce(batch_doubt.c.create_ended_at, now)
        doubts.note(connection, batch_id, create_ended_at=now, otherwise={"create_ended_at": first})


def to_search(connection: Connection, account: str, *, now: datetime) -> list[OpenBatch]:
    """Return the account's batches to look for in the provider's list: the unresolved one, and held ones from time to time."""
    searched_at = batch_doubt.c.searched_at
    due = or_(searched_at.is_(None), searched_at <= now - SEARCH_EVERY)
    held = and_(is_(batch.c.state, BatchState.HELD), due, batch.c.intended_at > now - LISTED_FOR)
    wanted = and_(batch.c.account == account, or_(is_(batch.c.state, BatchState.INTENDED), held))
    return [open_batch(row) for row in connection.execute(with_doubts(wanted))]


def searched(connection: Connection, batch_id: BatchId, *, now: datetime) -> None:
    """Note that the provider's list was searched for the batch at `now`."""
    doubts.note(connection, batch_id, searched_at=now)


def adopted(
    connection: Connection,
    batch_id: BatchId,
    provider_batch_id: str,
    *,
    expected_end_at: datetime,
    now: datetime,
) -> bool:
    """Adopt a listed batch until its first result proves or disproves it; return whether the batch needed one."""
    row = batches.change(
        connection,
        batch_id,
        batch.c.state.in_(UNCONFIRMED),
        state=BatchState.SUBMITTED,
        provider_batch_id=provider_batch_id,
        unproved=True,
        submitted_at=now,
        expected_end_at=expected_end_at,
        ended_at=None,
    )
    if row is None:
        return False
    doubts.note(connection, batch_id, unknown_since=None)
    said = f"Batch {batch_id} is taken for {provider_batch_id}."
    doubts.over(connection, batch_id, said, now=now)
    payload = {"requests": row.requests, "items": row.items}
    batches.announce(connection, "lanes.batch.submitted", batch_id, row.workload, payload, now=now)
    return True


def proved(
    connection: Connection, batch_id: BatchId, provider_batch_id: str, *, now: datetime
) -> None:
    """Note that the batch is the provider's of that id: its first result carries its nonce."""
    its = batch.c.provider_batch_id == provider_batch_id
    batches.change(connection, batch_id, its, batch.c.unproved, unproved=False)


def let_go(connection: Connection, batch_id: BatchId) -> None:
    """Let go of the adopted id, which is not the batch's, and hold the batch."""
    adopted = batch.c.state.in_(AT_PROVIDER), batch.c.unproved
    held = {"state": BatchState.HELD, **LET_GO, "ended_at": None}
    batches.change(connection, batch_id, *adopted, **held)


def disproved(
    connection: Connection, batch_id: BatchId, provider_batch_id: str, *, now: datetime
) -> bool:
    """Let go of an adopted batch that is a stranger's, and never adopt it again; return whether there was anything to undo.

    The batch keeps its work and is held, an incident says so, and the search goes on.
    """
    superseded = batch.c.state == BatchState.SUPERSEDED
    row = batches.change(
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
    doubts.note(connection, batch_id, unknown_since=None, searched_at=None)
    disown(connection, row.account, provider_batch_id, batch_id, now=now)
    if row.state == BatchState.HELD:
        why = (
            f"{provider_batch_id} was taken for it and carries another's results; it was let go, nothing of it was applied, "
            "and the search for its own goes on"
        )
        doubts.tell(connection, batch_id, why, now=now)
    return True


def unsure_counts(connection: Connection, account: str) -> set[int]:
    """Return the numbers of requests by which batches of the account may still have to be found."""
    state = batch.c.state
    unsure = or_(state.in_(UNCONFIRMED), and_(state.in_(AT_PROVIDER), batch.c.unproved))
    counts = select(batch.c.requests).where(batch.c.account == account, unsure)
    return set(connection.execute(counts).scalars())
