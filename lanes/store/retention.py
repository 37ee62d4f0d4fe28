"""Deletes rows that are kept for a while only. Items, attempts and the ledger are kept for ever."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, select, text

from lanes.store.tables import rejected

MOST = 5_000  # rows deleted, or looked at, in one transaction

# Reads are walked by their numbers, so that those which stay are looked at once.
READS = text("""
with looked_at as materialized (
  select r.id, r.item_id, r.result_id, r.read_at from lanes.read r where r.id > :after order by r.id limit :most),
gone as (
  delete from lanes.read r using looked_at l join lanes.item i on i.id = l.item_id
   where r.id = l.id and l.read_at < :before
     and (l.result_id is null or i.answered_at is null or l.read_at < i.answered_at
          or exists (select from lanes.read e
                      where e.item_id = l.item_id and e.result_id is not null and e.read_at >= i.answered_at
                        and (e.read_at, e.id) < (l.read_at, l.id)))
  returning r.id)
select (select count(*) from gone) as deleted, (select max(id) from looked_at) as last
""")


@dataclass(frozen=True)
class Deleted:
    """How many rows were deleted, and from which number to look on; None: all were looked at."""

    rows: int
    onwards: int | None


def delete_refused(connection: Connection, *, before: datetime) -> int:
    """Some refused inputs from before that moment are gone; how many, 0 when none is left."""
    old = select(rejected.c.id).where(rejected.c.rejected_at < before).order_by(rejected.c.id).limit(MOST)
    return connection.execute(delete(rejected).where(rejected.c.id.in_(old))).rowcount


def delete_reads(connection: Connection, *, before: datetime, after: int = 0, most: int = MOST) -> Deleted:
    """Delete, of the next reads, those from before that moment that were not the first to take an item's answer.

    The first one is what the figures count of an item: without it, the next read would be the first, and count again.
    """
    row = connection.execute(READS, {"before": before, "after": after, "most": most}).one()
    return Deleted(row.deleted, row.last)
