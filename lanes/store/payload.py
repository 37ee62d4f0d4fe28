"""How large a stored payload is: the database counts what `lanes.json_data` counts."""

from collections.abc import Generator, Mapping
from itertools import accumulate
from typing import Any

from sqlalchemy import ColumnElement, Connection, Label, Select, Text, func


def characters(payload: ColumnElement[Any]) -> ColumnElement[int]:
    """Of the payload as JSON: costs are estimated by them."""
    return func.length(payload.cast(Text))


def octets(payload: ColumnElement[Any]) -> ColumnElement[int]:
    """The bytes of the payload as JSON: they bound what is held at once, and what a door takes."""
    return func.octet_length(payload.cast(Text))


def call_bytes(payload: ColumnElement[Any]) -> ColumnElement[int]:
    """Return at least the bytes that the payload can take in the body of a call: the database indents it further."""
    return func.octet_length(func.to_json(func.jsonb_pretty(payload)).cast(Text)) + octets(payload)


Given = Mapping[str, Any]
NOTHING: Given = {}
FIRST = 20  # rows of the first fetch, before their size is known
MOST = 1_000  # rows of one fetch
FETCHED_BYTES = 2 * 1024**2  # what a fetch should bring


def size_of(payload: ColumnElement[Any]) -> Label[int]:
    """The bytes of a payload as JSON, as the column that `bounded` adds up."""
    return octets(payload).label("bytes")


def bounded(
    connection: Connection,
    query: Select[*tuple[Any, ...]],
    given: Given = NOTHING,
    *,
    most: int,
    most_bytes: int,
) -> list[Any]:
    """As `streamed`, all of them at once; the query brings no more than `most` rows. Those of one fetch need no stream."""
    if most > FIRST:
        return list(streamed(connection, query, given, most_bytes=most_bytes))
    rows = connection.execute(query, given).all()
    before = accumulate((row.bytes for row in rows), initial=0)
    return [row for row, size in zip(rows, before, strict=False) if size < most_bytes or size == 0]


def streamed(
    connection: Connection,
    query: Select[*tuple[Any, ...]],
    given: Given = NOTHING,
    *,
    most_bytes: int,
) -> Generator[Any]:
    """The first rows of a query until they have `most_bytes` (see `size_of`); one at least, however large it is. What its
    parameters say is `given`.

    Those fetched beyond it, or beyond those that are asked for, are as many as a fetch brings: locked until the
    transaction ends, and passed over.
    """
    found, size, fetch = 0, 0, FIRST
    with connection.execute(query, given, execution_options={"stream_results": True}) as rows:
        while part := rows.fetchmany(fetch):
            for row in part:
                found += 1
                size += row.bytes
                yield row
                if size >= most_bytes:
                    return
            if len(part) < fetch:  # there are no more
                return
            fetch = max(1, min(MOST, FETCHED_BYTES * found // size)) if size else MOST
