"""The full data that a batch reads besides an item: earlier items of its entity, its own revisions, and reference rows.

Reference rows come from tables and views of the operator, with one query for each reference. The lengths of the history are
measured here too. If a workload separates its consumers (`pack_scope: consumer`), an item's history contains only items of
the same consumer.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, TypeVar

import sqlalchemy as sa
from psycopg.errors import InsufficientPrivilege, QueryCanceled
from sqlalchemy.exc import DBAPIError

from lanes.errors import LanesError, RuleFailed
from lanes.ids import ItemId, WorkId
from lanes.routing.route import ReceivedItem
from lanes.words import PackScope
from lanes.workload.context import (
    CUT,
    LATE,
    WITHIN,
    Context,
    ContextPart,
    ContextTag,
    Reference,
    frame_chars,
)
from lanes.workload.version import Version

History = dict[WorkId, tuple[ContextPart, ...]]
Lengths = dict[ItemId, tuple[int, ...]]

# The requested histories as a relation `a`: entities of items that were not sent yet, by position; items by id; or work by
# id. :most, :days and :before limit the rows that are read.
UNSENT = """(
  select s.*, cast(:workload as text) as workload, cast(:consumer as text) as consumer, cast(null as bigint) as item_id,
         0 as revision
    from unnest(cast(:entities as text[]), cast(:moments as timestamptz[])) with ordinality s (entity, moment, place)) a"""
OF_ITEM = "i.workload, i.entity, i.occurred_at as moment, i.consumer, i.id as item_id, i.revision"
SENT = f"""(
  select i.id as place, {OF_ITEM}
    from unnest(cast(:ids as bigint[])) s (id) join lanes.item i on i.id = s.id) a"""
OF_WORK = f"""(
  select w.id as place, {OF_ITEM}
    from lanes.work w join lanes.item i on i.id = w.item_id
   where w.id = any(cast(:works as bigint[]))) a"""
TELLS = "e.canceled_at is null and e.emptied_at is null"


def _earlier(which: str, *, most: str, apart: str, since: str = "true") -> str:
    """Return a query for the entity's newest items before the moment; `apart` limits it to items of the same consumer."""
    return f"""
   select e.payload, e.occurred_at, e.id, e.result_id, e.position, e.revision, greatest(e.as_of, e.received_at) as said_at,
          {TELLS} as tells
     from lanes.item e
    where e.workload = a.workload and e.entity = a.entity and e.occurred_at < a.moment and {which} and {since}
      and (not {apart} or e.consumer is not distinct from a.consumer)
    order by e.occurred_at desc, e.id desc limit {most}"""


# Canceled and emptied items are not part of the history. The item's own revisions come last, closest to the item; a revision
# that was processed again because of late context appears once.
NEAR = "(:days = 0 or e.occurred_at >= a.moment - make_interval(days => :days))"
READ = f"""
 cross join lateral (
   select false as own, e.payload, e.occurred_at, e.id, e.said_at, r.output as answer, l.expected as label, l.labeled_at
     from ({_earlier(TELLS, most=":most", apart=":apart", since=NEAR)}) e
     left join lanes.result r on r.id = e.result_id and :results
     left join lateral (
       select expected, labeled_at from lanes.label where item_id = e.id and :labels
        order by labeled_at desc, id desc limit 1) l on true
   union all
   select true, v.payload, v.received_at, v.number, null, null, null, null
     from (select * from lanes.revision v
            where v.item_id = a.item_id and v.number < a.revision and not v.outdated
              and not exists (select from lanes.revision n
                               where n.item_id = v.item_id and n.number = v.number + 1 and n.source = '{LATE}')
            order by v.number desc limit :before) v) e"""
STEADY = f"""
select a.place, count(*)::int as earlier,
       bool_and(coalesce(e.tells and e.revision = 0 and e.position between 1 and a.position - 1, false)) as steady
  from (
  select i.id as place, i.workload, i.entity, i.occurred_at as moment, i.consumer, i.position, s.most, s.apart
    from unnest(cast(:ids as bigint[]), cast(:most as int[]), cast(:apart as boolean[])) s (id, most, apart)
    join lanes.item i on i.id = s.id) a
 cross join lateral ({_earlier("true", most="a.most", apart="a.apart")}) e group by a.place"""


def _select_events(of: str) -> str:
    return f"select a.place, e.* from {of} {READ} order by a.place, e.own, e.occurred_at, e.id"


