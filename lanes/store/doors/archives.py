"""The archive: finished items move out of their tables, up to a hundred per document, and can be read as before.

An item keeps its row, without content: its key, its digest and its timestamps. So every door still recognizes duplicates and
conflicts, regardless of the snapshot of another transaction. The item's other rows are in one document with those of its
neighbours. A reader restores them inside a savepoint, so that every query finds them.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, TextClause, text

from lanes.errors import LanesError
from lanes.ids import ArchiveId, ItemId
from lanes.store.database import LOCK_PATIENCE, limit_waits
from lanes.store.states import FINISHED_BATCH, OPEN_REPLAY, OPEN_ROLLOUT, OPEN_WORK
from lanes.store.tables import SCHEMA, metadata

LOOKED_AT = 500  # items examined in one transaction
CHUNK, CHUNK_BYTES = 100, 1024**2  # items of one document, and the bytes of their content
MOST_BYTES = 16 * 1024**2  # of content in one transaction
# The tables whose rows move, with the column that identifies a row within its item.
MOVED = {
    "revision": "number",
    "route": "id",
    "work": "id",
    "attempt": "id",
    "result": "id",
    "correction": "id",
    "read": "id",
}
OVER_AT = "greatest(i.received_at, i.answered_at, i.settled_at, i.failed_at, i.canceled_at)"
LAST_EVENT = f"min({OVER_AT}) filter (where i.emptied_at is null and i.forgotten_at is null)"

# The time before which all events have been delivered to Prefect and to every webhook.
UNTOLD = text("""
select least((select min(occurred_at) from lanes.event_outbox),
             (select min(e.occurred_at) from lanes.webhook_event e
               where e.position is null or e.position > (select min(w.position) from lanes.webhook w)
                  or exists (select from lanes.webhook_try t where t.position = e.position and t.next_try_at is not null)))
""")
# An open replay reads old items, so its workload is skipped until the replay is promoted or dropped. A new replay waits for
# this lock; a workload whose replay is just beginning is skipped.
WITHOUT_REPLAY = """
select f.name, s.before
  from unnest(cast(:names as text[]), cast(:moments as timestamptz[])) s (name, before)
  join lanes.workload f on f.name = s.name
 where not exists (select from lanes.generation g where g.workload = f.name and g.state in {open_replay})
   {more}
 order by f.name
   for share of f skip locked
"""
NO_ROLLOUT = f"""
   and not exists (select from lanes.rollout o where o.workload = f.name and o.state in {OPEN_ROLLOUT})
"""
WINDOW = text("""
select max(id) as last
  from (select id from lanes.item where id > :after order by id limit :most) looked_at
""")
# Nothing open refers to these items: no work, batch, job, label, waiting amendment or promotion, and no reader whose last
# read result was corrected. Items with a JSON null are left out: the document would return it as SQL null.
FREE = f"""
select i.id, i.workload, date_trunc('month', i.received_at, 'UTC') as month,
       octet_length(i.payload::text)
       + coalesce((select sum(octet_length(v.payload::text)) from lanes.revision v where v.item_id = i.id), 0)
       + coalesce((select sum(octet_length(r.output::text)) from lanes.result r where r.item_id = i.id), 0) as bytes
  from lanes.item i
  join unnest(cast(:names as text[]), cast(:moments as timestamptz[])) s (name, before)
    on s.name = i.workload and {OVER_AT} < s.before
 where i.id > :after and i.id <= :last and i.archive_id is null and i.position > 0 and i.payload <> 'null'
   and (i.settled_at is not null or i.failed_at is not null or i.canceled_at is not null)
   and not exists (
     select from lanes.work w left join lanes.batch b on b.id = w.batch_id
      where w.item_id = i.id
        and (w.state in {OPEN_WORK} or greatest(w.waits_since, w.finished_at) >= s.before or b.state not in {FINISHED_BATCH}))
   and not exists (
     select from lanes.attempt a left join lanes.batch b on b.id = a.batch_id
      where a.item_id = i.id and (a.ended_at >= s.before or b.state not in {FINISHED_BATCH}))
   and not exists (select from lanes.revision v where v.item_id = i.id and (v.received_at >= s.before or v.payload = 'null'))
   and not exists (select from lanes.result r where r.item_id = i.id and (r.created_at >= s.before or r.output = 'null'))
   and not exists (select from lanes.job j where j.id = i.job_id and j.done_at is null)
   and not exists (select from lanes.label l where l.item_id = i.id)
   and not exists (select from lanes.promoted p where p.item_id = i.id)
   and not exists (select from lanes.amendment m where m.workload = i.workload and m.key = i.key and m.outcome is null)
   and not exists (
     select from lanes.read r
      where r.item_id = i.id and r.result_id <> i.result_id
        and exists (select from lanes.correction c where c.item_id = i.id and c.provisional_id = r.result_id)
        and not exists (select from lanes.read n
                         where n.item_id = i.id and n.reader = r.reader and (n.read_at, n.id) > (r.read_at, r.id)))
 order by i.id
   for update of i skip locked
