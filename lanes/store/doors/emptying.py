"""The erasure of items' content, by age or because a person requested it, and the deletion of rows by age.

The age of an item counts from its last event: it was received, amended, answered, settled, failed or canceled. The stream is
walked from its beginning by the items' ids, because an index would slow down admission.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, delete, select, text

from lanes.errors import StillLocked, UnknownItem
from lanes.ids import ArchiveId, ItemId
from lanes.store.doors import archives
from lanes.store.states import OPEN_WORK, OUTSIDE_BATCHES
from lanes.store.tables import amendment, label, rejected

LOOKED_AT = 5_000  # items examined in one transaction
WHY = "emptied by its age"

OVER = text(f"""
update lanes.item i set payload = '{{}}', failure = null, emptied_at = :now
  from (select i.id
          from lanes.item i
          join unnest(cast(:names as text[]), cast(:moments as timestamptz[])) s (name, before)
            on s.name = i.workload
           and greatest(i.received_at, i.answered_at, i.settled_at, i.failed_at, i.canceled_at) < s.before
         where i.id > :after and i.id <= :last and (cast(:items as bigint[]) is null or i.id = any (:items))
           and i.emptied_at is null and i.forgotten_at is null
           and not exists (select from lanes.revision v where v.item_id = i.id and v.received_at >= s.before)
           and (i.settled_at is not null or i.failed_at is not null or i.canceled_at is not null)
           and not exists (select from lanes.work w where w.item_id = i.id and w.state in {OPEN_WORK})
         order by i.id
           for no key update of i skip locked) old
 where i.id = old.id
returning i.id
""")
ERASE = (
    "update lanes.revision set payload = '{}' where item_id = any (:items)",
    "update lanes.result set output = null where item_id = any (:items)",
    "update lanes.pack_check set alone = null where item_id = any (:items) and alone is not null",
    "update lanes.shadow_pair set output = null where item_id = any (:items) and output is not null",
    "update lanes.attempt set error = null where item_id = any (:items) and error is not null",
    "update lanes.route set explanation = :why where item_id = any (:items)",
)
OLD_ARCHIVES = text("""
select a.id, a.workload
  from lanes.archive a
  join unnest(cast(:names as text[]), cast(:moments as timestamptz[])) s (name, before)
    on s.name = a.workload and a.said_since < s.before
 where a.id > :after order by a.id limit 1
   for no key update of a skip locked
""")
AT_THE_DOOR = (
    "update lanes.rejected set content = '', detail = 'forgotten' where workload = :workload and (key = :key or place = :key)",
    "update lanes.amendment set payload = null, outcome = coalesce(outcome, 'canceled'),"
    " decided_at = coalesce(decided_at, :now) where workload = :workload and key = :key",
)
# An archived item keeps `canceled_at`, so that it counts in the figures as before.
ITEM = (
    "update lanes.item set payload = '{}', entity = null, failure = null, result_id = null,"
    " canceled_at = case when archive_id is null then coalesce(canceled_at, :now) else canceled_at end,"
    " forgotten_at = :now where id = :item"
)
OF_ITEM = (
    ITEM,
    f"update lanes.work set state = 'canceled', finished_at = :now where item_id = :item and state in {OUTSIDE_BATCHES}",
    "delete from lanes.label where item_id = :item",
    *(
        f"update lanes.{table} set payload = payload - 'reason' - 'detail'"
        " where resource = 'lanes.workload.' || :workload and payload->>'key' = :key"
        for table in ("event_outbox", "webhook_event")
    ),
)


def empty_some(
    connection: Connection,
    before: Mapping[str, datetime],
    *,
    after: int,
    most: int = LOOKED_AT,
    now: datetime,
) -> archives.OldItems:
    """Empty the finished items among the next ones of the stream if their last event is before their workload's moment.

    Items that other transactions have locked are left for a later call.
    """
    given = archives.next_items(connection, before, after=after, most=most)
    if given is None:
        return archives.OldItems(0, None)
    emptied = _empty(connection, given | {"items": None, "now": now})
    return archives.OldItems(emptied, given["last"])


def empty_archive(
    connection: Connection, before: Mapping[str, datetime], *, after: int, now: datetime
) -> tuple[int, ArchiveId | None]:
    """Empty the old items of the next archive with old content, and return their number and the archive, if any.

    An archive with items that another transaction has locked is left for a later call.
    """
    names, moments = list(before), list(before.values())
    given = {"names": names, "moments": moments, "after": after, "now": now}
    row = connection.execute(OLD_ARCHIVES, given).first()
    if row is None:
        return 0, None
    emptied = list[int]()

    def change(items: list[ItemId]) -> None:
        of = given | {"items": items, "after": min(items) - 1, "last": max(items)}
        emptied.append(_empty(connection, of))

    with suppress(StillLocked):
        archives.rewrite(connection, row.id, None, change)
    return sum(emptied), row.id


def _empty(connection: Connection, given: Mapping[str, Any]) -> int:
    items = list(connection.execute(OVER, given).scalars())
    if items:
        erase(connection, items, WHY)
    return len(items)


def erase(connection: Connection, items: Sequence[ItemId], why: str) -> None:
    """Erase items' payloads, answers, errors and explanations in all tables but `item`; `why` replaces the explanations."""
    for statement in ERASE:
        given = {"items": list(items)} | ({"why": why} if ":why" in statement else {})
        connection.execute(text(statement), given)