MORE = frame_chars(ContextTag.BEFORE) - frame_chars(ContextTag.HISTORY)


def _lengths(of: str) -> str:
    return f"""
select a.place, e.occurred_at,
       length(e.payload::text) + coalesce(length(e.answer::text) + {WITHIN[ContextTag.ANSWER]}, 0)
       + coalesce(length(e.label::text) + {WITHIN[ContextTag.LABEL]}, 0) + case when e.own then {MORE} else 0 end as length
  from {of} {READ} order by a.place, e.own desc, e.occurred_at desc, e.id desc"""


def _bounds(context: Context, *, apart: bool) -> dict[str, Any]:
    entity = context.entity
    own = {"results": entity.results, "labels": entity.labels, "before": context.amendments}
    return {"most": entity.items, "days": entity.days, "apart": apart, **own}


def _part(row: Any) -> ContextPart:
    if row.own:
        return ContextPart(row.payload, ContextTag.BEFORE)
    moments = {"said_at": row.said_at, "labeled_at": row.labeled_at}
    return ContextPart(row.payload, answer=row.answer, label=row.label, id=row.id, **moments)


def is_apart(scope: PackScope) -> bool:
    """Return whether an item's history contains only items of its own consumer; then two consumers never share a call."""
    return scope is PackScope.CONSUMER


def _read_by_place(
    connection: sa.Connection, query: str, **asked: Any
) -> Mapping[Any, Sequence[Any]]:
    """Return the rows of a query by their `place`."""
    found = defaultdict[Any, list[Any]](list)
    for row in connection.execute(sa.text(query), asked):
        found[row.place].append(row)
    return found


def earlier_of_entity(
    connection: sa.Connection,
    version: Version,
    entity: str | None,
    *,
    before: datetime,
    consumer: str | None = None,
) -> tuple[ContextPart, ...]:
    """Return the parts that `earlier_of_work` would find for an item that occurred at that time and was not sent yet."""
    if version.spec.context.entity.items == 0 or entity is None:
        return ()
    asked = {"entities": [entity], "moments": [before], "workload": version.workload}
    bounds = _bounds(version.spec.context, apart=is_apart(version.spec.pack_scope))
    found = _read_by_place(connection, _select_events(UNSENT), **asked, **bounds, consumer=consumer)
    return tuple(map(_part, found[1]))


def earlier_of_work(
    connection: sa.Connection, works: Sequence[WorkId], version: Version
) -> History:
    """Return the newest earlier items of each item's entity and its own revisions, oldest first, by work id.

    Work without a history is left out.
    """
    if version.spec.context.depth == 0 or not works:
        return {}
    bounds = _bounds(version.spec.context, apart=is_apart(version.spec.pack_scope))
    found = _read_by_place(connection, _select_events(OF_WORK), works=list(works), **bounds)
    return {id_: tuple(map(_part, rows)) for id_, rows in found.items()}


def lengths(
    connection: sa.Connection, ids: Iterable[ItemId], context: Context, *, apart: bool = False
) -> Lengths:
    """Return the lengths, in characters, of the parts that `earlier_of_work` would find for each item, newest first.

    Items without a history are left out, and no query runs for a context without history. `apart` limits the history to items
    of the same consumer.
    """
    wanted = list(ids)
    if context.depth == 0 or not wanted:
        return {}
    found = _read_by_place(connection, _lengths(SENT), ids=wanted, **_bounds(context, apart=apart))
    return {id_: tuple(row.length for row in rows) for id_, rows in found.items()}


def unsteady(
    connection: sa.Connection,
    most: Mapping[ItemId, tuple[int, int]],
    *,
    apart: Collection[ItemId] = (),
) -> set[ItemId]:
    """Return the items whose history may have changed; `most` has the depths to which it was read then and is read now.

    A history is the same if two conditions are met. Both depths are equal, or the history has no item beyond the smaller depth;
    and each of its items precedes this item in the stream and was never amended, canceled or emptied. The router gives
    positions after the commit, so such an earlier item already had its present form whenever this item was processed.
    """
    deepest = {id_: max(depths) for id_, depths in most.items() if any(depths)}
    if not deepest:
        return set()
    asked = {"ids": [*deepest], "most": [*deepest.values()]}
    found = _read_by_place(connection, STEADY, **asked, apart=[id_ in apart for id_ in deepest])
    return {
        id_
        for id_, (row,) in found.items()
        if not row.steady or (len({*most[id_]}) > 1 and row.earlier > min(most[id_]))
    }


