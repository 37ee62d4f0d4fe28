"""What a person decides about a held batch: which batch at the provider it is, or that it is given up."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select

from lanes.errors import ActionRefused
from lanes.report.units import counted
from lanes.store import batches
from lanes.store.tables import batch
from lanes.words import BatchState


def adopt(connection: Connection, name: str, batch_id: int, provider_batch_id: str, *, now: datetime) -> str:
    """The provider's batch of that id is this one: `collect` brings it home; what is true now.

    Raises:
        ActionRefused: the workload has no such held batch, or another batch of ours has that id.
    """
    held = _held(connection, name, batch_id)
    if batches.owned_ids(connection, [provider_batch_id]):
        raise ActionRefused(f"another batch of ours is {provider_batch_id} already: see lanes.batch_status")
    expected = now + timedelta(minutes=batches.expected_minutes(connection, held.version_id))
    batches.submitted(connection, batch_id, provider_batch_id, expected_end_at=expected, now=now)
    return f"batch {batch_id} of {name} is {provider_batch_id}: `collect` brings it home when it has ended"


def resubmit(connection: Connection, name: str, batch_id: int, *, who: str, now: datetime) -> str:
    """The batch is given up and its items wait for the next one; what is true now.

    Where the provider has it all the same, its items are paid twice.

    Raises:
        ActionRefused: the workload has no such held batch.
    """
    held = _held(connection, name, batch_id)
    batches.release(connection, batch_id, note=f"given up by {who}; the provider may have it all the same", now=now)
    items = counted(held.items_held, "item")
    return f"batch {batch_id} of {name} is given up: {items} wait for the next batch, and may be paid twice"


def _held(connection: Connection, name: str, batch_id: int) -> Any:
    """The row of a held batch, locked until this transaction ends."""
    row = connection.execute(
        select(batch.c.state, batch.c.version_id, batch.c["items"].label("items_held"))
        .where(batch.c.id == batch_id, batch.c.workload == name)
        .with_for_update(key_share=True)
    ).first()
    if row is None:
        raise ActionRefused(f'workload "{name}" has no batch {batch_id}: see lanes.batch_status')
    if row.state != BatchState.HELD:
        raise ActionRefused(f"batch {batch_id} is {row.state}; only a held batch needs a decision")
    return row
