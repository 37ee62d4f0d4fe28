"""Items: admission through the database's own door, refusals, labels, and what waits for the router."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from operator import attrgetter
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Connection,
    Integer,
    Select,
    Text,
    bindparam,
    column,
    func,
    insert,
    literal,
    literal_column,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB

from lanes import exact_json
from lanes.doors.item import KEY_LIMIT, Admission, Refusal, Submission
from lanes.ids import ItemId
from lanes.routing.route import Arrived, Received
from lanes.storable import storable
from lanes.store import outbox
from lanes.store.bounded import bounded, size_of
from lanes.store.outbox import EventOut
from lanes.store.payload import characters
from lanes.store.tables import item, rejected, workload
from lanes.store.tables.base import Moment

CONTENT_LIMIT = 65_536  # characters of a refused input that are kept
MOST_BYTES = 8 * 1024**2  # payloads that the router holds at once
_UNROUTED = (item.c.position.is_(None), item.c.canceled_at.is_(None))
_URGENT_FIRST = (item.c.urgent.desc(), item.c.due_at, item.c.id)
Part = tuple[ColumnElement[bool], ...]  # of a workload's items, in the order of the index
URGENT: Part = (item.c.urgent,)


def due(since: ColumnElement[datetime]) -> Part:
    """What is not urgent, and due then or later."""
    return (~item.c.urgent, item.c.due_at >= since)


def behind(after: ColumnElement[int]) -> Part:
    """What is neither urgent nor due, and came after that item."""
    return (~item.c.urgent, item.c.due_at.is_(None), item.c.id > after)


_DUE = due(bindparam("due_since", type_=Moment))
_BEHIND = behind(bindparam("after", type_=BigInteger))
_KNOWN = (
    item.c.id, item.c.revision, item.c.workload, item.c.key, item.c.received_at, item.c.occurred_at, item.c.consumer,
    item.c.entity, item.c.urgent, item.c.pin, item.c.due_at,
)  # fmt: skip


def admit(connection: Connection, inputs: Sequence[Submission], *, door: str, now: datetime) -> list[Admission]:
    """What became of each input, in order; refused ones are in `rejected_log`."""
    rows = exact_json.dumps([each.as_row() for each in inputs])
    told = connection.execute(_admitted(), {"rows": rows, "door": door, "now": now})
    return [Admission(row.outcome, row.detail, row.key) for row in told]


@cache
def _admitted() -> Select[*tuple[Any, ...]]:
    """What became of each of :rows, which came by :door :now."""
    given = bindparam("rows", type_=Text).cast(JSONB), bindparam("door", type_=Text), bindparam("now", type_=Moment)
    verdicts = func.lanes.admit(*given).table_valued(column("place"), column("outcome"), column("detail"), column("key"))
    return select(verdicts.c.outcome, verdicts.c.detail, verdicts.c.key).order_by(verdicts.c.place)


def as_stored(connection: Connection, payload: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    """The payload as it would be read back once it was admitted, and its bytes there: the database keeps an object's keys in
    an order of its own."""
    kept = literal(exact_json.dumps(payload)).cast(JSONB)
    row = connection.execute(select(kept.label("payload"), size_of(kept))).one()
    return row.payload, row.bytes


def refuse(connection: Connection, refusals: Sequence[Refusal], *, door: str, now: datetime) -> None:
    """Inputs that could not be read are kept, and their senders told, once per (door, place). Whatever they hold, what
    cannot be stored of it has a mark in its place."""
    by_place = {each.place: each for each in map(_kept, refusals)}
    told = select(rejected.c.place).where(rejected.c.source == door, rejected.c.place.in_(list(by_place)))
    for known in connection.execute(told).scalars():
        del by_place[known]
    new = by_place.values()
    if not new:
        return
    connection.execute(
        insert(rejected),
        [
            {
                "workload": r.workload, "key": r.key, "source": door, "place": r.place, "reason": r.reason,
                "detail": r.detail, "content": r.content, "rejected_at": now,
            }
            for r in new
        ],
    )  # fmt: skip
    outbox.add(connection, [_refused(each, door) for each in new], now=now)


def _refused(refusal: Refusal, door: str) -> EventOut:
    payload = {"outcome": refusal.reason, "detail": refusal.detail, "source": door, "place": refusal.place}
    if refusal.key:
        payload["key"] = refusal.key
    return EventOut.of_workload("lanes.item.rejected", refusal.workload or "unknown", payload)


def _kept(refusal: Refusal) -> Refusal:
    """The refusal as a row takes it."""
    name, key = refusal.workload, refusal.key
    return Refusal(
        name and storable(name[:KEY_LIMIT]), storable(refusal.place[:KEY_LIMIT]), refusal.reason, storable(refusal.detail),
        storable(refusal.content[:CONTENT_LIMIT]), key and storable(key[:KEY_LIMIT]),
    )  # fmt: skip


@dataclass(frozen=True)
class Taken:
    """How far what a workload received was taken: the due time of the last that was not urgent, and the last that had none."""

    due_at: datetime | None = None
    id: ItemId | None = None


Since = Mapping[str, Taken]


@dataclass(frozen=True)
class Begins:
    """Where that begins which a workload has received: whether some is urgent, when the next of the others is due, and which
    is the first that is neither."""

    urgent: bool
    due_at: datetime | None
    id: ItemId | None

    def parts(self) -> list[tuple[Part, dict[str, Any]]]:
        """In which parts of the index something is, in its order, with what their parameters are."""
        urgent = [(URGENT, {})] if self.urgent else []
        due = [] if self.due_at is None else [(_DUE, {"due_since": self.due_at})]
        return [*urgent, *due, *([] if self.id is None else [(_BEHIND, {"after": self.id - 1})])]


def any_received(connection: Connection, *, since: Since | None = None) -> bool:
    """Whether some item waits for its first route, of those that `which_have_received` looks for. Nothing is locked."""
    return connection.execute(_any_received(), seen(since)).first() is not None


@cache
def _any_received() -> Select[*tuple[Any, ...]]:
    return have_received().limit(1)


def which_have_received(connection: Connection, *, since: Since | None = None) -> dict[str, Begins]:
    """The workloads that have items which no router has seen, and where these begin. Of those that `since` names, only what is
    urgent, what is due then or later, and what came after that item is looked for."""
    return begins(connection.execute(have_received(), seen(since)))


def begins(rows: Iterable[Any]) -> dict[str, Begins]:
    """What `have_received` says, by workload."""
    return {row.name: Begins(row.urgent, row.due_at, row.id) for row in rows}


@cache
def have_received() -> Select[*tuple[Any, ...]]:
    """The same as a query: three steps in the index for each workload, behind what :seen_id and :seen_due say of it."""
    seen = (
        func.unnest(
            bindparam("seen_workload", type_=ARRAY(Text)), bindparam("seen_due", type_=ARRAY(Moment)),
            bindparam("seen_id", type_=ARRAY(BigInteger)),
        )
        .table_valued(column("workload", Text), column("due_at", Moment), column("id", BigInteger), name="seen")
        .render_derived()
    )  # fmt: skip
    urgent = _first(item.c.id, URGENT).lateral("urgent")
    from_due = func.coalesce(seen.c.due_at, literal_column("'-infinity'::timestamptz"))
    first_due = _first(item.c.due_at, due(from_due)).lateral("first_due")
    plain = _first(item.c.id, behind(func.coalesce(seen.c.id, literal_column("0")))).lateral("plain")
    both = workload.outerjoin(seen, seen.c.workload == workload.c.name)
    return (
        select(workload.c.name, urgent.c.id.is_not(None).label("urgent"), first_due.c.due_at, plain.c.id)
        .select_from(both.outerjoin(urgent, true()).outerjoin(first_due, true()).outerjoin(plain, true()))
        .where(or_(urgent.c.id.is_not(None), first_due.c.due_at.is_not(None), plain.c.id.is_not(None)))
    )


def seen(since: Since | None) -> dict[str, Any]:
    """The parameters of `have_received`."""
    known = since or {}
    return {
        "seen_workload": list(known), "seen_due": [each.due_at for each in known.values()],
        "seen_id": [each.id for each in known.values()],
    }  # fmt: skip


def received(
    connection: Connection,
    limit: int,
    *,
    most_bytes: int = MOST_BYTES,
    of: Collection[str] | None = None,
    waiting: Mapping[str, Begins] | None = None,
    unread: Collection[str] = (),
    since: Since | None = None,
) -> list[Received]:
    """Some of the items that no router has seen, urgent and due ones first: about `limit`, whose payloads have about
    `most_bytes` as JSON. Nobody cancels or amends them until this transaction ends.

    The workloads that have some (of those named in `of`, None: of all) share the number and the bytes, so that the flood
    of one never holds up the others; who knows which have some, and where these begin, says so by `waiting`, and otherwise
    `since` bounds what is looked for. What other transactions hold is passed over. Of those named in `unread` the payloads are
    measured, and stay where they are.
    """
    there = which_have_received(connection, since=since) if waiting is None else waiting
    asked = sorted(name for name in there if of is None or name in of)
    found: list[Received] = []
    for name in asked:
        most, left = max(1, limit // len(asked)), most_bytes // len(asked)
        for part, begin in there[name].parts():
            given = {"of_workload": name, "most": most} | begin
            rows = bounded(connection, _head(read=name not in unread, part=part), given, most=most, most_bytes=left)
            found += [Received(row.id, row.revision, arrived(row)) for row in rows]
            most, left = most - len(rows), left - sum(row.bytes for row in rows)
            if most <= 0 or left <= 0:
                break
    return found


def came_last(of: Sequence[Received], *, before: Since) -> dict[str, Taken]:
    """How far each workload's items were taken: what waits comes behind it, but for what is urgent, and what others held, or is
    due sooner. What was taken before of a workload is `before`."""
    due: dict[str, datetime] = {}
    plain: dict[str, ItemId] = {}
    for each in sorted((each for each in of if not each.arrived.urgent), key=attrgetter("id")):
        name, due_at = each.arrived.workload, each.arrived.due_at
        if due_at is None:
            plain[name] = each.id
        else:
            due[name] = max(due_at, due.get(name, due_at))
    earlier = {name: before.get(name, Taken()) for name in {*due, *plain}}
    return {name: Taken(due.get(name, last.due_at), plain.get(name, last.id)) for name, last in earlier.items()}


def head(name: str, limit: int, *, read: bool = True, part: Part = ()) -> Select[*tuple[Any, ...]]:
    """The most urgent items of a workload, or of a part of it, that no router has seen, locked; those locked by others are
    passed over."""
    return _headed(literal(name), limit, read=read, part=part)


@cache
def _head(*, read: bool, part: Part) -> Select[*tuple[Any, ...]]:
    """As `head`, of :of_workload, and no more than :most."""
    return _headed(bindparam("of_workload", type_=Text), bindparam("most", type_=Integer), read=read, part=part)


def _headed(name: ColumnElement[str], limit: int | ColumnElement[int], *, read: bool, part: Part) -> Select[*tuple[Any, ...]]:
    payload = item.c.payload
    size = size_of(payload) if read else literal(0).label("bytes")
    return (
        select(*_KNOWN, characters(payload).label("length"), size, *([payload] if read else []))
        .where(item.c.workload == name, *_UNROUTED, *part)
        .order_by(*_URGENT_FIRST)
        .limit(limit)
        .with_for_update(key_share=True, skip_locked=True)
    )


def _first(of: ColumnElement[Any], part: Part) -> Select[*tuple[Any, ...]]:
    """Of the first of this part of a workload that no router has seen."""
    here = select(of).where(item.c.workload == workload.c.name, *_UNROUTED, *part)
    return here.order_by(*_URGENT_FIRST).limit(1)


def arrived(row: Any) -> Arrived:
    """What routing knows of a row of `head`."""
    return Arrived(
        row.workload, row.key, getattr(row, "payload", {}), row.received_at, row.occurred_at, row.consumer, row.entity,
        row.urgent, row.pin, row.due_at, row.length,
    )  # fmt: skip


def label(connection: Connection, of: str, expected: Mapping[str, dict[str, Any]], *, source: str) -> dict[str, str]:
    """What is right is known for these items, by key; what became of each: `labeled`, `malformed` or `unknown_item`."""
    if not expected:
        return {}
    right = func.jsonb_each(literal(exact_json.dumps(expected)).cast(JSONB)).table_valued(column("key"), column("value"))
    outcome = func.lanes.label(of, right.c.key, right.c.value, source).label("outcome")
    return {row.key: row.outcome for row in connection.execute(select(right.c.key, outcome))}


def cancel(connection: Connection, of: str, key: str) -> str:
    """`canceled`, or why not: `unknown_item`, `settled`."""
    return connection.execute(select(func.lanes.cancel(of, key))).scalar_one()
