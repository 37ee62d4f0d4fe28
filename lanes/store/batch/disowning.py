"""Batches at the provider that turned out to be a stranger's: never adopted again."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, select
from sqlalchemy.dialects.postgresql import insert

from lanes.ids import BatchId
from lanes.store.bulk import one_of
from lanes.store.tables import disowned


def disown(
    connection: Connection,
    account: str,
    provider_batch_id: str,
    batch_id: BatchId,
    *,
    now: datetime,
) -> None:
    """The provider's batch of that id is a stranger's, though batch `batch_id` was taken for it."""
    given = {
        "account": account,
        "provider_batch_id": provider_batch_id,
        "batch_id": batch_id,
        "disowned_at": now,
    }
    connection.execute(insert(disowned).values(**given).on_conflict_do_nothing())


def strangers(connection: Connection, account: str, candidates: Sequence[str]) -> set[str]:
    """Which of these provider batches of the account are known to be strangers'."""
    wanted = select(disowned.c.provider_batch_id).where(disowned.c.account == account)
    return set(
        connection.execute(wanted.where(one_of(candidates, disowned.c.provider_batch_id))).scalars()
    )
