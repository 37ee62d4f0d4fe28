"""The rows that Lanes wrote into a database, as text, and whether another database has the same rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import LiteralString

import psycopg
from psycopg import sql

Values = list[bytes]  # of one row, by the table's columns; as COPY writes them
NULL = b"\\N"
GIVEN = "message_id"  # the only column called ..._id that we do not assign


@dataclass(frozen=True)
class StoredColumn:
    """A column of a table; `is_ours`: a number, id or moment that differs from one database to the next."""

    name: str
    is_ours: bool


@dataclass
class Stored:
    """A table with its rows."""

    name: str
    columns: Sequence[str]
    rows: list[Values]

    def place(self, column: str) -> int:
        """Return the index of a column in a row."""
        return self.columns.index(column)


def tables(connection: psycopg.Connection) -> list[str]:
    """Return the names of the tables of schema `lanes`."""
    return [
        name
        for (name,) in connection.execute(
            "select tablename from pg_tables where schemaname = 'lanes' order by 1"
        )
        if name != "alembic_version"
    ]


def columns(
    connection: psycopg.Connection, table: str, leaving: Sequence[str] = ()
) -> list[StoredColumn]:
    """Return the writable columns of a table of schema `lanes`; those in `leaving` count as ours."""
    rows = connection.execute(
        "select column_name, column_name like '%%id' and column_name <> %s or column_name in ('position', 'spec')"
        "       or data_type = 'timestamp with time zone' or column_name = any (%s)"
        "  from information_schema.columns"
        " where table_schema = 'lanes' and table_name = %s and is_generated = 'NEVER' order by ordinal_position",
        [GIVEN, list(leaving), table],
    )
    return [StoredColumn(*row) for row in rows]


def read(connection: psycopg.Connection, table: str, *, order_by: LiteralString) -> Stored:
    """Return the table with its rows, in order of `order_by`."""
    names = [each.name for each in columns(connection, table)]
    asked = sql.SQL("copy (select {} from {} order by {}) to stdout").format(
        sql.SQL(", ").join(map(sql.Identifier, names)),
        sql.Identifier("lanes", table),
        sql.SQL(order_by),
    )
    with connection.cursor() as cursor, cursor.copy(asked) as copy:
        told = b"".join(copy)
    return Stored(table, names, [line.split(b"\t") for line in told.splitlines()])


def summed_up(
    connection: psycopg.Connection, leaving: Sequence[str] = ()
) -> dict[str, dict[str, str]]:
    """Return, for each table, the number of its rows and a digest of the values of each column in any order.

    For our own ids and moments, and for columns in `leaving`, return only the number of values.
    """
    return {table: _of(connection, table, leaving) for table in tables(connection)}


def _of(connection: psycopg.Connection, table: str, leaving: Sequence[str]) -> dict[str, str]:
    known = columns(connection, table, leaving)
    asked = sql.SQL("select count(*)::text, {} from {}").format(
        sql.SQL(", ").join(map(_digest, known)), sql.Identifier("lanes", table)
    )
    (rows, *values) = connection.execute(asked).fetchone() or ("0",)
    return {"rows": rows} | dict(zip([each.name for each in known], values, strict=True))


def _digest(column: StoredColumn) -> sql.Composable:
    name = sql.Identifier(column.name)
    if column.is_ours:
        return sql.SQL("count({})::text").format(name)
    digest = sql.SQL("coalesce(md5(string_agg({}::text, ',' order by {}::text)), '')").format(
        name, name
    )
    return sql.SQL("{} || ' ' || count({})").format(digest, name)


def differences(ours: dict[str, dict[str, str]], theirs: dict[str, dict[str, str]]) -> list[str]:
    """Return the columns in which two databases differ, as sentences."""
    return [
        f"{table}.{name}: {ours[table].get(name)} in Lanes, {theirs[table].get(name)} in the floor"
        for table in ours
        for name in ours[table]
        if ours[table].get(name) != theirs.get(table, {}).get(name)
    ]