"""
ROWS = ", ".join(
    f"'{name}', (select coalesce(jsonb_agg(to_jsonb(r) order by r.{by}), '[]') from lanes.{name} r where r.item_id = i.id)"
    for name, by in MOVED.items()
)
DOCUMENT = f"json_object_agg(i.id, jsonb_build_object('item', jsonb_build_array(to_jsonb(i)), {ROWS}) order by i.id)"
KEEP = text(f"""
insert into lanes.archive (workload, items, first_at, last_at, said_since, archived_at, document)
select :workload, count(*), min(i.received_at), max(greatest({OVER_AT}, f.at)), {LAST_EVENT}, :now, {DOCUMENT}
  from lanes.item i
 cross join lateral (
   select greatest((select max(decided_at) from lanes.route where item_id = i.id),
                   (select max(ended_at) from lanes.attempt where item_id = i.id),
                   (select max(created_at) from lanes.result where item_id = i.id),
                   (select max(corrected_at) from lanes.correction where item_id = i.id)) as at) f
 where i.id = any (:items)
returning id
""")
READ_BACK = "lanes.archive a cross join json_each(a.document) e"


def _select_differing(name: str, of_item: str, by: str) -> str:
    """Return a query for a table's name and the number of its rows that differ from the document; no row if none does."""
    return f"""
select '{name}' as name, count(*) as number
  from (select r from lanes.{name} r where r.{of_item} = any (:items)) here (r)
  full join (select p from kept
              cross join lateral jsonb_populate_recordset(null::lanes.{name}, kept.rows -> '{name}') p) there (p)
    on (there.p).{of_item} = (here.r).{of_item} and (there.p).{by} = (here.r).{by}
 where here.r is distinct from there.p
having count(*) > 0
"""


DIFFERS = text(
    f"with kept as materialized (select e.value::jsonb as rows from {READ_BACK} where a.id = :archive)"
    + " union all ".join(
        [
            _select_differing("item", "id", "id"),
            *(_select_differing(name, "item_id", by) for name, by in MOVED.items()),
        ]
    )
)
LEFT = text("""
update lanes.item
   set payload = '{}', failure = null, trace = null, emptied_at = coalesce(emptied_at, :now), archive_id = :archive
 where id = any (:items)
""")
# A column that was added after the archiving gets its default.
COLUMNS = text(f"""
with kept as (
  select r from {READ_BACK} cross join lateral json_array_elements(e.value -> :name) r
   where a.id = :archive and e.key = any (:items))
select k.name from kept cross join lateral json_object_keys(kept.r) k (name)
 group by k.name having count(*) = (select count(*) from kept)
""")
REPLACE = text("""
update lanes.archive
   set document = (document::jsonb || cast(:rows as jsonb))::json,
       said_since = case when :is_whole then cast(:since as timestamptz) else said_since end
 where id = :archive
""")
FOLLOWING = text("""
select min(id) from lanes.archive
 where workload = :workload and id > :after
   and (cast(:since as timestamptz) is null or last_at >= :since)
   and (cast(:until as timestamptz) is null or first_at < :until)
""")