def read_lengths(connection: sa.Connection, versions: Mapping[ItemId, Version | None]) -> Lengths:
    """Return the `lengths` of these items under their versions; an item without a readable version has none."""
    items = defaultdict[int, list[ItemId]](list)
    known = {version.id: version for version in versions.values() if version is not None}
    for id_, version in versions.items():
        if version is not None:
            items[version.id].append(id_)
    found: Lengths = {}
    for id_, version in known.items():
        apart = is_apart(version.spec.pack_scope)
        found |= lengths(connection, items[id_], version.spec.context, apart=apart)
    return found


def measure_context(
    connection: sa.Connection, waiting: Sequence[ReceivedItem], versions: Mapping[str, Version]
) -> list[ReceivedItem]:
    """Return the items with the lengths of the context that their workload's version reads, which makes a batch dearer."""
    found = read_lengths(connection, {each.id: versions[each.arrived.workload] for each in waiting})
    return [
        each._replace(arrived=each.arrived._replace(earlier=found[each.id]))
        if each.id in found
        else each
        for each in waiting
    ]


def lengths_before(
    connection: sa.Connection, version: Version, asked: Sequence[tuple[str, datetime]]
) -> list[list[tuple[datetime, int]]]:
    """Return the times and the lengths, in characters, of an entity's items before a moment, newest first.

    The result has one list for each requested (entity, moment), in order. The requests stand for items that were not sent yet.
    """
    context = version.spec.context
    if context.entity.items == 0 or not asked:
        return [[] for _ in asked]
    entities, moments = ([each[place] for each in asked] for place in (0, 1))
    of = {"entities": entities, "moments": moments, "workload": version.workload, "consumer": None}
    found = _read_by_place(connection, _lengths(UNSENT), **of, **_bounds(context, apart=False))
    rows = (found.get(place, ()) for place in range(1, len(asked) + 1))
    return [[(row.occurred_at, row.length) for row in of] for of in rows]


K = TypeVar("K")
PATIENCE = timedelta(seconds=5)  # the longest that one query may take
COLUMN = sa.text("""
select c.oid, format_type(a.atttypid, -1) as kind
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  left join pg_attribute a on a.attrelid = c.oid and a.attname = :column and a.attnum > 0 and not a.attisdropped
 where n.nspname = :schema and c.relname = :name
""")
_SET = sa.text("select set_config('statement_timeout', :limit, true)")


class ReferenceFailed(LanesError):
    """The rows of a reference cannot be read, so the items of its workload wait."""


def load(
    connection: sa.Connection, version: Version, items: Mapping[K, Mapping[str, Any]]
) -> dict[K, tuple[ContextPart, ...]]:
    """Return the reference parts of each item, given the variables of its key; a reference without rows has a part too.

    Raises:
        ReferenceFailed: a table or view is missing, may not be read or is too slow; the transaction stays usable.
    """
    parts = dict[K, tuple[ContextPart, ...]]()
    for reference in version.spec.context.reference:
        keys = {
            id_: key for id_, read in items.items() if (key := _key(reference, read)) is not None
        }
        rows = _rows(connection, reference, sorted(set(keys.values())))
        for id_ in items:
            content = _within(reference, rows.get(keys.get(id_, ""), ()))
            parts[id_] = (
                *parts.get(id_, ()),
                ContextPart(content, ContextTag.REFERENCE, name=reference.name),
            )
    return parts


def read(
    connection: sa.Connection, version: Version, works: Mapping[WorkId, Mapping[str, Any]]
) -> History:
    """Return the whole context of each work, in the order of the prompt, given the variables of its keys.

    Raises:
        ReferenceFailed: reference rows cannot be read; the transaction stays usable.
    """
    found = earlier_of_work(connection, [*works], version)
    for id_, rows in load(connection, version, works).items():
        found[id_] = (*found.get(id_, ()), *rows)
    return found


def check(connection: sa.Connection, context: Context) -> list[str]:
    """Return the reasons why references of the context cannot be read now."""
    reasons = list[str]()
    for reference in context.reference:
        try:
            _rows(connection, reference, [""])
        except ReferenceFailed as failure:
            reasons.append(str(failure))
    return reasons


