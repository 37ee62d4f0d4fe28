"""The input of the quality watch: new attempts and labels, read in portions at a cost that does not depend on the traffic.

Nothing is written while items are answered. If there are more than `MOST` new rows, every n-th row is read, so that the end
of a long batch is read as well as its beginning. Rows that a transaction writes at the same time may be missed: the input is
a sample.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from lanes.ids import ItemId
from lanes.promises.quality import (
    GOOD,
    LEARNED_FROM,
    AnswerWatch,
    QualityMeasure,
    Value,
    find_class,
    has_told,
    iter_values,
    list_fields,
)
from lanes.routing.split import is_sampled
from lanes.store.statements import document_of
from lanes.store.states import ANSWERING
from lanes.store.workload.workloads import read_cached_versions
from lanes.words import Lane
from lanes.workload.version import Version

MOST = 4_000  # rows per turn
KEPT_FOR = timedelta(days=90)  # for figures of versions that no longer give answers

PLACES = """
select coalesce((select position from lanes.watermark where name = :name), 0) as after,
       coalesce((select max(id) from lanes.{table}), 0) as until
"""
READ_TO = """
insert into lanes.watermark (name, seen_until, position) values (:name, :now, :until)
on conflict (name) do update set seen_until = excluded.seen_until, position = excluded.position
"""
# An authoritative answer shows whether its revision's provisional answer was corrected, a shadow whether the pack agreed.
ATTEMPTS = f"""
select a.item_id, a.version_id, a.lane, a.outcome, r.output, c.corrected, c.provisional, c.key, k.agrees,
       concat_ws(', ', s.model, 'tier ' || s.service_tier, 'geo ' || s.inference_geo, 'speed ' || s.speed) as served
  from generate_series(cast(:after as bigint) + 1, cast(:until as bigint), cast(:every as bigint)) g (id)
  join lanes.attempt a on a.id = g.id
  left join lanes.result r on r.item_id = a.item_id and r.work_id = a.work_id and a.shown
  left join lateral (
    select exists (select from lanes.correction c where c.item_id = r.item_id and c.authoritative_id = r.id) as corrected,
           p.output as provisional, (select i.key from lanes.item i where i.id = p.item_id) as key
      from lanes.result p
     where p.item_id = r.item_id and p.generation = r.generation and p.revision = r.revision
       and p.standing = 'provisional' and r.standing = 'authoritative') c on true
  left join lateral (
    select k.agrees from lanes.pack_check k
     where k.item_id = a.item_id and k.version_id = a.version_id and k.lane = a.lane and k.repeats is null
       and a.purpose = 'shadow' and a.outcome = 'valid' order by k.id desc limit 1) k on true
  left join lanes.response s on s.message_id = a.message_id and k.agrees is null
 where a.outcome in ('valid', 'invalid', 'refused', 'truncated')
   and (a.purpose in {ANSWERING} or k.agrees is not null)
"""
LABELS = """
select r.item_id, r.version_id, r.lane, f.field, r.output, coalesce(r.output -> f.field = f.value, false) as is_right
  from generate_series(cast(:after as bigint) + 1, cast(:until as bigint), cast(:every as bigint)) g (id)
  join lanes.label l on l.id = g.id and l.basis <> 'review'
 cross join lateral (
   select distinct on (r.lane, r.version_id) r.item_id, r.lane, r.version_id, r.output
     from lanes.result r where r.item_id = l.item_id and r.generation = 0 and r.output is not null
    order by r.lane, r.version_id, r.id desc) r
 cross join lateral jsonb_each(l.expected) f (field, value)
"""
KNOWN = """
select version_id, lane, measure, field, watch, has_drift and watch -> 'drift' ->> 'ended_at' is null as is_drifting
  from lanes.quality where version_id = any(:versions)
"""
KEEP = """
insert into lanes.quality
select workload, version_id, lane, measure, field, watch, has_drift, :now
  from json_populate_recordset(null::lanes.quality, cast(:rows as json))
on conflict (version_id, lane, measure, field) do update
  set watch = excluded.watch, has_drift = excluded.has_drift, updated_at = excluded.updated_at