class ArchiveDiffers(LanesError):
    """The archive document differs from the rows in the tables, so nothing was moved."""


@dataclass(frozen=True)
class OldItems:
    """The number of items that were archived or emptied, and the item to continue after; None at the end of the stream."""

    items: int
    onwards: ItemId | None


def untold_since(connection: Connection) -> datetime | None:
    """Return the time of the oldest event that is not yet delivered to Prefect or a webhook; None if all are."""
    return connection.execute(UNTOLD).scalar_one()


def next_items(
    connection: Connection, before: Mapping[str, datetime], *, after: int, most: int, more: str = ""
) -> dict[str, Any] | None:
    """Lock the workloads without an open replay; return them and the range of the next items as query parameters.

    `more` is a further condition on workload `f`. Returns None at the end of the stream or if no workload is free.
    """
    given = {"names": list(before), "moments": list(before.values())}
    free = connection.execute(
        text(WITHOUT_REPLAY.format(more=more, open_replay=OPEN_REPLAY)), given
    ).all()
    last = connection.execute(WINDOW, {"after": after, "most": most}).scalar_one()
    if last is None or not free:
        return None
    names, moments = [row.name for row in free], [row.before for row in free]
    return {"names": names, "moments": moments, "after": after, "last": last}


def archive_some(
    connection: Connection,
    before: Mapping[str, datetime],
    *,
    after: int,
    most: int = LOOKED_AT,
    now: datetime,
) -> OldItems:
    """Archive those of the next items that ended before their workload's moment and to which nothing open refers.

    Items that other transactions have locked are left for a later call.

    Raises:
        ArchiveDiffers: a document differs from the rows in the tables; the caller must roll back.
    """
    given = next_items(connection, before, after=after, most=most, more=NO_ROLLOUT)
    if given is None:
        return OldItems(0, None)
    last = given["last"]
    chunks, items, size = defaultdict[Any, list[_Chunk]](list), 0, 0
    for row in connection.execute(text(FREE), given):
        if row.bytes > MOST_BYTES:
            continue
        if size + row.bytes > MOST_BYTES:
            last = row.id - 1
            break
        group = chunks[row.workload, row.month]
        if not group or not group[-1].has_room(row.bytes):
            group.append(_Chunk([], 0))
        group[-1].items.append(row.id)
        group[-1].bytes += row.bytes
        items, size = items + 1, size + row.bytes
    for (workload, _), its in chunks.items():
        for chunk in its:
            _move(connection, workload, chunk.items, now)
    return OldItems(items, last)


@dataclass
class _Chunk:
    """The items of one document, and the size of their content in bytes."""

    items: list[ItemId]
    bytes: int

    def has_room(self, more: int) -> bool:
        return len(self.items) < CHUNK and self.bytes + more <= CHUNK_BYTES


def _move(connection: Connection, workload: str, items: Sequence[ItemId], now: datetime) -> None:
    """Write a document, compare it with the rows one by one, and delete the rows."""
    parameters = {"items": list(items), "now": now}
    parameters["archive"] = connection.execute(
        KEEP, parameters | {"workload": workload}
    ).scalar_one()
    for name, number in connection.execute(DIFFERS, parameters).all():
        raise ArchiveDiffers(
            f"{number} rows of lanes.{name} are not in the archive of {workload} as they are: nothing was moved; "
            "report this, and set archive_after_days of the workload to 0 meanwhile"
        )
    for name in reversed(MOVED):
        connection.execute(
            text(f"delete from lanes.{name} where item_id = any (:items)"), parameters
        )
    connection.execute(LEFT, parameters)


def find_place(connection: Connection, workload: str, key: str) -> tuple[ItemId, ArchiveId] | None:
    """Return the item of that key and the archive that contains it; None if the item is not archived or does not exist."""
    its = "select id, archive_id from lanes.item where workload = :workload and key = :key and archive_id is not null"
    row = connection.execute(text(its), {"workload": workload, "key": key}).first()
    return None if row is None else (row.id, row.archive_id)


