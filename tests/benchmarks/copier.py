"""Rows into tables by COPY, with numbers from the database's own sequences."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import psycopg
from psycopg import sql

from tests.benchmarks.stored_rows import Stored, Values, tables


class Copier:
    """A writer of the rows of one table; the database fills the columns in `leaves`."""

    def __init__(self, of: Stored, *, leaves: Sequence[str] = ()) -> None:
        self._places = [place for place, name in enumerate(of.columns) if name not in leaves]
        self._statement = sql.SQL("copy {} ({}) from stdin").format(
            sql.Identifier("lanes", of.name),
            sql.SQL(", ").join(sql.Identifier(of.columns[place]) for place in self._places),
        )

    def copy(self, cursor: psycopg.Cursor, rows: Iterable[Values]) -> None:
        """Copy the rows into the table."""
        places = self._places
        told = b"\n".join(b"\t".join([row[place] for place in places]) for row in rows)
        with cursor.copy(self._statement) as copy:
            copy.write(told + b"\n")


def without_triggers(connection: psycopg.Connection) -> None:
    """Let the floor write the rows that the product's triggers write; foreign keys are still checked."""
    for table in tables(connection):
        connection.execute(
            sql.SQL("alter table {} disable trigger user").format(sql.Identifier("lanes", table))
        )
    connection.commit()


def new_numbers(
    connection: psycopg.Connection, number: int, tables: Sequence[str], *sequences: str
) -> list[list[int]]:
    """Return new numbers of each sequence, in one statement."""
    names = [f"lanes.{table}_id_seq" for table in tables] + list(sequences)
    asked = sql.SQL(", ").join(sql.SQL("nextval({})").format(sql.Literal(name)) for name in names)
    rows: list[Any] = connection.execute(
        sql.SQL("select {} from generate_series(1, {})").format(asked, sql.Literal(number))
    ).fetchall()
    return [list(column) for column in zip(*rows, strict=True)]


def parts(rows: list[Values], number: int) -> dict[int, list[Values]]:
    """Return the rows in `number` parts of about the same size, keyed from 0."""
    found: dict[int, list[Values]] = defaultdict(list)
    for place, row in enumerate(rows):
        found[place * number // len(rows)].append(row)
    return found


def escaped(value: bytes) -> bytes:
    """Escape JSON for COPY: the text has no line breaks or tabs, but backslashes."""
    return value.replace(b"\\", b"\\\\")


def unescaped(value: bytes) -> bytes:
    """Return the text before it was escaped."""
    return value.replace(b"\\\\", b"\\")
