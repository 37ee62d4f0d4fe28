"""Deleting of rows by age. Items, attempts and the ledger are kept forever."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Table, delete, select, text

from lanes.store.tables import amendment, label, rejected

MOST = 5_000  # rows examined in one transaction

# Reads are walked by id, so that those which stay are examined once.
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
    """How many rows were deleted, and the id to continue from; None: all were examined."""

    rows: int
    onwards: int | None


def delete_refused(connection: Connection, *, before: datetime) -> int:
    """Delete some refused inputs from before a moment; return how many, 0 when none is left."""
    return _delete_some(connection, rejected, rejected.c.rejected_at < before)


def delete_amendments(connection: Connection, *, before: datetime) -> int:
    """Delete some amendments from before a moment, decided or waiting; revisions stay."""
    return _delete_some(connection, amendment, amendment.c.received_at < before)


def delete_labels(connection: Connection, *, before: datetime) -> int:
    """Delete some labels from before a moment; return how many, 0 when none is left."""
    return _delete_some(connection, label, label.c.labeled_at < before)


def _delete_some(connection: Connection, of: Table, is_old: ColumnElement[bool]) -> int:
    """Delete the first old rows of a table; rows that another transaction holds are left for the next time."""
    old = select(of.c.id).where(is_old).order_by(of.c.id).limit(MOST)
    free = old.with_for_update(skip_locked=True)
    return connection.execute(delete(of).where(of.c.id.in_(free))).rowcount


def delete_reads(
    connection: Connection, *, before: datetime, after: int = 0, most: int = MOST
) -> Deleted:
    """Delete, of the next reads, those from before a moment that were not the first to take an item's answer.

    The figures count the first read of an item: without it, the next one would count again.
    """
    row = connection.execute(READS, {"before": before, "after": after, "most": most}).one()
    return Deleted(row.deleted, row.last)
