"""Pages of a workload's items with their current answers, in the order in which the items were received.

Each page is a short transaction that reads a bounded number of items. No cursor stays open between pages, so a slow reader
delays neither vacuum nor other transactions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, TextClause, select, text

from lanes.errors import UnknownWorkload
from lanes.ids import ItemId
from lanes.settling.listing import (
    BEGIN,
    END,
    MOST,
    AnswerExample,
    Listed,
    ListingPage,
    ListingPlace,
    ListingQuery,
    choose,
)
from lanes.statistics.figures import Grain, Kind, Stands
from lanes.store.asking import read_as
from lanes.store.tables import version, workload
from lanes.store.workload import workloads
from lanes.store.workload.workloads import versions
from lanes.words import ItemState, Lane, Standing
from lanes.workload.version import Version

LOOKED_AT = 2_000  # items that a page reads in full
PASSED_OVER = 100_000  # items whose state a page checks, if the query names states
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
# The ids bound both sides of the join, so that neither side reads more. Items of a job are ordered by id, as in their index.
AMONG = f"""{LISTED}
   and s.item_id = any (:ids) and i.id = any (:ids)
 order by case when cast(:job_id as bigint) is null then s.received_at end {{order}}, s.item_id {{order}}"""

# By default Postgres plans a cursor for fetching a tenth of its rows; fetching all of them then takes ten times as long.
ALL_ARE_READ = text("select set_config('cursor_tuple_fraction', '1', true)")

# The items of one page, in index order.
WINDOW = """
select i.received_at, i.id as item_id from lanes.item i
 where i.workload = :workload and (i.received_at, i.id) {beyond} (:at, :id) and i.archive_id is null
 order by i.received_at {order}, i.id {order} limit :most
"""
OF_JOB = """
select i.received_at, i.id as item_id from lanes.item i
 where i.job_id = :job_id and i.id {beyond} :id order by i.id {order} limit :most
"""
# The next item beyond a place that has changed since a moment: it was received, answered, settled, canceled or failed since,
# has a newer result, or belongs to a replay that was promoted or demoted since. If the planner knew the moment, it would
# overestimate how many old items have changed; so the statement hides the moment in a sub-select, and adds an upper bound. The
# id of the first item that was certainly received later bounds the results to read.
CHANGED = """
with changed as materialized (
  (select i.received_at, i.id from lanes.item i
    where i.workload = :workload and i.received_at >= :since
      and (i.received_at, i.id) {beyond} {start}
    order by i.received_at {order}, i.id {order} limit 1)
  union all
  select i.received_at, i.id from lanes.item i
   where i.received_at < (select cast(:since as timestamptz)) and i.workload = :workload
     and (i.answered_at >= (select cast(:since as timestamptz)) and i.answered_at < 'infinity'
          or i.settled_at >= (select cast(:since as timestamptz)) and i.settled_at < 'infinity'
          or i.canceled_at >= (select cast(:since as timestamptz)) and i.canceled_at < 'infinity')
  union all
  select i.received_at, i.id from lanes.item i
   where i.workload = :workload and i.failed_at >= :since and i.failed_at < 'infinity'
  union all
  select i.received_at, i.id from lanes.result r
   cross join lateral (
     select i.received_at, i.id from lanes.item i
      where i.id = r.item_id and i.workload = :workload and i.received_at < :since offset 0) i
   where r.created_at >= (select cast(:since as timestamptz)) and r.created_at < 'infinity'
     and r.item_id < (select coalesce(min(n.id), 9223372036854775807) from (
       select n.id from lanes.item n
        where n.workload = :workload and n.received_at >= cast(:since as timestamptz) + interval '1 hour'
        order by n.received_at limit 1) n)
  union all
  select i.received_at, i.id
    from lanes.generation g
    join lanes.result r on r.generation = g.number and r.generation > 0
    join lanes.item i on i.id = r.item_id and i.workload = g.workload
   where g.workload = :workload and greatest(g.promoted_at, g.demoted_at) >= :since)
select received_at, id as item_id from changed where (received_at, id) {beyond} (:at, :id)
 order by received_at {order}, id {order} limit 1
"""
# The items of one page that may be in one of the states, among the next :many. Only work distinguishes routed items from
# working ones; it is not read here, so both count as working.
IN_STATES = """
select received_at, id as item_id from (
  select i.received_at, i.id, i.archive_id,
         case when i.canceled_at is not null then 'canceled' when i.settled_at is not null then 'settled'
              when i.failed_at is not null then 'failed' when i.answered_at is not null then 'answered'
              when i.position is null then 'received' else 'working' end as state
    from lanes.item i
   where i.workload = :workload and (i.received_at, i.id) {beyond} (:at, :id)
   order by i.received_at {order}, i.id {order} limit :many) looked_at
 where archive_id is null and (state = any (:states) or state = 'working' and 'routed' = any (:states))
 order by received_at {order}, id {order} limit :most
