"""Answers of some items, with what each took."""

from collections.abc import Sequence

from sqlalchemy import Connection, text

from lanes.settling.examples import MOST, Example
from lanes.store.workload.workloads import versions
from lanes.words import Lane, Standing
from lanes.workload.version import Version

# The first answers of each kind (first lane, corrected or not) among the items of those keys.
OF_EACH_KIND = text("""
with answered as (
  select i.id, i.key, i.payload, i.received_at, r.output, r.standing, r.lane, r.created_at, r.version_id,
         coalesce(f.lane, r.lane) as first_lane, coalesce(f.created_at, r.created_at) as first_at,
         case when c.item_id is not null then f.output end as before, coalesce(c.changed_fields, '{}') as changed
    from lanes.item i
    join lanes.result r on r.id = i.result_id
    left join lateral (select lane, created_at, output from lanes.result
                        where item_id = i.id and generation = r.generation and revision = r.revision
                        order by id limit 1) f on true
    left join lanes.correction c on c.item_id = i.id and c.authoritative_id = r.id
   where i.workload = :workload and i.key = any(:keys) and i.forgotten_at is null and i.emptied_at is null),
ranked as (select *, row_number() over (partition by first_lane, cardinality(changed) > 0 order by id) as place from answered)
select k.*,
       (select coalesce(sum(cost_usd), 0) from lanes.attempt where item_id = k.id) as cost_usd
  from ranked k
 where k.place <= :most
 order by k.id
""")


def of_each_kind(
    connection: Connection, workload: str, keys: Sequence[str], *, most: int = MOST
) -> list[Example]:
    """At most so many answers of each kind to choose from, oldest first; what was forgotten is none of them."""
    found = connection.execute(
        OF_EACH_KIND, {"workload": workload, "keys": list(keys), "most": most}
    ).all()
    known = versions(connection, {row.version_id for row in found})
    return [
        Example(
            workload,
            row.key,
            row.payload,
            row.output,
            _fields(known.get(row.version_id)),
            Standing(row.standing),
            Lane(row.first_lane),
            (row.first_at - row.received_at).total_seconds(),
            Lane(row.lane),
            (row.created_at - row.received_at).total_seconds(),
            {name: row.before.get(name) for name in row.changed} if row.before else {},
            row.cost_usd,
        )
        for row in found
    ]


def _fields(of: Version | None) -> Sequence[str]:
    """The fields that every output has, in the order of its schema; none of a version that cannot be read any more."""
    return () if of is None else of.spec.output_schema.get("required", ())