"""
FORGET = "delete from lanes.quality where updated_at < :before"
Key = tuple[Any, ...]  # id of the version, lane, measure, field
Seen = defaultdict[Key, defaultdict[Value, list[ItemId]]]


def fold(connection: Connection, *, now: datetime) -> None:
    """Add the attempts and labels since the last turn to the watched figures, and test the figures that are due."""
    rows = _new(connection, ATTEMPTS, "attempt", now)
    labels = _new(connection, LABELS, "label", now)
    found = read_cached_versions(
        connection, {each.version_id for each in (*rows, *labels)}
    ).versions
    versions = {id_: of for id_, of in found.items() if of.spec.promises.quality_reference_answers}
    values_by_key: Seen = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row.version_id in versions:
            _sort(row, versions[row.version_id], values_by_key)
    for row in labels:
        if row.version_id in versions:
            closed, name = find_class(row.output, versions[row.version_id].spec.output_schema)
            for field in list_fields(row.field, name if closed == row.field else ""):
                of = (row.version_id, row.lane, QualityMeasure.ACCURACY, field)
                values_by_key[of]["right" if row.is_right else "wrong"].append(row.item_id)
    stored = connection.execute(text(KNOWN), {"versions": list(versions)}).all()
    watches: dict[Key, Any] = {tuple(row[:4]): row.watch for row in stored}
    drifting = defaultdict[Key, set[str]](set)
    for row in stored:
        if row.is_drifting:
            drifting[tuple(row[:3])].add(row.field)
    tests = Counter(versions[key[0]].workload for key in watches | values_by_key)
    quality_rows: list[dict[str, Any]] = []
    # The figure of a whole field comes before those of its classes.
    for key, values in sorted(values_by_key.items()):
        if has_told(drifting[key[:3]], key[3]):
            continue
        version = versions[key[0]]
        learn, measure = version.spec.promises.quality_reference_answers, QualityMeasure(key[2])
        watch = AnswerWatch.load(watches.get(key, {})).add(
            values,
            learn=min(learn, LEARNED_FROM.get(measure, learn)),
            good=GOOD.get(measure),
            tests=tests[version.workload],
            now=now,
        )
        if watch.is_drifting:
            drifting[key[:3]].add(key[3])
        of_watch = {"watch": watch.model_dump(mode="json"), "has_drift": watch.drift is not None}
        named = zip(("version_id", "lane", "measure", "field"), key, strict=True)
        quality_rows.append({"workload": version.workload, **dict(named), **of_watch})
    if quality_rows:
        connection.execute(text(KEEP), {"rows": document_of(quality_rows), "now": now})
        connection.execute(text(FORGET), {"before": now - KEPT_FOR})


def _new(connection: Connection, query: str, table: str, now: datetime) -> Sequence[Any]:
    """Return the result of `query` for the new rows of a table, or for a sample of them, and advance the watermark."""
    name = f"quality of {table}s"
    at = dict(connection.execute(text(PLACES.format(table=table)), {"name": name}).mappings().one())
    if at["until"] <= at["after"]:
        return ()
    connection.execute(text(READ_TO), {"name": name, "now": now, "until": at["until"]})
    at["every"] = -(-(at["until"] - at["after"]) // MOST)
    return connection.execute(text(query), at).all()


def _sort(row: Any, version: Version, seen: Seen) -> None:
    """Add the values of an attempt to the figures for which it counts."""
    schema = version.spec.output_schema
    entries: list[tuple[str, QualityMeasure, str, Value]]
    entries = [(row.lane, QualityMeasure.OUTCOME, "", row.outcome)]
    if row.agrees is not None:
        entries = [(row.lane, QualityMeasure.PACKED, "", "agreed" if row.agrees else "differed")]
    if row.served:
        entries.append((row.lane, QualityMeasure.SERVED, "", row.served))
    of = version.spec.second_pass
    # items that a check or a class has selected are not a fair sample of the version's answers
    is_fair = not of.is_stated or is_sampled(version.workload, row.key or "", of.sample)
    if row.corrected is not None and is_fair:
        word = "corrected" if row.corrected else "agreed"
        fields = list_fields("", find_class(row.provisional or {}, schema)[1])
        entries += [(Lane.REALTIME, QualityMeasure.CORRECTION, field, word) for field in fields]
    if row.output is not None:
        values = iter_values(row.output, schema)
        entries += [(row.lane, QualityMeasure.FIELD, field, value) for field, value in values]
    for lane, measure, field, value in entries:
        seen[version.id, lane, measure, field][value].append(row.item_id)