def _key(reference: Reference, variables: Mapping[str, Any]) -> str | None:
    """Return the key of an item as text; None if it has no key, for example because a field is missing."""
    try:
        value = reference.rule.value(variables)
    except RuleFailed:
        return None
    return str(value) if isinstance(value, str | int | float) else None


def _within(reference: Reference, rows: Sequence[str]) -> str:
    """Return the rows as lines of JSON, as far as the limits allow."""
    lines, left = list[str](), reference.bytes
    for row in rows[: reference.rows]:
        left -= len(row.encode()) + 1
        if left < 0:
            break
        lines.append(row)
    return "\n".join([*lines, *([CUT] if len(lines) < len(rows) else [])]) or "(no rows)"


def _rows(
    connection: sa.Connection, reference: Reference, keys: Sequence[str]
) -> Mapping[str, Sequence[str]]:
    """Return the rows by key, ordered by their text, up to one more than the limit to show that there are more.

    Raises:
        ReferenceFailed: the table, view or column is missing, may not be read or is too slow.
    """
    schema, _, name = reference.relation.partition(".")
    rows = defaultdict[str, list[str]](list)
    with _limit_time(connection, reference):
        column = connection.execute(
            COLUMN, {"schema": schema, "name": name, "column": reference.column}
        ).first()
        if column is None:
            raise ReferenceFailed(
                f'reference "{reference.name}": there is no table or view {reference.relation}; create it'
            )
        if column.kind is None:
            raise ReferenceFailed(
                f'reference "{reference.name}": {reference.relation} has no column "{reference.column}"; correct it'
            )
        for row in connection.execute(_query(reference, schema, name, column.kind), {"keys": keys}):
            rows[row.key].append(row.content)
    return rows


def _query(reference: Reference, schema: str, name: str, kind: str) -> sa.Select[Any, Any]:
    """Select the rows of :keys; `kind` is the type of the column, as the catalog writes it.

    Keys that are not valid for the type have no rows: one item must not make the query fail for its neighbours.
    """
    given = sa.func.unnest(sa.bindparam("keys", type_=sa.ARRAY(sa.Text)))
    given = given.table_valued(sa.column("key", sa.Text), name="given").render_derived()
    is_valid = sa.func.pg_input_is_valid(given.c.key, sa.literal(kind, sa.Text))
    keys = sa.select(given.c.key).where(is_valid).cte("k").prefix_with("materialized", dialect="*")
    rows = sa.table(name, sa.column(reference.column), schema=schema).alias("t")
    content = (
        sa.cast(sa.func.to_jsonb(sa.literal_column("t")), sa.Text).collate("C").label("content")
    )
    matches = rows.c[reference.column] == sa.literal_column(f"cast(k.key as {kind})")
    each = (
        sa.select(content)
        .select_from(rows)
        .where(matches)
        .order_by(content)
        .limit(reference.rows + 1)
    )
    found = each.correlate(keys).lateral("found")
    cut = sa.func.left(found.c.content, reference.bytes + 1).label("content")
    return sa.select(keys.c.key, cut).select_from(keys.join(found, sa.true()))


@contextmanager
def _limit_time(connection: sa.Connection, of: Reference) -> Iterator[None]:
    """Limit the time of each statement in the block; if a statement fails, roll the block back.

    Raises:
        ReferenceFailed: a statement failed.
    """
    try:
        with connection.begin_nested():
            before = connection.execute(sa.text("show statement_timeout")).scalar_one()
            connection.execute(_SET, {"limit": f"{PATIENCE.total_seconds() * 1000:.0f}ms"})
            yield
            connection.execute(_SET, {"limit": before})
    except DBAPIError as error:
        if error.connection_invalidated:
            raise
        raise ReferenceFailed(f'reference "{of.name}": {_explain(of, error.orig)}') from error


def _explain(reference: Reference, error: Any) -> str:
    schema = reference.relation.partition(".")[0]
    if isinstance(error, InsufficientPrivilege):
        grants = f"grant usage on schema {schema} to lanes_worker; grant select on {reference.relation} to lanes_worker"
        return f"Lanes may not read {reference.relation}: {grants}"
    if isinstance(error, QueryCanceled):
        return (
            f"{reference.relation} did not answer within {PATIENCE.total_seconds():g} s: "
            f'give its column "{reference.column}" an index, or make the view a table'
        )
    return f"{reference.relation} cannot be read: {str(error).splitlines()[0]}"
