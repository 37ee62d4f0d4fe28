"""Parts of statements: many rows as one JSON document, fetches bounded by bytes, and constants in the statement's text.

With one document for all rows, the statement is the same for any number of rows. A document is several times as fast as one
array per column, or as a COPY into a temporary table. Rows with many equal values are sent as two documents: one with the
common values, one with the rest of each row. Payload sizes are counted as in `lanes.json_data`. Constants in a statement's text
let generic plans use partial indexes.
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

Row = Mapping[str, Any]  # by column name; all rows of a call have the same names
ROWS, ALIKE = "own", "alike"
_ABSENT = object()


def rows_of(table: sa.FromClause, rows: Sequence[Row]) -> sa.FromClause:
    """Return the rows as a table `given`, with the columns of `table` that the rows name. Bytes are not supported."""
    columns = [sa.column(name, table.c[name].type) for name in rows[0]]
    return records(columns, sa.literal(document_of(rows), sa.Text))


def records(
    columns: Sequence[sa.ColumnClause[Any]], document: sa.ColumnElement[str]
) -> sa.FromClause:
    """Return a JSON document as a table `given` with these columns; missing values are null."""
    return (
        sa.func.json_to_recordset(document.cast(sa.JSON))
        .table_valued(*columns, name="given")
        .render_derived(with_types=True)
    )


def split_records(columns: Sequence[sa.ColumnClause[Any]]) -> sa.Select[*tuple[Any, ...]]:
    """Select these columns from the two documents of `split`, joined into rows; missing values are null."""
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
    """Return the parameters of `split_records`: a document of the common values, and one of the rest of each row.

    JSON values (dicts and lists) never count as common: Python regards 1, 1.0 and true as equal, but in JSON they differ.
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
    """Return the rows as a JSON list of objects, without loss, for all column types except bytes."""
    return json_data.dumps(rows, default=_plain)


def _plain(value: Any) -> Any:
    match value:
        case Decimal() | UUID():
            return str(value)
        case datetime():
            return value.isoformat()
    raise TypeError(f"a value of the type {type(value).__name__} cannot travel in a document")


def insert_rows(table: sa.Table, rows: Sequence[Row]) -> Insert:
    """Return an insert of all rows; a RETURNING clause yields them in any order."""
    given = rows_of(table, rows)
    return insert(table).from_select(list(rows[0]), sa.select(*given.c))


def one_of(values: Sequence[Any] | set[Any], of: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
    """Match a column that equals one of the values, which are sent as one array."""
    return of == sa.any_(sa.literal(list(values), sa.ARRAY(of.type, dimensions=1)))


def characters(payload: sa.ColumnElement[Any]) -> sa.ColumnElement[int]:
    """Count the characters of a payload as JSON; cost estimates use this number."""
    return sa.func.length(payload.cast(sa.Text))


def octets(payload: sa.ColumnElement[Any]) -> sa.ColumnElement[int]:
    """Count the bytes of a payload as JSON; limits on memory and on the input of doors use this number."""
    return sa.func.octet_length(payload.cast(sa.Text))


def call_bytes(payload: sa.ColumnElement[Any]) -> sa.ColumnElement[int]:
    """Return an upper bound of the bytes that a payload takes in the body of a call."""
    return sa.func.octet_length(
        sa.func.to_json(sa.func.jsonb_pretty(payload)).cast(sa.Text)
    ) + octets(payload)


Given = Mapping[str, Any]
NOTHING: Given = {}
FIRST = 20  # rows of the first fetch, before their size is known
MOST = 1_000  # rows of one fetch
FETCHED_BYTES = 2 * 1024**2  # target size of a fetch


def size_of(payload: sa.ColumnElement[Any]) -> sa.Label[int]:
    """Return the column `bytes` of payload sizes, which `fetch_rows` and `stream_rows` add up."""
    return octets(payload).label("bytes")


def fetch_rows(
    connection: sa.Connection,
    query: sa.Select[*tuple[Any, ...]],
    given: Given = NOTHING,
    *,
    most: int,
    most_bytes: int,
) -> list[Any]:
    """Return the rows of `stream_rows` as a list, for a query of up to `most` rows; up to `FIRST` rows need no stream."""
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
    """Yield the first rows of a query until their total size (see `size_of`) reaches `most_bytes`, but at least one row.

    Rows are fetched a few at a time; a query with FOR UPDATE locks each row when it is fetched. The unused rows of the last
    fetch are skipped, and stay locked until the transaction ends.
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
            if len(part) < fetch:  # the query has no more rows
                return
            fetch = max(1, min(MOST, FETCHED_BYTES * found // size)) if size else MOST


def is_(column: sa.ColumnElement[Any], value: str) -> sa.ColumnElement[bool]:
    """Match a column that equals this constant."""
    return column == sa.literal(str(value), sa.Text, literal_execute=True)


def is_among(column: sa.ColumnElement[Any], values: Sequence[str]) -> sa.ColumnElement[bool]:
    """Match a column that equals one of these constants."""
    return column.in_(_constants(values))


def is_none_of(column: sa.ColumnElement[Any], values: Sequence[str]) -> sa.ColumnElement[bool]:
    """Match a column that equals none of these constants and is not null."""
    return column.not_in(_constants(values))


def differs(column: sa.ColumnElement[Any], value: str) -> sa.ColumnElement[bool]:
    """Match a column that is null or differs from this constant."""
    return column.is_distinct_from(sa.literal(str(value), sa.Text, literal_execute=True))


def _constants(values: Sequence[str]) -> sa.BindParameter[Any]:
    given = [str(each) for each in values]
    return sa.bindparam(
        None, given, type_=sa.Text, expanding=True, literal_execute=True, unique=True
    )
