"""How a database comes to have what migrations/schema/current/ says: what differs is replaced, and nothing else is touched.

What is in force already is compared with a temporary twin, without a lock on it: a reader's open transaction holds up only the
replacing of a view that it has read.
"""

from collections.abc import Mapping, Sequence

from psycopg.errors import DuplicateObject, InvalidFunctionDefinition, InvalidTableDefinition
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, ProgrammingError
from sqlalchemy.schema import (
    DropColumnComment,
    DropTableComment,
    SetColumnComment,
    SetTableComment,
)

from lanes.errors import SetupError
from lanes.store.current.catalog import Definition, definitions, leaning_on, run, wanted
from lanes.store.current.files import Piece
from lanes.store.tables import SCHEMA, metadata

IRREPLACEABLE = (
    InvalidTableDefinition | InvalidFunctionDefinition | DuplicateObject
)  # a column less, another return, a type

_COMMENTS = text(f"""
select c.relname, null as attname, obj_description(c.oid, 'pg_class') as comment
  from pg_class c where relnamespace = '{SCHEMA}'::regnamespace
union all
select c.relname, attname, col_description(c.oid, attnum)
  from pg_class c join pg_attribute on attrelid = c.oid where relnamespace = '{SCHEMA}'::regnamespace
""")


def put_in_force(connection: Connection, said: Sequence[Piece]) -> list[str]:
    """The database has what the files say, each read after those that it uses; returns the files that it differed from.

    What cannot be replaced as it stands (a view loses a column, a function has other arguments) is dropped with what of ours
    leans on it, and all of that is made anew.

    Raises:
        SetupError: somebody else's view or function leans on what must be dropped.
    """
    differed: list[str] = []
    in_force = definitions(connection)
    foreseen = _foreseen(connection, said, in_force)
    for piece in said:
        stand = _of(piece, in_force)
        to_stand = foreseen.of(piece) if stand else None
        if to_stand and _is_as(stand, to_stand):
            continue
        differed.append(piece.file)
        foreseen.changes(piece)
        in_place = all(to_stand and each.identity == to_stand.identity for each in stand)
        if not (in_place and _replaced(connection, piece)):
            _drop(connection, stand, ours=[each for other in said for each in _of(other, in_force)])
            run(connection, piece.sql)
            in_force = definitions(connection)
    return differed


def put_comments(connection: Connection) -> None:
    """Comment tables and columns as lanes/store/tables/ does, where the database differs."""
    found = {(row.relname, row.attname): row.comment for row in connection.execute(_COMMENTS)}
    for table in metadata.sorted_tables:
        if table.comment != found[table.name, None]:
            connection.execute(SetTableComment(table) if table.comment else DropTableComment(table))
        for column in table.columns:
            if column.comment != found[table.name, column.name]:
                connection.execute(
                    SetColumnComment(column) if column.comment else DropColumnComment(column)
                )


def differences(connection: Connection, said: Sequence[Piece]) -> list[str]:
    """What of the files the database has not or otherwise, and what it has beyond them; a sentence each."""
    in_force = definitions(connection)
    foreseen = _foreseen(connection, said, in_force)
    known = {each for piece in said for each in _of(piece, in_force)}
    return [
        *(
            f"{piece.kind} {piece.name} is not as {piece.file}.sql says"
            for piece in said
            if not (stand := _of(piece, in_force)) or not _is_as(stand, foreseen.of(piece))
        ),
        *(f"{each.kind} {each.identity} has no file" for each in in_force if each not in known),
    ]


class _Foreseen:
    """What the database would have of each piece: found out for all at once, and again for what uses what was changed since."""

    def __init__(self, connection: Connection, found: Mapping[tuple[str, str], Definition]) -> None:
        self._connection, self._found, self._changed = connection, found, list[Piece]()

    def of(self, piece: Piece) -> Definition:
        known = self._found.get((piece.kind, piece.name))
        if known is not None and not any(piece.uses(each) for each in self._changed):
            return known
        self._changed.append(piece)  # for those that use it in turn
        return wanted(self._connection, [piece])[piece.kind, piece.name]

    def changes(self, piece: Piece) -> None:
        """The piece is put in force."""
        self._changed.append(piece)


def _foreseen(
    connection: Connection, said: Sequence[Piece], in_force: list[Definition]
) -> _Foreseen:
    """For those that are in force in some form; one by one where some use what is not in force yet."""
    standing = [piece for piece in said if _of(piece, in_force)]
    try:
        return _Foreseen(connection, wanted(connection, standing) if standing else {})
    except ProgrammingError:
        return _Foreseen(connection, {})


def _of(piece: Piece, found: list[Definition]) -> list[Definition]:
    return [each for each in found if (each.kind, each.name) == (piece.kind, piece.name)]


def _is_as(stand: list[Definition], to_stand: Definition) -> bool:
    return len(stand) == 1 and stand[0].is_as(to_stand)


def _replaced(connection: Connection, piece: Piece) -> bool:
    try:
        with connection.begin_nested():
            run(connection, piece.sql)
    except DBAPIError as error:
        if not isinstance(error.orig, IRREPLACEABLE):
            raise
        return False
    return True


def _drop(connection: Connection, leaving: list[Definition], *, ours: list[Definition]) -> None:
    known = {each.identity for each in ours}
    for each in leaving:
        for kind, identity in leaning_on(connection, each):
            if identity not in known:
                raise SetupError(
                    f"{kind} {identity} uses {each.kind} {each.identity}, which this upgrade makes anew: drop it, upgrade, and "
                    "create it again"
                )
    for each in leaving:
        connection.execute(text(f"drop {each.kind} if exists {each.identity} cascade"))
