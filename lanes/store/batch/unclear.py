"""The incident of a batch that cannot be brought home without a person, from when it is told until it is over."""

from datetime import datetime

from sqlalchemy import Connection, select

from lanes.ids import BatchId
from lanes.promises.batch_runs import batch_unclear, of_batch
from lanes.promises.incident import Promise
from lanes.store import incidents
from lanes.store.tables import batch


def tell(connection: Connection, batch_id: BatchId, why: str, *, now: datetime) -> None:
    """The batch has its open incident, which says why and what to do."""
    row = connection.execute(
        select(batch.c.workload, batch.c["items"].label("all_items")).where(batch.c.id == batch_id)
    ).one()
    incidents.open(connection, batch_unclear(row.workload, batch_id, row.all_items, why), now=now)


def over(connection: Connection, batch_id: BatchId, sentence: str, *, now: datetime) -> None:
    """The batch's incident, if one is open, is resolved with that sentence."""
    workload = connection.execute(
        select(batch.c.workload).where(batch.c.id == batch_id)
    ).scalar_one()
    subject = of_batch(batch_id)
    incidents.resolve(
        connection, Promise.BATCH_UNCLEAR, workload, subject, sentence=sentence, now=now
    )
