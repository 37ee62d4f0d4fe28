"""The results of second passes, for versions that sample them; each turn of a duty reads the new ones."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from lanes.ids import VersionId
from lanes.promises.second_pass import PassRecords
from lanes.store.statements import document_of
from lanes.store.workload import workloads

MOST = 20_000  # results of a turn
# Results are read in the order of their numbers, once the transactions that took smaller ones have surely ended.
LAG = timedelta(seconds=30)
NAME = "second passes"

# Versions out of force may still have passes under way.
KNOWN = """
select v.id, s.classes
  from lanes.version v left join lanes.second_pass s on s.version_id = v.id
 where v.mode = 'lambda'
   and (s.version_id is not null
        or exists (select from lanes.workload f where v.id in (f.version_id, f.candidate_id)))
"""
PLACES = """
with began as (select coalesce((select position from lanes.watermark where name = :name),
                               (select max(id) from lanes.result), 0) as after)
select after, coalesce((select max(n.id) from (select r.id from lanes.result r where r.id > after and r.created_at < :before
                                                order by r.id limit :most) n), after) as until
  from began
"""
READ_TO = """
insert into lanes.watermark (name, seen_until, position) values (:name, :now, :until)
on conflict (name) do update set seen_until = excluded.seen_until, position = excluded.position
"""
# Provisional answers and their second passes, each with the version that gave the provisional answer.
NEW = """
select i.key, coalesce(p.version_id, r.version_id) as version_id, coalesce(p.output, r.output) as output,
       i.settled_reason is not null as saved, p.id is not null as is_pass, w.waits_since = p.created_at as owed_at_once,
       exists (select from lanes.correction c where c.item_id = r.item_id and c.authoritative_id = r.id) as corrected,
       (select coalesce(sum(a.cost_usd), 0) from lanes.attempt a where a.item_id = r.item_id and a.work_id = r.work_id) as usd
  from lanes.result r
  join lanes.item i on i.id = r.item_id
  join lanes.work w on w.id = r.work_id
  left join lanes.result p on p.item_id = r.item_id and p.generation = 0 and p.revision = r.revision
                          and p.standing = 'provisional' and r.standing = 'authoritative'
 where r.id > :after and r.id <= :until and r.generation = 0 and coalesce(p.version_id, r.version_id) = any(:versions)
   and (r.standing = 'provisional' or p.id is not null)
 order by r.id
"""
KEEP = """
insert into lanes.second_pass (version_id, sampled, share, classes, updated_at)
select version_id, sampled, share, classes, :now from json_populate_recordset(null::lanes.second_pass, cast(:rows as json))
on conflict (version_id) do update
   set sampled = excluded.sampled, share = excluded.share, classes = excluded.classes, updated_at = excluded.updated_at
"""


def records(connection: Connection) -> dict[VersionId, PassRecords]:
    """Return what is known of the second passes of each version that may leave some out."""
    stored = {row.id: row.classes for row in connection.execute(text(KNOWN))}
    return {
        id_: PassRecords(of, stored[id_])
        for id_, of in workloads.versions(connection, stored).items()
        if of.spec.second_pass.is_stated
    }


def fold(connection: Connection, *, now: datetime) -> None:
    """Take in what came since the last turn, and decide again of which classes only a sample is checked."""
    known = records(connection)
    if not known:
        return
    at = {"name": NAME, "most": MOST, "before": now - LAG, "now": now, "versions": list(known)}
    at |= connection.execute(text(PLACES), at).mappings().one()
    connection.execute(text(READ_TO), at)
    told = connection.execute(text(NEW), at).all()
    for row in told:
        of, output, agrees = known[row.version_id], row.output or {}, not row.corrected
        if row.is_pass:
            at_once = row.owed_at_once
            of.compare(row.key, output, agrees=agrees, owed_at_once=at_once, usd=row.usd)
        else:
            of.answer(row.key, output, saved=row.saved)
    rows: list[dict[str, Any]] = []
    for id_ in {row.version_id for row in told}:
        of = known[id_]
        sampled = sorted(of.look(now).sampled)
        learned = {"share": of.checked_share, "classes": of.stored()}
        rows.append({"version_id": id_, "sampled": sampled, **learned})
    if rows:
        connection.execute(text(KEEP), {"rows": document_of(rows), "now": now})