"""
LAST_OF_MANY = """
select i.received_at, i.id as item_id from lanes.item i
 where i.workload = :workload and (i.received_at, i.id) {beyond} (:at, :id)
 order by i.received_at {order}, i.id {order} offset :many - 1 limit 1
"""

# States with a partial index, which shows whether any item of the workload may be in the state, without a search.
MAYBE_IN = {
    ItemState.WORKING: text("""
select exists (select from lanes.work where workload = :workload and state = 'claimed')
    or exists (select from lanes.work where workload = :workload and state = 'submitted')
"""),
    ItemState.RECEIVED: text("""
select exists (select from lanes.item where workload = :workload and position is null and canceled_at is null)
"""),
}
# The words under which figures count the other states, by the hour in which the item was received.
COUNTED_AS = {
    ItemState.ROUTED: Stands.OPEN,
    ItemState.WORKING: Stands.OPEN,
    ItemState.ANSWERED: Stands.ANSWERED,
    ItemState.SETTLED: Stands.SETTLED,
    ItemState.FAILED: Stands.FAILED,
    ItemState.CANCELED: Stands.CANCELED,
}
# The next hour, starting with the hour of a place, in which items were received that are in one of the states now. Days are
# few, so the search reads days first: the place's own day, whose items may all precede the place, and the next one.
OF_STATES = f"kind = '{Kind.ITEM}' and workload = :workload and word = any (:words)"
COUNTED = f"""
with unfolded as materialized (
  select date_trunc('day', at, 'UTC') as day, date_trunc('hour', at, 'UTC') as hour, n
    from lanes.figure_delta where {OF_STATES}),
days as (
  select day from (
    select at as day, n from lanes.figure where grain = '{Grain.DAY}' and {OF_STATES}
       and at {{beyond}}= date_trunc('day', cast(:at as timestamptz), 'UTC')
    union all
    select day, n from unfolded where day {{beyond}}= date_trunc('day', cast(:at as timestamptz), 'UTC')) each
   group by day having sum(n) > 0 order by day {{order}} limit 2)
select hour {{ahead}} as at from days d
 cross join lateral (
   select at as hour, n from lanes.figure
    where grain = '{Grain.HOUR}' and {OF_STATES} and at >= d.day and at < d.day + interval '24 hours'
   union all
   select hour, n from unfolded u where u.day = d.day) each
 where hour {{beyond}}= date_trunc('hour', cast(:at as timestamptz), 'UTC')
 group by hour having sum(n) > 0 order by hour {{order}} limit 1
"""


@dataclass(frozen=True)
class ListingOrder:
    """The statements that list items in one direction: oldest first or newest first."""

    step: int
    window: TextClause
    of_job: TextClause
    changed: TextClause
    counted: TextClause
    in_states: TextClause
    last_of_many: TextClause
    among: TextClause


# The lower bound of the items that lie beyond a place and were received since a moment: an index scan starts at one bound only.
START = {
    ">": "(greatest(cast(:at as timestamptz), :since), case when :at < cast(:since as timestamptz) then 0 else :id end)",
    "<": "(:at, :id)",
}


def _order(step: int, beyond: str, order: str, ahead: str) -> ListingOrder:
    each = WINDOW, OF_JOB, CHANGED, COUNTED, IN_STATES, LAST_OF_MANY, AMONG
    parts = {"beyond": beyond, "order": order, "ahead": ahead, "start": START[beyond]}
    return ListingOrder(step, *(text(one.format(**parts)) for one in each))


OLDEST_FIRST = _order(1, ">", "asc", "")
NEWEST_FIRST = _order(-1, "<", "desc", "+ interval '1 hour'")


def page(
    connection: Connection,
    query: ListingQuery,
    *,
    onwards: ListingPlace,
    order: ListingOrder = OLDEST_FIRST,
) -> ListingPage:
    """Return the next page of items that match the query, beyond a place; an empty page may still be followed by others."""
    parameters = {**_build_parameters(query), "most": LOOKED_AT, "many": PASSED_OVER}
    states = [each for each in query.states if _may_be(connection, each, parameters)]
    if query.states and not states:
        return ListingPage()
    is_of_job = query.job_id is not None
    if ItemState.RECEIVED not in states:
        parameters["words"] = [str(COUNTED_AS[each]) for each in states]
    if not is_of_job and onwards in (BEGIN, END):
        if (first := _skip_unwanted(connection, order, parameters, onwards)) is None:
            return ListingPage()
        onwards = first
    parameters |= onwards.build_parameters()
    is_sifted = bool(states) and not is_of_job
    window = order.in_states if is_sifted else order.of_job if is_of_job else order.window
    looked_at = _places(connection, window, parameters)
    last = looked_at[-1] if looked_at else None
    if is_sifted and len(looked_at) < LOOKED_AT:
        last = next(iter(_places(connection, order.last_of_many, parameters)), None)
    ids = [each.item_id for each in looked_at]
    items, is_cut = _some(connection, order.among, {**parameters, "ids": ids})
    if is_cut:
        last = ListingPlace(items[-1].received_at, items[-1].item_id)
    elif not is_of_job and last is not None and not items:
        last = _skip_unwanted(connection, order, parameters, last)
    return ListingPage(items, last)


def _may_be(connection: Connection, state: ItemState, given: dict[str, Any]) -> bool:
    """Return whether an item of the workload may be in the state; True if no partial index can tell."""
    return state not in MAYBE_IN or bool(connection.scalar(MAYBE_IN[state], given))


def _skip_unwanted(
    connection: Connection, order: ListingOrder, parameters: dict[str, Any], beyond: ListingPlace
) -> ListingPlace | None:
    """Return a place before the next item that may match the query's states and time; None if no such item follows."""
    if parameters.get("words"):
        hour = connection.scalar(order.counted, parameters | beyond.build_parameters())
        if hour is None:
            return None
        furthest = max if order.step > 0 else min
        beyond = furthest(beyond, ListingPlace(hour, ItemId(0)))
    if parameters["since"] is None:
        return beyond
    for place in _places(connection, order.changed, parameters | beyond.build_parameters()):
        return ListingPlace(place.received_at, ItemId(place.item_id - order.step))
    return None