def forget(connection: Connection, workload: str, key: str, *, now: datetime) -> None:
    """Cancel an item and erase its input, answers and labels, and inputs refused under its key.

    Its key and its costs stay. An answer that is still in flight will only be billed. The provider keeps a batch's results
    for 29 days.

    Raises:
        UnknownItem: the workload has neither an item nor a refused input of that key.
    """
    parameters = {"workload": workload, "key": key, "now": now}
    found = text(
        "select id, archive_id from lanes.item where workload = :workload and key = :key for no key update"
    )
    row = connection.execute(found, parameters).first()
    item = None if row is None else row.id
    refused = sum(
        connection.execute(text(statement), parameters).rowcount for statement in AT_THE_DOOR
    )
    if item is None and not refused:
        raise UnknownItem(f'workload "{workload}" has no item "{key}"')
    if row is not None and row.archive_id is not None:

        def change(items: list[ItemId]) -> None:
            connection.execute(text(ITEM), {**parameters, "item": item})
            erase(connection, items, "forgotten")

        archives.rewrite(connection, row.archive_id, [row.id], change)
    for statement in OF_ITEM:
        connection.execute(text(statement), {**parameters, "item": item})
    if item is not None:
        erase(connection, [item], "forgotten")


MOST = 5_000  # rows examined in one transaction

# Reads are walked by id, so that each remaining read is examined only once.
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
    """The number of deleted rows, and the id to continue from; None if all rows were examined."""

    rows: int
    onwards: int | None


def delete_refused(connection: Connection, *, before: datetime) -> int:
    """Delete some inputs that were refused before a moment; return their number, 0 if none is left."""
    return _delete_some(connection, rejected, rejected.c.rejected_at < before)


def delete_amendments(connection: Connection, *, before: datetime) -> int:
    """Delete some amendments received before a moment, decided or waiting, but no revisions; return their number."""
    return _delete_some(connection, amendment, amendment.c.received_at < before)


def delete_labels(connection: Connection, *, before: datetime) -> int:
    """Delete some labels from before a moment; return their number, 0 if none is left."""
    return _delete_some(connection, label, label.c.labeled_at < before)


def _delete_some(connection: Connection, of: Table, is_old: ColumnElement[bool]) -> int:
    """Delete the first old rows of a table and return their number; locked rows are left for a later call."""
    old = select(of.c.id).where(is_old).order_by(of.c.id).limit(MOST)
    free = old.with_for_update(skip_locked=True)
    return connection.execute(delete(of).where(of.c.id.in_(free))).rowcount


def delete_reads(
    connection: Connection, *, before: datetime, after: int = 0, most: int = MOST
) -> Deleted:
    """Delete the next reads from before a moment, except each item's first read after its answer.

    The figures count the first read of an item: without it, the next read would count again.
    """
    row = connection.execute(READS, {"before": before, "after": after, "most": most}).one()
    return Deleted(row.deleted, row.last)