@contextmanager
def restore_archived(connection: Connection, workload: str, key: str) -> Iterator[datetime | None]:
    """Let every query in the block find the item of that key, even if archived; yield the time of archiving, or None."""
    place = find_place(connection, workload, key)
    if place is None:
        yield None
        return
    item, archive = place
    since = "select archived_at from lanes.archive where id = :archive"
    archived_at = connection.execute(text(since), {"archive": archive}).scalar_one()
    with brought_back(connection, archive, [item]):
        yield archived_at


@contextmanager
def brought_back(
    connection: Connection, archive: ArchiveId, items: Sequence[ItemId] | None = None
) -> Iterator[list[ItemId]]:
    """Restore archived items (None: the whole archive) for the block, yield their ids, and roll back afterwards.

    The rollback also undoes everything that the block writes.

    Raises:
        StillLocked: another transaction has held one of the items for longer than a second.
    """
    undone = connection.begin_nested()
    try:
        with limit_waits(connection, LOCK_PATIENCE):
            there = _bring_back(connection, archive, items)
        yield there
    finally:
        undone.rollback()


def _bring_back(
    connection: Connection, archive: ArchiveId, items: Sequence[ItemId] | None
) -> list[ItemId]:
    if items is None:
        keys = text(
            "select key::bigint from lanes.archive, json_object_keys(document) key where id = :archive order by 1"
        )
        items = connection.execute(keys, {"archive": archive}).scalars().all()
    parameters = {"archive": archive, "items": [str(each) for each in items]}
    for name in ("item", *MOVED):
        kept = set(connection.execute(COLUMNS, parameters | {"name": name}).scalars())
        stored = (each for each in metadata.tables[f"{SCHEMA}.{name}"].columns if each.name in kept)
        columns = [each.name for each in stored if each.computed is None]
        if columns:
            connection.execute(_back(name, columns), parameters)
    return list(items)


def _back(name: str, columns: Sequence[str]) -> TextClause:
    rows = f"{READ_BACK} cross join lateral jsonb_populate_recordset(null::lanes.{name}, (e.value -> '{name}')::jsonb) p"
    condition = "a.id = :archive and e.key = any (:items)"
    if name == "item":
        values = ", ".join(f"{each} = p.{each}" for each in columns if each != "id")
        return text(
            f"update lanes.item i set {values} from {rows} where i.id = p.id and {condition}"
        )
    selected = ", ".join(f"p.{each}" for each in columns)
    into = f"insert into lanes.{name} ({', '.join(columns)}) overriding system value"
    # a read that was recorded during the archiving is still in its table
    return text(f"{into} select {selected} from {rows} where {condition} on conflict do nothing")


def rewrite(
    connection: Connection,
    archive: ArchiveId,
    items: Sequence[ItemId] | None,
    change: Callable[[list[ItemId]], object],
) -> None:
    """Restore archived items (None: the whole archive), call `change` with their ids, and archive the changed rows."""
    locked = "select from lanes.archive where id = :archive for no key update"
    connection.execute(text(locked), {"archive": archive})
    with brought_back(connection, archive, items) as item_ids:
        change(item_ids)
        query = f"select {DOCUMENT}::text as rows, {LAST_EVENT} as since from lanes.item i where i.id = any (:items)"
        row = connection.execute(text(query), {"items": item_ids}).one()
    given = {"archive": archive, "rows": row.rows, "since": row.since, "is_whole": items is None}
    connection.execute(REPLACE, given)


def find_next(
    connection: Connection,
    workload: str,
    *,
    after: int,
    since: datetime | None,
    until: datetime | None,
) -> ArchiveId | None:
    """Return the next archive of a workload that may contain items received in a period."""
    of = {"workload": workload, "after": after, "since": since, "until": until}
    return connection.execute(FOLLOWING, of).scalar_one()
