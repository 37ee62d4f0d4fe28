"""Many rows in one statement: they travel as one JSON document, so the statement is the same for any number of rows.

A document is several times as fast as an array per column, or a COPY into a temporary table. Rows that have much in common
travel as two documents: the common values once, and the rest of each row.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
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
