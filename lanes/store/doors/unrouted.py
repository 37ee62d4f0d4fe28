"""Unrouted items: where a workload's urgent, due and other items begin, and the items that the router takes next."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from operator import attrgetter
from typing import Any

import sqlalchemy as sa

from lanes.ids import ItemId
from lanes.routing.route import ArrivedItem, ReceivedItem
from lanes.store.statements import characters, fetch_rows, size_of
from lanes.store.tables import item, workload
from lanes.store.tables.base import Moment

MOST_BYTES = 8 * 1024**2  # of payloads in the router's memory at once
_UNROUTED = (item.c.position.is_(None), item.c.canceled_at.is_(None))
_URGENT_FIRST = (item.c.urgent.desc(), item.c.due_at, item.c.id)
# Conditions for a part of a workload's items, in the order of the index.
Part = tuple[sa.ColumnElement[bool], ...]
URGENT: Part = (item.c.urgent,)


def match_due(since: sa.ColumnElement[datetime]) -> Part:
    """Match items that are not urgent and due at that moment or later."""
    return (~item.c.urgent, item.c.due_at >= since)


def match_backlog(after: sa.ColumnElement[int]) -> Part:
    """Match items that are not urgent, have no due time, and arrived after that item."""
    return (~item.c.urgent, item.c.due_at.is_(None), item.c.id > after)


_DUE = match_due(sa.bindparam("due_since", type_=Moment))
_BEHIND = match_backlog(sa.bindparam("after", type_=sa.BigInteger))
_KNOWN = (
    item.c.id,
    item.c.revision,
    item.c.workload,
    item.c.key,
    item.c.received_at,
    item.c.occurred_at,
    item.c.consumer,
    item.c.entity,
    item.c.urgent,
    item.c.pin,
    item.c.due_at,
)


@dataclass(frozen=True)
class RoutedUpTo:
    """The progress of routing: the latest due time of a workload's non-urgent items, and the last item without one."""

    due_at: datetime | None = None
    id: ItemId | None = None


Since = Mapping[str, RoutedUpTo]


@dataclass(frozen=True)
class Begins:
    """The beginning of a workload's unrouted items.

    `urgent` says whether any item is urgent, `due_at` is the earliest due time of the others, and `id` is the first item that
    is not urgent and has no due time.
    """

    urgent: bool
    due_at: datetime | None
    id: ItemId | None

    def parts(self) -> list[tuple[Part, dict[str, Any]]]:
        """Return the parts of the index that have items, in index order, with their parameters."""
        urgent = [(URGENT, {})] if self.urgent else []
        due = [] if self.due_at is None else [(_DUE, {"due_since": self.due_at})]
        return [*urgent, *due, *([] if self.id is None else [(_BEHIND, {"after": self.id - 1})])]


def leave_out_backlogs(
    beginnings: Mapping[str, Begins], of: Collection[str]
) -> Mapping[str, Begins]:
    """Leave out the backlogs of the workloads in `of`, and workloads that then have no items.

    A workload's backlog is its items that are neither urgent nor due. If all items that are not urgent have a due time, the
    backlog is these items.
    """
    if not of:
        return beginnings
    left = {
        name: Begins(each.urgent, None if each.id is None else each.due_at, None)
        if name in of
        else each
        for name, each in beginnings.items()
    }
    return {name: each for name, each in left.items() if each.parts()}


def has_received(connection: sa.Connection, *, since: Since | None = None) -> bool:
    """Return whether `find_received` would find any unrouted item, without locking anything."""
    return connection.execute(_select_received(), build_parameters(since)).first() is not None


@cache
def _select_received() -> sa.Select[*tuple[Any, ...]]:
    return have_received().limit(1)


def find_received(connection: sa.Connection, *, since: Since | None = None) -> dict[str, Begins]:
    """Return the workloads with unrouted items, and where these items begin.

    For a workload in `since`, the search covers only urgent items, items due at its time or later, and items after its item.
    """
    return read_begins(connection.execute(have_received(), build_parameters(since)))


def read_begins(rows: Iterable[Any]) -> dict[str, Begins]:
    """Return the rows of `have_received` by workload."""
    return {row.name: Begins(row.urgent, row.due_at, row.id) for row in rows}


@cache
def have_received() -> sa.Select[*tuple[Any, ...]]:
    """Return the query of `find_received`: three index lookups per workload, after :seen_id and from :seen_due on."""
    kinds: dict[str, Any] = {"workload": sa.Text(), "due": Moment, "id": sa.BigInteger()}
    lists = (sa.bindparam(f"seen_{name}", type_=sa.ARRAY(kind)) for name, kind in kinds.items())
    columns = (sa.column(name, kind) for name, kind in kinds.items())
    seen = sa.func.unnest(*lists).table_valued(*columns, name="seen").render_derived()
    urgent = _first(item.c.id, URGENT).lateral("urgent")
    from_due = sa.func.coalesce(seen.c.due, sa.literal_column("'-infinity'::timestamptz"))
    first_due = _first(item.c.due_at, match_due(from_due)).lateral("first_due")
    first = sa.func.coalesce(seen.c.id, sa.literal_column("0"))
    plain = _first(item.c.id, match_backlog(first)).lateral("plain")
    relation = workload.outerjoin(seen, seen.c.workload == workload.c.name)
    for each in (urgent, first_due, plain):
        relation = relation.outerjoin(each, sa.true())
    is_urgent, is_due = urgent.c.id.is_not(None), first_due.c.due_at.is_not(None)
    known = workload.c.name, is_urgent.label("urgent"), first_due.c.due_at, plain.c.id
    has_some = sa.or_(is_urgent, is_due, plain.c.id.is_not(None))
    return sa.select(*known).select_from(relation).where(has_some)


