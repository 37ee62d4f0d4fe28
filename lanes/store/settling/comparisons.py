"""Comparisons of answers: packed with alone, and provisional with authoritative.

Checks of packing: shadows answer a sample of packed items alone, and the answers are compared. A shadow is work on the lane
and version that answered the item, ranked behind all owed work; it never moves the item. A rollout's shadows
(`lanes.store.rollouts.shadows`) use the other lane, and their answers are stored for the rollout.

Second passes: a version that skips some of its second passes keeps records of the passes that were made. A periodic duty adds
the results since its last turn.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from lanes.ids import VersionId, WorkId
from lanes.money.pack_size import is_checked, is_checked_twice
from lanes.packing import AFTER_LIVE_WORK
from lanes.promises.second_pass import PassRecords
from lanes.settling.settle import compare
from lanes.store.statements import document_of
from lanes.store.workload import workloads
from lanes.store.workload.workloads import versions


@dataclass(frozen=True, slots=True)
class PackedAnswer:
    """Work that was answered in a call with `pack` items."""

    work_id: WorkId
    workload: str
    version_id: VersionId
    key: str
    pack: int


@dataclass(frozen=True, slots=True)
class LoneAnswer:
    """A shadow's answer."""

    work_id: WorkId
    output: Mapping[str, Any]
    compare_fields: tuple[str, ...]


# Inserts a shadow of each work `w`.
SHADOWS = """
insert into lanes.work (item_id, workload, version_id, lane, purpose, revision, state, ready_at, rank_at, waits_since)
select w.item_id, w.workload, w.version_id, w.lane, 'shadow', w.revision, 'ready', :now, :rank_at, :now
"""

# `on conflict do nothing`: a repeated save adds no second check.
OWE_CHECKS = f"""
with given as (
  select * from json_to_recordset(cast(:rows as json)) g (work_id bigint, pack int, twice boolean)),
checks as (
  insert into lanes.pack_check (item_id, work_id, version_id, lane, pack, twice, asked_at)
  select w.item_id, w.id, w.version_id, w.lane, g.pack, g.twice, :now from given g join lanes.work w on w.id = g.work_id
   order by w.id
  on conflict do nothing returning work_id)
{SHADOWS}
  from checks c join lanes.work w on w.id = c.work_id order by w.id
on conflict do nothing
"""

# The checks of each shadow's item, lane, version and revision. The packed answer is null if the item's answers were deleted.
OF_SHADOWS = """
select s.id as shadow_id, c.id, c.work_id, c.twice, c.alone, c.agrees, c.repeats, r.output as packed
  from lanes.work s
  join lanes.pack_check c on c.item_id = s.item_id
  join lanes.work w on w.id = c.work_id and w.lane = s.lane and w.revision = s.revision and w.version_id = s.version_id
  left join lanes.result r on r.item_id = s.item_id and r.work_id = c.work_id
 where s.id = any (:shadows)
 order by c.id
"""

COMPARED = """
update lanes.pack_check c
   set agrees = coalesce(c.agrees, g.agrees), compared_at = coalesce(c.compared_at, :now), alone = g.alone,
       repeats = g.repeats, repeated_at = case when g.repeats is not null then :now end
  from json_to_recordset(cast(:rows as json)) g (id bigint, agrees boolean, repeats boolean, alone jsonb)
 where c.id = g.id
"""

KEPT = """
update lanes.shadow_pair p set output = g.output, answered_at = :now
  from json_to_recordset(cast(:rows as json)) g (work_id bigint, output jsonb)
 where p.work_id = g.work_id
"""

ASK_AGAIN = f"""
{SHADOWS}
  from lanes.work w where w.id = any (:again) order by w.id
on conflict do nothing
"""


