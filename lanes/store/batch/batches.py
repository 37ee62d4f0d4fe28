"""Batches as they stand: which are open, and which of the provider's are ours."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, and_, select

from lanes.batch.batch import OVER, OpenBatch
from lanes.ids import VersionId
from lanes.store.literals import is_none_of
from lanes.store.tables import batch, version
from lanes.words import BatchState


def open_batches(connection: Connection, *, account: str | None = None) -> list[OpenBatch]:
    """The batches that are not finished, oldest first."""
    wanted = is_none_of(batch.c.state, OVER)
    if account is not None:
        wanted = and_(wanted, batch.c.account == account)
    return [
        open_batch(row)
        for row in connection.execute(select(batch).where(wanted).order_by(batch.c.id))
    ]


def open_batch(row: Any) -> OpenBatch:
    """A row of the table."""
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
        adopted_at=row.adopted_at,
        proved_at=row.proved_at,
        unknown_since=row.unknown_since,
        cancel_at=row.cancel_at,
        pack_ids=row.pack_ids,
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
