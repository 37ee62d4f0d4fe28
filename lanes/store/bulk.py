"""Many rows in one statement: they travel as one JSON document, so the statement stays the same however many rows come.

A document is written and read several times as fast as an array for each column, and as a COPY into a table of its own.
"""

from collections.abc import Mapping, Sequence
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
    Table,
    Text,
    Update,
    any_,
    column,
    func,
    literal,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import Insert, insert

from lanes import exact_json

Row = Mapping[str, Any]  # by the names of the table's columns; every row of a call has the same


def rows_of(table: FromClause, rows: Sequence[Row]) -> FromClause:
    """The rows as a table `given` with the columns of `table` that they name. Not for columns that hold bytes."""
    return records([column(name, table.c[name].type) for name in rows[0]], literal(document_of(rows), Text))


def records(columns: Sequence[ColumnClause[Any]], document: ColumnElement[str]) -> FromClause:
    """A document as a table `given` with these columns; what a row of it does not name is null."""
    return func.json_to_recordset(document.cast(JSON)).table_valued(*columns, name="given").render_derived(with_types=True)


def document_of(rows: Sequence[Row]) -> str:
    """The rows as a JSON list of objects, exactly: of every type that a column of ours has, but for bytes."""
    return exact_json.dumps(rows, default=_plain)


def _plain(value: Any) -> Any:
    match value:
        case Decimal():
            return str(value)
        case datetime():
            return value.isoformat()
        case UUID():
            return str(value)
        case _:
            raise TypeError(f"a value of the type {type(value).__name__} cannot travel in a document")


def insert_rows(table: Table, rows: Sequence[Row]) -> Insert:
    """Inserts every row; the order of what it returns is not that of the rows."""
    given = rows_of(table, rows)
    return insert(table).from_select(list(rows[0]), select(*given.c))


def update_rows(table: Table, rows: Sequence[Row], *, key: str) -> tuple[Update, FromClause]:
    """Updates the row of each key with the other columns named; and the table `given`, for expressions over both."""
    given = rows_of(table, rows)
    changes = {name: given.c[name] for name in rows[0] if name != key}
    return update(table).where(table.c[key] == given.c[key]).values(changes), given


def one_of(values: Sequence[Any] | set[Any], of: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether the column holds one of the values, which travel as one array."""
    return of == any_(literal(list(values), ARRAY(of.type, dimensions=1)))