def owe_checks(connection: Connection, answered: Sequence[PackedAnswer], *, now: datetime) -> None:
    """Insert checks and shadows for a sample of the answers: each version's `pack_check_share`."""
    known = versions(connection, {each.version_id for each in answered})
    checked: list[dict[str, Any]] = []
    for each in answered:
        share = known[each.version_id].spec.pack_check_share if each.version_id in known else 0.0
        if is_checked(each.workload, each.key, share):
            twice = is_checked_twice(each.workload, each.key, share)
            checked.append({"work_id": each.work_id, "pack": each.pack, "twice": twice})
    if checked:
        given = {"rows": document_of(checked), "now": now, "rank_at": now + AFTER_LIVE_WORK}
        connection.execute(text(OWE_CHECKS), given)


def weigh_lone_answers(
    connection: Connection, answers: Collection[LoneAnswer], *, now: datetime
) -> None:
    """Compare shadows' answers with the packed answers, or with earlier shadows' answers; owe some items a second shadow.

    An answer that was deleted by age is compared with nothing.
    """
    answers_by_work = {each.work_id: each for each in answers}
    rows: list[dict[str, Any]] = []
    again: list[WorkId] = []
    for row in connection.execute(text(OF_SHADOWS), {"shadows": list(answers_by_work)}).all():
        shadow = answers_by_work[row.shadow_id]
        output = dict(shadow.output)
        if row.agrees is None and row.packed is not None:
            agrees = compare(row.packed, output, shadow.compare_fields) is None
            alone = output if row.twice else None
            rows.append({"id": row.id, "agrees": agrees, "repeats": None, "alone": alone})
            again += [row.work_id] if row.twice else []
        elif row.repeats is None and row.alone is not None:
            repeats = compare(row.alone, output, shadow.compare_fields) is None
            rows.append({"id": row.id, "agrees": None, "repeats": repeats, "alone": None})
    if rows:
        connection.execute(text(COMPARED), {"rows": document_of(rows), "now": now})
    if again:
        given = {"again": again, "now": now, "rank_at": now + AFTER_LIVE_WORK}
        connection.execute(text(ASK_AGAIN), given)


def keep_for_rollouts(
    connection: Connection, answers: Collection[LoneAnswer], *, now: datetime
) -> None:
    """Store the answers of the shadows that belong to a rollout."""
    rows = [{"work_id": each.work_id, "output": dict(each.output)} for each in answers]
    connection.execute(text(KEPT), {"rows": document_of(rows), "now": now})


MOST = 20_000  # results that one turn reads
# Results are read in order of id, but only after LAG, when all transactions with smaller ids have certainly ended.
LAG = timedelta(seconds=30)
WATERMARK = "second passes"

# Versions that are no longer in force are included: they may still have passes in progress.
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


def pass_records(connection: Connection) -> dict[VersionId, PassRecords]:
    """Return the second-pass records of each version that may skip second passes."""
    stored = {row.id: row.classes for row in connection.execute(text(KNOWN))}
    return {
        id_: PassRecords(of, stored[id_])
        for id_, of in workloads.versions(connection, stored).items()
        if of.spec.second_pass.is_stated
    }


def fold_passes(connection: Connection, *, now: datetime) -> None:
    """Add the results since the last turn to the records, and decide again which classes get only sampled second passes."""
    records = pass_records(connection)
    if not records:
        return
    parameters = {
        "name": WATERMARK,
        "most": MOST,
        "before": now - LAG,
        "now": now,
        "versions": list(records),
    }
    parameters |= connection.execute(text(PLACES), parameters).mappings().one()
    connection.execute(text(READ_TO), parameters)
    new_rows = connection.execute(text(NEW), parameters).all()
    for row in new_rows:
        record, output, agrees = records[row.version_id], row.output or {}, not row.corrected
        if row.is_pass:
            at_once = row.owed_at_once
            record.compare(row.key, output, agrees=agrees, owed_at_once=at_once, usd=row.usd)
        else:
            record.answer(row.key, output, saved=row.saved)
    rows: list[dict[str, Any]] = []
    for id_ in {row.version_id for row in new_rows}:
        record = records[id_]
        sampled = sorted(record.look(now).sampled)
        learned = {"share": record.checked_share, "classes": record.dump()}
        rows.append({"version_id": id_, "sampled": sampled, **learned})
    if rows:
        connection.execute(text(KEEP), {"rows": document_of(rows), "now": now})
