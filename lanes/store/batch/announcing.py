"""What the world is told of a batch."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection

from lanes.ids import BatchId
from lanes.store import outbox
from lanes.store.outbox import EventOut


def submitted(
    connection: Connection,
    batch_id: BatchId,
    workload: str,
    *,
    requests: int,
    items: int,
    now: datetime,
) -> None:
    """That the provider has the batch."""
    payload = {"batch_id": batch_id, "requests": requests, "items": items}
    outbox.add(
        connection, [EventOut.of_workload("lanes.batch.submitted", workload, payload)], now=now
    )


def ended(
    connection: Connection,
    batch_id: BatchId,
    workload: str,
    *,
    requests: int,
    items: int,
    outcomes: Mapping[str, int],
    now: datetime,
) -> None:
    """That the provider has finished the batch, and how many of its requests ended how. Their results are still to be read."""
    payload = {"batch_id": batch_id, "requests": requests, "items": items, **outcomes}
    outbox.add(connection, [EventOut.of_workload("lanes.batch.ended", workload, payload)], now=now)


def collected(
    connection: Connection,
    batch_id: BatchId,
    workload: str,
    *,
    items: int,
    outcomes: Mapping[str, int],
    now: datetime,
) -> None:
    """That every result of the batch was applied, and how many of its items fared how: what they say can be read."""
    payload = {"batch_id": batch_id, "items": items, **outcomes}
    outbox.add(
        connection, [EventOut.of_workload("lanes.batch.collected", workload, payload)], now=now
    )
