"""Many rows in one statement: each column travels as one array, so the statement stays the same however many rows come."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ARRAY, ColumnElement, FromClause, Table, Update, any_, column, func, literal, select, update
from sqlalchemy.dialects.postgresql import Insert, insert

Row = Mapping[str, Any]  # by the names of the table's columns; every row of a call has the same


def rows_of(table: FromClause, rows: Sequence[Row]) -> FromClause:
    """The rows as a table `given` with the columns of `table` that they name. Not for columns that hold arrays."""
    names = list(rows[0])
    arrays = [literal([row[name] for row in rows], ARRAY(table.c[name].type, dimensions=1)) for name in names]
    columns = [column(name, table.c[name].type) for name in names]
    return func.unnest(*arrays).table_valued(*columns, name="given").render_derived()


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
