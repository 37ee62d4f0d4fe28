"""Parts of statements: many rows as one JSON document, large payloads as memory holds them, and constants in the text.

Rows in one document keep the statement the same for any number of rows. A document is several times as fast as an array per
column, or a COPY into a temporary table. Rows that have much in common travel as two documents: the common values once, and the
rest of each row. Sizes of stored payloads are counted as `lanes.json_data` counts. Constants in a statement's text let generic
plans use partial indexes.
"""

from collections.abc import Generator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from itertools import accumulate
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import Insert, insert

from lanes import json_data

Row = Mapping[str, Any]  # by the names of the table's columns; every row of a call has the same
ROWS, ALIKE = "own", "alike"
_ABSENT = object()


def rows_of(table: sa.FromClause, rows: Sequence[Row]) -> sa.FromClause:
    """Return the rows as a table `given` with the columns of `table` that they name. Bytes are not supported."""
    columns = [sa.column(name, table.c[name].type) for name in rows[0]]
    return records(columns, sa.literal(document_of(rows), sa.Text))


def records(
    columns: Sequence[sa.ColumnClause[Any]], document: sa.ColumnElement[str]
) -> sa.FromClause:
    """Return a document as a table `given` with these columns; missing values are null."""
    return (
        sa.func.json_to_recordset(document.cast(sa.JSON))
        .table_valued(*columns, name="given")
        .render_derived(with_types=True)
    )


def split_records(columns: Sequence[sa.ColumnClause[Any]]) -> sa.Select[*tuple[Any, ...]]:
    """Return the rows of the two documents of `split` with these columns; missing values are null."""
    each, alike = (
        of(sa.bindparam(name, type_=sa.Text).cast(sa.JSON))
        .table_valued(*columns, name=name)
        .render_derived(with_types=True)
        for of, name in ((sa.func.json_to_recordset, ROWS), (sa.func.json_to_record, ALIKE))
    )
    both = (
        sa.func.coalesce(each.c[of.name], alike.c[of.name], type_=of.type).label(of.name)
        for of in columns
    )
    return sa.select(*both).select_from(each.join(alike, sa.true()))


def split(rows: Sequence[Row]) -> dict[str, str]:
    """Return the parameters of `split_records`: common values once, and the rest of each row.

    Values that are JSON are never compared: in JSON 1, 1.0 and true differ.
    """
    first, last, number = rows[0], rows[-1], len(rows)
    alike: dict[str, Any] = {}
    for name, value in first.items():
        if last.get(name, _ABSENT) == value and not isinstance(value, dict | list):
            with suppress(KeyError):
                if [row[name] for row in rows].count(value) == number:
                    alike[name] = value
    own = [{name: value for name, value in row.items() if name not in alike} for row in rows]
    return {ROWS: document_of(own), ALIKE: json_data.dumps(alike, default=_plain)}


def document_of(rows: Sequence[Row]) -> str:
    """Return the rows as a JSON list of objects, exactly, for all types of our columns but bytes."""
    return json_data.dumps(rows, default=_plain)


def _plain(value: Any) -> Any:
    match value:
        case Decimal() | UUID():
            return str(value)
        case datetime():
            return value.isoformat()
    raise TypeError(f"a value of the type {type(value).__name__} cannot travel in a document")


def insert_rows(table: sa.Table, rows: Sequence[Row]) -> Insert:
    """Return an insert of every row; it returns them in any order."""
    given = rows_of(table, rows)
    return insert(table).from_select(list(rows[0]), sa.select(*given.c))


def one_of(values: Sequence[Any] | set[Any], of: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
    """Match a column that holds one of the values, which travel as one array."""
    return of == sa.any_(sa.literal(list(values), sa.ARRAY(of.type, dimensions=1)))


def characters(payload: sa.ColumnElement[Any]) -> sa.ColumnElement[int]:
    """Count the characters of a payload as JSON: costs are estimated by them."""
    return sa.func.length(payload.cast(sa.Text))


def octets(payload: sa.ColumnElement[Any]) -> sa.ColumnElement[int]:
    """Count the bytes of a payload as JSON: they bound what is held at once, and what a door accepts."""
    return sa.func.octet_length(payload.cast(sa.Text))


def call_bytes(payload: sa.ColumnElement[Any]) -> sa.ColumnElement[int]:
    """Return an upper bound of the bytes of a payload in the body of a call."""
    return sa.func.octet_length(
        sa.func.to_json(sa.func.jsonb_pretty(payload)).cast(sa.Text)
    ) + octets(payload)


Given = Mapping[str, Any]
NOTHING: Given = {}
FIRST = 20  # rows of the first fetch, before their size is known
MOST = 1_000  # rows of one fetch
FETCHED_BYTES = 2 * 1024**2  # what a fetch should bring


def size_of(payload: sa.ColumnElement[Any]) -> sa.Label[int]:
    """Return the column of payload bytes that `fetch_rows` and `stream_rows` add up."""
    return octets(payload).label("bytes")


def fetch_rows(
    connection: sa.Connection,
    query: sa.Select[*tuple[Any, ...]],
    given: Given = NOTHING,
    *,
    most: int,
    most_bytes: int,
) -> list[Any]:
    """Return the rows of `stream_rows` at once, for a query of up to `most` rows. One fetch needs no stream."""
    if most > FIRST:
        return list(stream_rows(connection, query, given, most_bytes=most_bytes))
    rows = connection.execute(query, given).all()
    before = accumulate((row.bytes for row in rows), initial=0)
    return [row for row, size in zip(rows, before, strict=False) if size < most_bytes or size == 0]


def stream_rows(
    connection: sa.Connection,
    query: sa.Select[*tuple[Any, ...]],
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


def is_(column: sa.ColumnElement[Any], value: str) -> sa.ColumnElement[bool]:
    """Match a column that holds this constant."""
    return column == sa.literal(str(value), sa.Text, literal_execute=True)


def is_among(column: sa.ColumnElement[Any], values: Sequence[str]) -> sa.ColumnElement[bool]:
    """Match a column that holds one of these constants."""
    return column.in_(_constants(values))


def is_none_of(column: sa.ColumnElement[Any], values: Sequence[str]) -> sa.ColumnElement[bool]:
    """Match a column that holds none of these constants, and is not null."""
    return column.not_in(_constants(values))


def differs(column: sa.ColumnElement[Any], value: str) -> sa.ColumnElement[bool]:
    """Match a column that is null or holds another value than this constant."""
    return column.is_distinct_from(sa.literal(str(value), sa.Text, literal_execute=True))


def _constants(values: Sequence[str]) -> sa.BindParameter[Any]:
    given = [str(each) for each in values]
    return sa.bindparam(
        None, given, type_=sa.Text, expanding=True, literal_execute=True, unique=True
    )
