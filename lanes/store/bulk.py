"""Many rows in one statement: they travel as one JSON document, so the statement stays the same however many rows come.

A document is written and read several times as fast as an array for each column, and as a COPY into a table of its own. Many
rows of which much is alike travel as two: what all of them say, once, and what is left of each.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    JSON,
    ColumnClause,
    ColumnElement,
    FromClause,
    Select,
    Table,
    Text,
    any_,
    bindparam,
    column,
    func,
    literal,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import Insert, insert

from lanes import json_data

Row = Mapping[str, Any]  # by the names of the table's columns; every row of a call has the same
ROWS, ALIKE = "own", "alike"
_ABSENT = object()


def rows_of(table: FromClause, rows: Sequence[Row]) -> FromClause:
    """The rows as a table `given` with the columns of `table` that they name. Not for columns that hold bytes."""
    return records(
        [column(name, table.c[name].type) for name in rows[0]], literal(document_of(rows), Text)
    )


def records(columns: Sequence[ColumnClause[Any]], document: ColumnElement[str]) -> FromClause:
    """A document as a table `given` with these columns; what a row of it does not name is null."""
    return (
        func.json_to_recordset(document.cast(JSON))
        .table_valued(*columns, name="given")
        .render_derived(with_types=True)
    )


def split_records(columns: Sequence[ColumnClause[Any]]) -> Select[*tuple[Any, ...]]:
    """The rows of the two documents that `split` makes, with these columns; what a row does not name is null."""
    each, alike = (
        of(bindparam(name, type_=Text).cast(JSON))
        .table_valued(*columns, name=name)
        .render_derived(with_types=True)
        for of, name in ((func.json_to_recordset, ROWS), (func.json_to_record, ALIKE))
    )
    both = (
        func.coalesce(each.c[of.name], alike.c[of.name], type_=of.type).label(of.name)
        for of in columns
    )
    return select(*both).select_from(each.join(alike, true()))


def split(rows: Sequence[Row]) -> dict[str, str]:
    """The parameters of `split_records`: what all rows say alike is said once. Values within JSON are never compared: there 1,
    1.0 and true differ."""
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
    """The rows as a JSON list of objects, exactly: of every type that a column of ours has, but for bytes."""
    return json_data.dumps(rows, default=_plain)


def _plain(value: Any) -> Any:
    match value:
        case Decimal():
            return str(value)
        case datetime():
            return value.isoformat()
        case UUID():
            return str(value)
        case _:
            raise TypeError(
                f"a value of the type {type(value).__name__} cannot travel in a document"
            )


def insert_rows(table: Table, rows: Sequence[Row]) -> Insert:
    """Inserts every row; the order of what it returns is not that of the rows."""
    given = rows_of(table, rows)
    return insert(table).from_select(list(rows[0]), select(*given.c))


def one_of(values: Sequence[Any] | set[Any], of: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether the column holds one of the values, which travel as one array."""
    return of == any_(literal(list(values), ARRAY(of.type, dimensions=1)))
