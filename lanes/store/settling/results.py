"""Results as readers take them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, column, func, select, text

from lanes.errors import AnswerEmptied
from lanes.settling.listing import Listed, NoResult, ResultRequest, emptied
from lanes.store.asking import read_as
from lanes.store.tables import item, result
from lanes.words import Lane, Standing


@dataclass(frozen=True)
class Result:
    """An item's current answer."""

    workload: str
    key: str
    output: dict[str, Any]
    standing: Standing
    lane: Lane
    generation: int
    created_at: datetime
    is_settled: bool


@dataclass(frozen=True)
class CorrectedRead:
    """An answer that a reader took and that was corrected since: `taken` is what they read, `output` what stands now."""

    workload: str
    key: str
    taken: dict[str, Any]
    output: dict[str, Any]
    changed_fields: list[str]
    read_at: datetime
    corrected_at: datetime


def to_correct(connection: Connection, reader: str) -> list[CorrectedRead]:
    """Return what this reader has to undo, the oldest correction first, until they read the item again."""
    rows = connection.execute(
        text("select * from lanes.reads_to_correct(:reader)"), {"reader": reader}
    )
    return [read_as(CorrectedRead, row) for row in rows]


def current(connection: Connection, workload: str, key: str) -> Result | None:
    """Return the item's current result, None while there is none.

    Raises:
        AnswerEmptied: there was one, and it is no longer kept.
    """
    shown = [result.c[name] for name in ("output", "standing", "lane", "generation", "created_at")]
    row = connection.execute(
        select(*shown, item.c.settled_at)
        .join(item, item.c.result_id == result.c.id)
        .where(item.c.workload == workload, item.c.key == key)
    ).first()
    if row is None:
        row = connection.execute(ARCHIVED, {"workload": workload, "key": key}).first()
    if row is None:
        return None
    if row.output is None:
        raise AnswerEmptied(emptied(workload, key))
    return read_as(Result, row, workload=workload, key=key, is_settled=row.settled_at is not None)


ARCHIVED = text("""
select a.*, i.settled_at
  from lanes.item i cross join lateral lanes.archived_result(i.id) a
 where i.workload = :workload and i.key = :key and i.archive_id is not null
""")
STANDINGS = text("""
select i.id, i.result_id is not null and (i.emptied_at is null or i.archive_id is not null)
             and (i.settled_at is not null or not s.settled) as answered,
       case when f.name is null then 'no workload'
            when i.id is null then 'no item'
            when i.canceled_at is not null or i.forgotten_at is not null then 'canceled'
            when i.emptied_at is not null and i.result_id is not null then 'emptied'
            when i.failed_at is not null then 'failed'
            else 'not yet' end as otherwise
  from unnest(cast(:workloads as text[]), cast(:keys as text[]), cast(:settled as boolean[]))
       with ordinality s (workload, key, settled, nth)
  left join lanes.workload f on f.name = s.workload
  left join lanes.item i on i.workload = s.workload and i.key = s.key
 order by s.nth
""")
# Locked items are passed over, so that one held lock delays no other item.
TAKEN = text("""
with free as materialized (
  select i.id, i.workload, i.key, i.settled_at from lanes.item i where i.id = any (:items) for key share skip locked)
select s.nth, i.workload, i.key, r.output, r.standing, r.lane, r.generation, r.created_at,
       i.settled_at is not null as is_settled
  from unnest(cast(:items as bigint[]), cast(:readers as text[])) with ordinality s (item_id, reader, nth)
  join free i on i.id = s.item_id
 cross join lateral lanes.read_result(i.workload, i.key, s.reader) r
""")


def take(connection: Connection, sought: Sequence[ResultRequest]) -> list[Result | NoResult]:
    """Return what each request finds, in order, and record the reads of results.

    Nothing is waited for: an item that others have locked counts as not answered yet.
    """
    asked = {
        "workloads": [each.workload for each in sought],
        "keys": [each.key for each in sought],
        "settled": [each.settled for each in sought],
    }
    stands = connection.execute(STANDINGS, asked).all()
    found: list[Result | NoResult] = [
        NoResult.NOT_YET if row.answered else NoResult(row.otherwise) for row in stands
    ]
    answered = [(place, row.id) for place, row in enumerate(stands) if row.answered]
    if not answered:
        return found
    taken = {
        "items": [id_ for _, id_ in answered],
        "readers": [sought[place].reader for place, _ in answered],
    }
    for row in connection.execute(TAKEN, taken):
        place, _ = answered[row.nth - 1]
        if row.output is None:
            found[place] = NoResult.EMPTIED
            continue
        found[place] = read_as(Result, row, standing=Standing(row.standing), lane=Lane(row.lane))
    return found


def record_reads(
    connection: Connection, workload: str, items: Sequence[Listed], reader: str | None
) -> list[Listed]:
    """Record that the reader, where there is one, has read the answers of these items.

    It never waits: items that another transaction has locked are returned, but their reads are not recorded.
    """
    if reader is None:
        return []
    answered = [each for each in items if each.output is not None]
    asked = [ResultRequest(workload, each.key, reader) for each in answered]
    taken = take(connection, asked)
    return [each for each, what in zip(answered, taken, strict=True) if what is NoResult.NOT_YET]


def read(connection: Connection, workload: str, key: str, *, reader: str) -> Result | None:
    """Return the item's current result, None while there is none, and record the read.

    Raises:
        AnswerEmptied: there was one, and it is no longer kept.
    """
    recorded = func.lanes.read_result(workload, key, reader).table_valued(column("standing"))
    connection.execute(select(recorded.c.standing)).all()
    return current(connection, workload, key)
