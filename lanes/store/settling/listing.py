"""The items of a workload with their current answers, in the order in which they were received.

They come in pages, each a short transaction that looks at a bounded number of items: no cursor stays open in between, so a
slow reader holds back neither vacuum nor other transactions.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select, text

from lanes.errors import UnknownWorkload
from lanes.ids import ItemId
from lanes.settling.listing import (
    MOST,
    AnswerExample,
    Listed,
    ListingPage,
    ListingQuery,
    choose,
)
from lanes.store.asking import read_as
from lanes.store.tables import item, version, workload
from lanes.store.workload import workloads
from lanes.store.workload.workloads import versions
from lanes.words import ItemState, Lane, Standing
from lanes.workload.version import Version

LOOKED_AT = 2_000  # items of all workloads that one page looks at
FETCHED = 100  # rows of one fetch
MOST_BYTES = 4 * 1024**2  # outputs of one page
LISTED = """
select s.item_id, s.key, s.state, coalesce(r.lane, s.lane) as lane, r.standing, r.generation, v.number as version,
       r.revision, r.output, s.received_at, s.answered_at, s.settled_at, stood.changed_at, s.attempts, s.cost_usd, s.failure,
       s.consumer, s.entity,
       (select l.expected from lanes.label l where l.item_id = i.id order by l.labeled_at desc, l.id desc limit 1) as label,
       coalesce(octet_length(r.output::text), 0) as bytes
  from lanes.item_status s
  join lanes.item i on i.id = s.item_id
  left join lanes.result r on r.id = i.result_id
  left join lanes.version v on v.id = r.version_id
 cross join lateral (
   select greatest(i.received_at, r.created_at, i.settled_at, i.failed_at, i.canceled_at,
                   (select max(greatest(g.promoted_at, g.demoted_at))
                      from lanes.result o join lanes.generation g on g.workload = i.workload and g.number = o.generation
                     where o.item_id = i.id and o.generation > 0)) as changed_at) stood
 where s.workload = :workload
   and (cast(:states as text[]) is null or s.state = any (:states))
   and (cast(:since as timestamptz) is null or stood.changed_at >= :since)
   and (cast(:job_id as bigint) is null or i.job_id = :job_id)
"""
# Both sides of the join are bounded, so that neither is read beyond.
BETWEEN = f"{LISTED} and s.item_id between :first and :last and i.id between :first and :last order by s.item_id"
BACKWARDS = f"{BETWEEN} desc"
AMONG = f"{LISTED} and s.item_id = any (:ids) and i.id = any (:ids) order by s.item_id"


def page(connection: Connection, wanted: ListingQuery, *, onwards: int = 0) -> ListingPage:
    """Return the first wanted items received from there on; a page may be empty although more follow."""
    later = select(item.c.id).where(item.c.id >= onwards).order_by(item.c.id).limit(LOOKED_AT)
    if wanted.job_id is not None:
        later = later.where(item.c.job_id == wanted.job_id)
    last = connection.execute(select(func.max(later.subquery().c.id))).scalar_one()
    if last is None:
        return ListingPage()
    found, cut_at = _some(connection, BETWEEN, wanted, first=onwards, last=last)
    return ListingPage(found, (cut_at or last) + 1)


def page_before(
    connection: Connection, wanted: ListingQuery, *, before: int | None = None
) -> ListingPage:
    """Return the same in reverse, the last received first; `onwards` is the next page's `before`."""
    earlier = select(item.c.id).order_by(item.c.id.desc()).limit(LOOKED_AT)
    window = (earlier if before is None else earlier.where(item.c.id < before)).subquery()
    ends = select(func.min(window.c.id), func.max(window.c.id))
    first, last = connection.execute(ends).one()
    if first is None:
        return ListingPage()
    found, cut_at = _some(connection, BACKWARDS, wanted, first=first, last=last)
    return ListingPage(found, cut_at or first)


def among(connection: Connection, wanted: ListingQuery, ids: Sequence[ItemId]) -> list[Listed]:
    """Return those of these items that are wanted."""
    rows = connection.execute(text(AMONG), {**_given(wanted), "ids": list(ids)}) if ids else ()
    return [_one(row) for row in rows]


def schemas(connection: Connection, of: str) -> list[dict[str, Any]]:
    """Return the output schemas of the workload: that of the version in force, then the others, newest first.

    Raises:
        UnknownWorkload: no workload of that name has a published version.
    """
    its = select(version.c.id, workload.c.version_id).where(workload.c.name == of)
    rows = connection.execute(its.join(workload, workload.c.name == version.c.workload)).all()
    if not rows:
        raise UnknownWorkload(f'there is no workload "{of}"; correct the name, or publish it')
    found = workloads.versions(connection, [row.id for row in rows])
    in_force = rows[0].version_id
    newest_last = sorted(found.values(), key=lambda each: (each.id == in_force, each.number))
    return [each.spec.output_schema for each in reversed(newest_last)]


def _given(wanted: ListingQuery) -> dict[str, Any]:
    states = [str(each) for each in wanted.states] or None
    given = {"workload": wanted.workload, "states": states, "since": wanted.since}
    return given | {"job_id": wanted.job_id}


def _some(
    connection: Connection, query: str, wanted: ListingQuery, **where: int
) -> tuple[list[Listed], int | None]:
    """Return rows until their outputs have `MOST_BYTES`, and the last item's id if that cut them."""
    found: list[Listed] = []
    size = 0
    with connection.execute(
        text(query).execution_options(stream_results=True), {**_given(wanted), **where}
    ) as rows:
        while part := rows.fetchmany(FETCHED):
            found += map(_one, part)
            size += sum(row.bytes for row in part)
            if size >= MOST_BYTES:
                return found, found[-1].item_id
    return found, None


def _one(row: Any) -> Listed:
    return read_as(Listed, row, state=ItemState(row.state))


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


NEWEST = text("""
select i.workload, array_agg(distinct i.key) as keys
  from (select item_id, created_at from lanes.result order by id desc limit :looked_at) r
  join lanes.item i on i.id = r.item_id
 where r.created_at >= :since
 group by 1
""")
NEWEST_RESULTS = 400  # among which samples are chosen
SAMPLES = 3  # of a report


def samples(connection: Connection, *, since: datetime) -> list[AnswerExample]:
    """Return three answers given since then that stand for the others, of different kinds where there are."""
    rows = connection.execute(NEWEST, {"since": since, "looked_at": NEWEST_RESULTS}).all()
    found = [of_each_kind(connection, row.workload, row.keys, most=SAMPLES) for row in rows]
    return choose([each for some in found for each in some], SAMPLES)


def of_each_kind(
    connection: Connection, workload: str, keys: Sequence[str], *, most: int = MOST
) -> list[AnswerExample]:
    """Return at most `most` answers of each kind to choose from, oldest first; forgotten items are left out."""
    given = {"workload": workload, "keys": list(keys), "most": most}
    found = connection.execute(OF_EACH_KIND, given).all()
    known = versions(connection, {row.version_id for row in found})
    return [
        AnswerExample(
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
    """Return the fields that every output has, in the order of its schema; none where the version cannot be read any more."""
    return () if of is None else of.spec.output_schema.get("required", ())
