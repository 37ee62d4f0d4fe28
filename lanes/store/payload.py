"""Sizes of stored payloads, counted as `lanes.json_data` counts, and reading no more of them than fits into memory."""

from collections.abc import Generator, Mapping
from itertools import accumulate
from typing import Any

from sqlalchemy import ColumnElement, Connection, Label, Select, Text, func


def characters(payload: ColumnElement[Any]) -> ColumnElement[int]:
    """Count the characters of a payload as JSON: costs are estimated by them."""
    return func.length(payload.cast(Text))


def octets(payload: ColumnElement[Any]) -> ColumnElement[int]:
    """Count the bytes of a payload as JSON: they bound what is held at once, and what a door accepts."""
    return func.octet_length(payload.cast(Text))


def call_bytes(payload: ColumnElement[Any]) -> ColumnElement[int]:
    """Return an upper bound of the bytes of a payload in the body of a call."""
    return func.octet_length(func.to_json(func.jsonb_pretty(payload)).cast(Text)) + octets(payload)


Given = Mapping[str, Any]
NOTHING: Given = {}
FIRST = 20  # rows of the first fetch, before their size is known
MOST = 1_000  # rows of one fetch
FETCHED_BYTES = 2 * 1024**2  # what a fetch should bring


def size_of(payload: ColumnElement[Any]) -> Label[int]:
    """Return the column of payload bytes that `bounded` and `streamed` add up."""
    return octets(payload).label("bytes")


def bounded(
    connection: Connection,
    query: Select[*tuple[Any, ...]],
    given: Given = NOTHING,
    *,
    most: int,
    most_bytes: int,
) -> list[Any]:
    """Return the rows of `streamed` at once, for a query of up to `most` rows. One fetch needs no stream."""
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
    """Yield the first rows of a query until they have `most_bytes` (see `size_of`), at least one.

    Rows are fetched a few at a time, and locked when they are. The rest of the last fetch stays locked until the
    transaction ends, and is skipped.
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
