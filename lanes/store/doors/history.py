"""Full data: what an entity's earlier items said, for the passes that are authoritative, and how long that is.

Where a workload keeps its consumers apart (`pack_scope: consumer`), an item is told only what the same consumer sent.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from lanes.ids import ItemId, WorkId
from lanes.packing import ClaimedWork
from lanes.routing.route import ReceivedItem
from lanes.words import PackScope
from lanes.workload.version import Version

History = dict[WorkId, tuple[dict[str, Any], ...]]
Lengths = dict[ItemId, tuple[int, ...]]

# What is asked for, as a relation `a`: the entities of items that were not sent yet, by their number; items by their id; or
# work by its id.
UNSENT = """(
  select s.*, v.*
    from unnest(cast(:entities as text[]), cast(:moments as timestamptz[])) with ordinality s (entity, moment, place)
   cross join (values (cast(:workload as text), cast(:most as int), cast(:consumer as text), cast(:apart as boolean))
              ) v (workload, most, consumer, apart)) a"""
SENT = """(
  select i.id as place, i.workload, i.entity, i.occurred_at as moment, i.consumer, i.position, s.most, s.apart
    from unnest(cast(:ids as bigint[]), cast(:most as int[]), cast(:apart as boolean[])) s (id, most, apart)
    join lanes.item i on i.id = s.id) a"""
OF_WORK = """(
  select w.id as place, i.workload, i.entity, i.occurred_at as moment, i.consumer, cast(:most as int) as most,
         cast(:apart as boolean) as apart
    from lanes.work w join lanes.item i on i.id = w.item_id
   where w.id = any(cast(:works as bigint[])) and i.entity is not null) a"""
TELLS = "e.canceled_at is null and e.emptied_at is null"


def _earlier(which: str) -> str:
    """Join the newest items of the entity that occurred strictly before the moment; `apart` only those of the same consumer."""
    return f"""
 cross join lateral (
   select e.payload, e.occurred_at, e.id, e.position, e.revision, {TELLS} as tells from lanes.item e
    where e.workload = a.workload and e.entity = a.entity and e.occurred_at < a.moment and {which}
      and (not a.apart or e.consumer is not distinct from a.consumer)
    order by e.occurred_at desc, e.id desc limit a.most) e"""


EARLIER = _earlier(TELLS)  # canceled and emptied items tell nothing
STEADY = f"""
select a.place, count(*)::int as earlier,
       bool_and(coalesce(e.tells and e.revision = 0 and e.position between 1 and a.position - 1, false)) as steady
  from {SENT} {_earlier("true")} group by a.place"""


def _said(of: str) -> str:
    return f"select a.place, e.payload from {of} {EARLIER} order by a.place, e.occurred_at, e.id"


def _lengths(of: str) -> str:
    return f"""
select a.place, e.occurred_at, length(e.payload::text) as length from {of} {EARLIER}
 order by a.place, e.occurred_at desc, e.id desc"""


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
    workload: str,
    entity: str | None,
    *,
    before: datetime,
    most: int,
    consumer: str | None = None,
    scope: PackScope = PackScope.WORKLOAD,
) -> tuple[dict[str, Any], ...]:
    """Return what `load` would find for an item that was not sent yet and occurred then."""
    if most == 0 or entity is None:
        return ()
    asked = {"entities": [entity], "moments": [before], "workload": workload, "most": most}
    who = {"consumer": consumer, "apart": is_apart(scope)}
    return tuple(row.payload for row in _found(connection, _said(UNSENT), **asked, **who)[1])


def load(
    connection: Connection,
    claimed: Sequence[ClaimedWork],
    most: int,
    *,
    scope: PackScope = PackScope.WORKLOAD,
) -> History:
    """Return the newest payloads of up to `most` earlier items of each item's entity, oldest first, by id of the work.

    Work without history is left out.
    """
    if most == 0 or not claimed:
        return {}
    asked = {"works": [each.claim.work_id for each in claimed], "most": most}
    found = _found(connection, _said(OF_WORK), **asked, apart=is_apart(scope))
    return {id_: tuple(row.payload for row in rows) for id_, rows in found.items()}


def lengths(
    connection: Connection, most: Mapping[ItemId, int], *, apart: Collection[ItemId] = ()
) -> Lengths:
    """Return the characters of what `load` would find for each item, newest first; `most` says how many of each are read.

    Items without history are left out, and nothing is asked where none is read. Those in `apart` are told only what their
    consumer sent.
    """
    reading = {id_: number for id_, number in most.items() if number}
    if not reading:
        return {}
    asked = {"ids": [*reading], "most": [*reading.values()]}
    apart_ones = [id_ in apart for id_ in reading]
    found = _found(connection, _lengths(SENT), **asked, apart=apart_ones)
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
    known = {id_: each.spec for id_, each in versions.items() if each is not None}
    apart = {id_ for id_, spec in known.items() if is_apart(spec.pack_scope)}
    most = {id_: spec.history_items for id_, spec in known.items()}
    return lengths(connection, most, apart=apart)


def measured(
    connection: Connection, waiting: Sequence[ReceivedItem], versions: Mapping[str, Version]
) -> list[ReceivedItem]:
    """Return the items with the lengths of the history that their workload's version reads: a batch costs more by it."""
    told = [each for each in waiting if each.arrived.entity is not None]
    found = lengths_of(connection, {each.id: versions[each.arrived.workload] for each in told})
    return [
        replace(each, arrived=replace(each.arrived, earlier=found[each.id]))
        if each.id in found
        else each
        for each in waiting
    ]


def lengths_before(
    connection: Connection, workload: str, asked: Sequence[tuple[str, datetime]], most: int
) -> list[list[tuple[datetime, int]]]:
    """Return when the earlier items of an entity occurred before a moment, and their characters, newest first.

    One list for each (entity, moment) that is asked for, in their order: items that were not sent yet.
    """
    if most == 0 or not asked:
        return [[] for _ in asked]
    entities, moments = ([each[place] for each in asked] for place in (0, 1))
    of = {"entities": entities, "moments": moments, "workload": workload, "most": most}
    found = _found(connection, _lengths(UNSENT), **of, consumer=None, apart=False)
    rows = (found.get(place, ()) for place in range(1, len(asked) + 1))
    return [[(row.occurred_at, row.length) for row in of] for of in rows]