def build_parameters(since: Since | None) -> dict[str, Any]:
    """Return the parameters of `have_received`."""
    known = since or {}
    return {
        "seen_workload": list(known),
        "seen_due": [each.due_at for each in known.values()],
        "seen_id": [each.id for each in known.values()],
    }


def lock_received(
    connection: sa.Connection,
    limit: int,
    *,
    most_urgent: int = 0,
    most_bytes: int = MOST_BYTES,
    of: Collection[str] | None = None,
    waiting: Mapping[str, Begins] | None = None,
    unread: Collection[str] = (),
) -> list[ReceivedItem]:
    """Lock and return unrouted items, urgent and due items first: about `limit`, with payloads of about `most_bytes`.

    Up to `most_urgent` urgent items are returned even if these are more than `limit`. The items cannot be canceled or amended
    until this transaction ends. The workloads (those in `of`, or all) share the number and the bytes equally, so that a flood
    of one workload never delays the others. `waiting` is the result of `find_received`, if the caller already has it. Items
    that other transactions have locked are skipped. The payloads of workloads in `unread` are only measured.
    """
    beginnings = find_received(connection) if waiting is None else waiting
    asked = sorted(name for name in beginnings if of is None or name in of)
    of_urgent = most_urgent // max(1, sum(beginnings[name].urgent for name in asked))
    found: list[ReceivedItem] = []
    for name in asked:
        most, left = max(1, limit // len(asked)), most_bytes // len(asked)
        for part, begin in beginnings[name].parts():
            row_limit = max(most, of_urgent) if part is URGENT else most
            given = {"of_workload": name, "most": row_limit} | begin
            query = _head(read=name not in unread, part=part)
            rows = fetch_rows(connection, query, given, most=row_limit, most_bytes=left)
            found += [_read_item(row, read=name not in unread) for row in rows]
            most, left = most - len(rows), left - sum(row.bytes for row in rows)
            if most <= 0 or left <= 0:
                break
    return found


def find_full(taken: Iterable[ReceivedItem], limit: int, *, workloads: int) -> set[str]:
    """Return the workloads whose items that are not urgent used up their share of the limits of `lock_received`.

    `workloads` is the number of workloads that share the limits. Bytes are estimated: a character has at most four.
    """
    items, most_bytes = Counter[str](), Counter[str]()
    for each in taken:
        if not each.arrived.urgent:
            items[each.arrived.workload] += 1
            most_bytes[each.arrived.workload] += 4 * each.arrived.characters
    share, share_bytes = max(1, limit // workloads), MOST_BYTES // workloads
    return {name for name in items if items[name] >= share or most_bytes[name] >= share_bytes}


def came_last(received_items: Sequence[ReceivedItem], *, before: Since) -> dict[str, RoutedUpTo]:
    """Return the routing progress of each workload after these items, starting from `before`.

    Items that still wait come later, except urgent items, items that other transactions had locked, and items due sooner.
    """
    due: dict[str, datetime] = {}
    plain: dict[str, ItemId] = {}
    for received_item in sorted(
        (received_item for received_item in received_items if not received_item.arrived.urgent),
        key=attrgetter("id"),
    ):
        name, due_at = received_item.arrived.workload, received_item.arrived.due_at
        if due_at is None:
            plain[name] = received_item.id
        else:
            due[name] = max(due_at, due.get(name, due_at))
    earlier = {name: before.get(name, RoutedUpTo()) for name in {*due, *plain}}
    return {
        name: RoutedUpTo(due.get(name, last.due_at), plain.get(name, last.id))
        for name, last in earlier.items()
    }


@cache
def _head(*, read: bool, part: Part) -> sa.Select[*tuple[Any, ...]]:
    """Return the query of `head` for up to :most items of :of_workload."""
    name, most = sa.bindparam("of_workload", type_=sa.Text), sa.bindparam("most", type_=sa.Integer)
    return head(name, most, read=read, part=part)


def head(
    name: str | sa.ColumnElement[str],
    limit: int | sa.ColumnElement[int],
    *,
    read: bool = True,
    part: Part = (),
) -> sa.Select[*tuple[Any, ...]]:
    """Select and lock the most urgent unrouted items of a workload, or of a part of it, skipping locked ones."""
    payload = item.c.payload
    size = size_of(payload) if read else sa.literal(0).label("bytes")
    return (
        sa.select(*_KNOWN, characters(payload).label("length"), size, *([payload] if read else []))
        .where(item.c.workload == name, *_UNROUTED, *part)
        .order_by(*_URGENT_FIRST)
        .limit(limit)
        .with_for_update(key_share=True, skip_locked=True)
    )


def _first(of: sa.ColumnElement[Any], part: Part) -> sa.Select[*tuple[Any, ...]]:
    """Select the first unrouted item of this part of a workload."""
    here = sa.select(of).where(item.c.workload == workload.c.name, *_UNROUTED, *part)
    return here.order_by(*_URGENT_FIRST).limit(1)


def _read_item(row: Any, *, read: bool) -> ReceivedItem:
    """Return the item of a row of `head`; values are read by position, because access by name needs a lookup for each."""
    id_, revision, workload_, key, *known = row[:12]
    payload = row[13] if read else {}
    return ReceivedItem(id_, revision, ArrivedItem(workload_, key, payload, *known))
