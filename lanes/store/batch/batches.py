"""Batches as they stand: which are open, and which of the provider's are ours."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, select

from lanes.batch.batch import OVER, OpenBatch
from lanes.ids import VersionId
from lanes.store.literals import is_none_of
from lanes.store.tables import batch, batch_doubt, version
from lanes.words import BatchState


def open_batches(connection: Connection, *, account: str | None = None) -> list[OpenBatch]:
    """The batches that are not finished, oldest first."""
    wanted = is_none_of(batch.c.state, OVER)
    if account is not None:
        wanted = and_(wanted, batch.c.account == account)
    return [open_batch(row) for row in connection.execute(with_doubts(wanted))]


def with_doubts(wanted: ColumnElement[bool]) -> Select[Any]:
    """Select the wanted batches by id, with what is doubtful of each."""
    doubtful = [column for column in batch_doubt.c if column is not batch_doubt.c.batch_id]
    joined = batch.outerjoin(batch_doubt, batch_doubt.c.batch_id == batch.c.id)
    return select(batch, *doubtful).select_from(joined).where(wanted).order_by(batch.c.id)


def open_batch(row: Any) -> OpenBatch:
    """Read a row of `with_doubts`."""
    return OpenBatch(
        id=row.id,
        nonce=row.nonce,
        account=row.account,
        workload=row.workload,
        version_id=row.version_id,
        model=row.model,
        state=row.state,
        requests=row.requests,
        items=row.items,
        provider_batch_id=row.provider_batch_id,
        intended_at=row.intended_at,
        submitted_at=row.submitted_at,
        create_ended_at=row.create_ended_at,
        unproved=row.unproved,
        unknown_since=row.unknown_since,
        cancel_at=row.cancel_at,
    )


def unresolved(connection: Connection, account: str) -> OpenBatch | None:
    """The account's batch whose create has not been confirmed, if any: no other may be created before it is."""
    rows = open_batches(connection, account=account)
    return next((each for each in rows if each.state is BatchState.INTENDED), None)


def owned_ids(connection: Connection, candidates: Sequence[str]) -> set[str]:
    """Which of these provider batches some batch of ours owns."""
    rows = connection.execute(
        select(batch.c.provider_batch_id).where(batch.c.provider_batch_id.in_(list(candidates)))
    )
    return {row.provider_batch_id for row in rows if row.provider_batch_id is not None}


def expected_minutes(connection: Connection, version_id: VersionId) -> int:
    """How long a batch of a version usually takes."""
    return connection.execute(
        select(version.c.batch_expected_minutes).where(version.c.id == version_id)
    ).scalar_one()
