"""What the world is told of a batch."""

from datetime import datetime

from sqlalchemy import Connection

from lanes.store import outbox
from lanes.store.outbox import EventOut


def submitted(connection: Connection, batch_id: int, workload: str, *, requests: int, items: int, now: datetime) -> None:
    """That the provider has the batch."""
    payload = {"batch_id": batch_id, "requests": requests, "items": items}
    outbox.add(connection, [EventOut.of_workload("lanes.batch.submitted", workload, payload)], now=now)


def ended(connection: Connection, batch_id: int, workload: str, *, items: int, now: datetime) -> None:
    """That the provider has finished the batch."""
    payload = {"batch_id": batch_id, "items": items}
    outbox.add(connection, [EventOut.of_workload("lanes.batch.ended", workload, payload)], now=now)