def _places(connection: Connection, query: TextClause, given: dict[str, Any]) -> list[ListingPlace]:
    return [ListingPlace(*row) for row in connection.execute(query, given)]


def among(connection: Connection, wanted: ListingQuery, ids: Sequence[ItemId]) -> list[Listed]:
    """Return the items among `ids` that match the query, oldest first."""
    given = {**_build_parameters(wanted), "ids": list(ids)}
    return [_one(row) for row in connection.execute(OLDEST_FIRST.among, given)] if ids else []


def schemas(connection: Connection, name: str) -> list[dict[str, Any]]:
    """Return the output schemas of the workload's versions: first the version in force, then the others, newest first.

    Raises:
        UnknownWorkload: no workload of that name has a published version.
    """
    its = select(version.c.id, workload.c.version_id).where(workload.c.name == name)
    rows = connection.execute(its.join(workload, workload.c.name == version.c.workload)).all()
    if not rows:
        raise UnknownWorkload(f'there is no workload "{name}"; correct the name, or publish it')
    known_versions = workloads.versions(connection, [row.id for row in rows])
    in_force = rows[0].version_id
    newest_last = sorted(
        known_versions.values(), key=lambda each: (each.id == in_force, each.number)
    )
    return [each.spec.output_schema for each in reversed(newest_last)]


def _build_parameters(wanted: ListingQuery) -> dict[str, Any]:
    states = [str(each) for each in wanted.states] or None
    given = {"workload": wanted.workload, "states": states, "since": wanted.since}
    return given | {"job_id": wanted.job_id}


def _some(
    connection: Connection, query: TextClause, given: dict[str, Any]
) -> tuple[list[Listed], bool]:
    """Return rows until their outputs reach `MOST_BYTES`, and whether this limit was reached."""
    found: list[Listed] = []
    size = 0
    connection.execute(ALL_ARE_READ)
    with connection.execute(query.execution_options(stream_results=True), given) as rows:
        while part := rows.fetchmany(FETCHED):
            found += map(_one, part)
            size += sum(row.bytes for row in part)
            if size >= MOST_BYTES:
                return found, True
    return found, False


def _one(row: Any) -> Listed:
    return read_as(Listed, row, state=ItemState(row.state))


# The first answers of each kind (by first lane, and corrected or not) among the items with these keys.
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
NEWEST_RESULTS = 400  # newest results, from which samples are chosen
SAMPLES = 3  # examples in a report


def samples(connection: Connection, *, since: datetime) -> list[AnswerExample]:
    """Return up to `SAMPLES` representative answers given since a moment, of different kinds if possible."""
    rows = connection.execute(NEWEST, {"since": since, "looked_at": NEWEST_RESULTS}).all()
    found = [list_examples(connection, row.workload, row.keys, most=SAMPLES) for row in rows]
    return choose([each for some in found for each in some], SAMPLES)


def list_examples(
    connection: Connection, workload: str, keys: Sequence[str], *, most: int = MOST
) -> list[AnswerExample]:
    """Return up to `most` answers of each kind, oldest first, without forgotten and emptied items."""
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
    """Return the required output fields, in the order of the schema; none if the version is no longer readable."""
    return () if of is None else of.spec.output_schema.get("required", ())
