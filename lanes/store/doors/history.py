"""Full data: what an entity's earlier items said, and an amended item before, for what a batch reads; and how long that is.

Where a workload keeps its consumers apart (`pack_scope: consumer`), an item is told only what the same consumer sent.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from lanes.ids import ItemId, WorkId
from lanes.routing.route import ReceivedItem
from lanes.words import PackScope
from lanes.workload.context import LATE, WITHIN, Context, ContextPart, ContextTag, frame_chars
from lanes.workload.version import Version

History = dict[WorkId, tuple[ContextPart, ...]]
Lengths = dict[ItemId, tuple[int, ...]]

# What is asked for, as a relation `a`: the entities of items that were not sent yet, by their number; items by their id; or
# work by its id. :most, :days and :before bound what is read.
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
    """Select the newest items of the entity that occurred before the moment; `apart` only those of the same consumer."""
    return f"""
   select e.payload, e.occurred_at, e.id, e.result_id, e.position, e.revision, greatest(e.as_of, e.received_at) as said_at,
          {TELLS} as tells
     from lanes.item e
    where e.workload = a.workload and e.entity = a.entity and e.occurred_at < a.moment and {which} and {since}
      and (not {apart} or e.consumer is not distinct from a.consumer)
    order by e.occurred_at desc, e.id desc limit {most}"""


# Canceled and emptied items tell nothing. Revisions of the item itself come nearer to it than any other item; one that was
# asked again for late context stands there once.
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


def _said(of: str) -> str:
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
    """Return whether an item is told only what its own consumer sent: items of two consumers never share a call either."""
    return scope is PackScope.CONSUMER


def _found(connection: Connection, query: str, **asked: Any) -> Mapping[Any, Sequence[Any]]:
    """Return the rows of a query by their `place`."""
    found = defaultdict[Any, list[Any]](list)
    for row in connection.execute(text(query), asked):
        found[row.place].append(row)
    return found


def of_entity(
    connection: Connection,
    version: Version,
    entity: str | None,
    *,
    before: datetime,
    consumer: str | None = None,
) -> tuple[ContextPart, ...]:
    """Return what `of_work` would find for an item that was not sent yet and occurred then."""
    if version.spec.context.entity.items == 0 or entity is None:
        return ()
    asked = {"entities": [entity], "moments": [before], "workload": version.workload}
    bounds = _bounds(version.spec.context, apart=is_apart(version.spec.pack_scope))
    found = _found(connection, _said(UNSENT), **asked, **bounds, consumer=consumer)
    return tuple(map(_part, found[1]))


def of_work(connection: Connection, works: Sequence[WorkId], version: Version) -> History:
    """Return the newest earlier items of each item's entity and revisions of its own, oldest first, by id of the work.

    Work without any is left out.
    """
    if version.spec.context.depth == 0 or not works:
        return {}
    bounds = _bounds(version.spec.context, apart=is_apart(version.spec.pack_scope))
    found = _found(connection, _said(OF_WORK), works=list(works), **bounds)
    return {id_: tuple(map(_part, rows)) for id_, rows in found.items()}


def lengths(
    connection: Connection, ids: Iterable[ItemId], context: Context, *, apart: bool = False
) -> Lengths:
    """Return the characters of what `of_work` would find for each item, newest first.

    Items without any are left out, and nothing is asked where none is read. If `apart`, they are told only what their consumer
    sent.
    """
    wanted = list(ids)
    if context.depth == 0 or not wanted:
        return {}
    found = _found(connection, _lengths(SENT), ids=wanted, **_bounds(context, apart=apart))
    return {id_: tuple(row.length for row in rows) for id_, rows in found.items()}


def unsteady(
    connection: Connection,
    most: Mapping[ItemId, tuple[int, int]],
    *,
    apart: Collection[ItemId] = (),
) -> set[ItemId]:
    """Return the items whose history may have changed; `most` says how many were read then and would be read now.

    An item's history is the same where it is read to the same depth, or has no item beyond the smaller one, and each of its
    items stands before it in the stream and was never amended, canceled or emptied: the router gives positions after the
    commit, so such an item was there, as it is now, whenever this one was asked.
    """
    deepest = {id_: max(depths) for id_, depths in most.items() if any(depths)}
    if not deepest:
        return set()
    asked = {"ids": [*deepest], "most": [*deepest.values()]}
    found = _found(connection, STEADY, **asked, apart=[id_ in apart for id_ in deepest])
    return {
        id_
        for id_, (row,) in found.items()
        if not row.steady or (len({*most[id_]}) > 1 and row.earlier > min(most[id_]))
    }


def lengths_of(connection: Connection, versions: Mapping[ItemId, Version | None]) -> Lengths:
    """Return `lengths` of these items as their versions read them; one that cannot be read any more reads none."""
    items = defaultdict[int, list[ItemId]](list)
    known = {each.id: each for each in versions.values() if each is not None}
    for id_, each in versions.items():
        if each is not None:
            items[each.id].append(id_)
    found: Lengths = {}
    for id_, each in known.items():
        apart = is_apart(each.spec.pack_scope)
        found |= lengths(connection, items[id_], each.spec.context, apart=apart)
    return found


def measured(
    connection: Connection, waiting: Sequence[ReceivedItem], versions: Mapping[str, Version]
) -> list[ReceivedItem]:
    """Return the items with the lengths of the context that their workload's version reads: a batch costs more by it."""
    found = lengths_of(connection, {each.id: versions[each.arrived.workload] for each in waiting})
    return [
        each._replace(arrived=each.arrived._replace(earlier=found[each.id]))
        if each.id in found
        else each
        for each in waiting
    ]


def lengths_before(
    connection: Connection, version: Version, asked: Sequence[tuple[str, datetime]]
) -> list[list[tuple[datetime, int]]]:
    """Return when the earlier items of an entity occurred before a moment, and their characters, newest first.

    One list for each (entity, moment) that is asked for, in their order: items that were not sent yet.
    """
    context = version.spec.context
    if context.entity.items == 0 or not asked:
        return [[] for _ in asked]
    entities, moments = ([each[place] for each in asked] for place in (0, 1))
    of = {"entities": entities, "moments": moments, "workload": version.workload, "consumer": None}
    found = _found(connection, _lengths(UNSENT), **of, **_bounds(context, apart=False))
    rows = (found.get(place, ()) for place in range(1, len(asked) + 1))
    return [[(row.occurred_at, row.length) for row in of] for of in rows]
