"""Items: admission through the database's own door, refusals, labels and cancellation."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    Connection,
    Select,
    Text,
    bindparam,
    column,
    func,
    literal,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from lanes import json_data
from lanes.doors.item import KEY_LIMIT, Admission, Refusal, Submission
from lanes.errors import UnknownItem
from lanes.json_data import replace_unstorable
from lanes.store.payload import size_of
from lanes.store.tables import item, rejected
from lanes.store.tables.base import Moment

CONTENT_LIMIT = 65_536  # characters of a refused input that are kept
REFUSE = text("""
select lanes.refuse(:door, r.place, r.workload, nullif(r.key, ''), r.reason, r.detail, r.content, :now)
  from jsonb_to_recordset(cast(:rows as jsonb))
       as r (workload text, place text, reason text, detail text, content text, key text)
""")


def admit(
    connection: Connection, inputs: Sequence[Submission], *, door: str, now: datetime
) -> list[Admission]:
    """What became of each input, in order; refused ones are in `rejected_log`."""
    rows = json_data.dumps([each.as_row() for each in inputs])
    told = connection.execute(_admitted(), {"rows": rows, "door": door, "now": now})
    return [Admission(row.outcome, row.detail, row.key) for row in told]


@cache
def _admitted() -> Select[*tuple[Any, ...]]:
    """What became of each of :rows, which came by :door :now."""
    given = (
        bindparam("rows", type_=Text).cast(JSONB),
        bindparam("door", type_=Text),
        bindparam("now", type_=Moment),
    )
    verdicts = func.lanes.admit(*given).table_valued(
        column("place"), column("outcome"), column("detail"), column("key")
    )
    return select(verdicts.c.outcome, verdicts.c.detail, verdicts.c.key).order_by(verdicts.c.place)


def schema_refusal(
    connection: Connection, of: str, schema: Mapping[str, Any], payload: Mapping[str, Any]
) -> str | None:
    """Say why the doors would refuse the payload by this input schema; None where they would not, or it is empty."""
    if not schema:
        return None
    asked, told = (literal(json_data.dumps(each)).cast(JSONB) for each in (schema, payload))
    refused = connection.execute(
        select(func.lanes.input_refusal(asked, of, told, type_=ARRAY(Text)))
    ).scalar_one()
    return None if refused is None else refused[1]


def as_stored(connection: Connection, payload: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    """The payload as it would be read back once it was admitted, and its bytes there: the database keeps an object's keys in
    an order of its own."""
    kept = literal(json_data.dumps(payload)).cast(JSONB)
    row = connection.execute(select(kept.label("payload"), size_of(kept))).one()
    return row.payload, row.bytes


def refuse(
    connection: Connection, refusals: Sequence[Refusal], *, door: str, now: datetime
) -> None:
    """Keep inputs that could not be read, and tell their senders, once per (door, place).

    Whatever they hold, what cannot be stored of it has a mark in its place. `lanes.refuse` bounds how many are kept.
    """
    by_place = {each.place: each for each in map(_kept, refusals)}
    told = select(rejected.c.place).where(
        rejected.c.source == door, rejected.c.place.in_(list(by_place))
    )
    for known in connection.execute(told).scalars():
        del by_place[known]
    if by_place:
        rows = json_data.dumps([asdict(each) for each in by_place.values()])
        connection.execute(REFUSE, {"rows": rows, "door": door, "now": now})


def _kept(refusal: Refusal) -> Refusal:
    """The refusal as a row takes it."""
    name, key = refusal.workload, refusal.key
    return Refusal(
        name and replace_unstorable(name[:KEY_LIMIT]),
        replace_unstorable(refusal.place[:KEY_LIMIT]),
        refusal.reason,
        replace_unstorable(refusal.detail),
        replace_unstorable(refusal.content[:CONTENT_LIMIT]),
        key and replace_unstorable(key[:KEY_LIMIT]),
    )


def label(
    connection: Connection, of: str, expected: Mapping[str, dict[str, Any]], *, source: str
) -> dict[str, str]:
    """What is right is known for these items, by key; what became of each: `labeled`, `malformed` or `unknown_item`."""
    if not expected:
        return {}
    right = func.jsonb_each(literal(json_data.dumps(expected)).cast(JSONB)).table_valued(
        column("key"), column("value")
    )
    outcome = func.lanes.label(of, right.c.key, right.c.value, source).label("outcome")
    return {row.key: row.outcome for row in connection.execute(select(right.c.key, outcome))}


def submission(connection: Connection, of: str, key: str) -> Submission:
    """Return an admitted item as its sender could submit it now.

    Raises:
        UnknownItem: the workload has no item of that key, or what it said was erased.
    """
    row = connection.execute(
        select(item).where(
            item.c.workload == of,
            item.c.key == key,
            item.c.forgotten_at.is_(None),
            item.c.emptied_at.is_(None),
        )
    ).one_or_none()
    if row is None:
        raise UnknownItem(f'workload "{of}" has no item "{key}" whose input is kept')
    return Submission(
        workload=of,
        payload=row.payload,
        place=key,
        key=key,
        due_at=row.due_at,
        occurred_at=row.occurred_at,
        urgent=row.urgent,
        consumer=row.consumer,
        entity=row.entity,
        lane=row.pin,
    )


def cancel(connection: Connection, of: str, key: str) -> str:
    """`canceled`, or why not: `unknown_item`, `settled`."""
    return connection.execute(select(func.lanes.cancel(of, key))).scalar_one()
