"""How a database comes to have what migrations/schema/current/ says: what differs is replaced, and nothing else is touched.

A reader's open transaction holds up only the replacing of a view that it has read: what is in force already is compared with a
temporary twin, without a lock on it.
"""

from psycopg.errors import InvalidFunctionDefinition, InvalidTableDefinition
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from lanes.errors import SetupError
from lanes.store.current.catalog import Definition, definitions, leaning_on, run, wanted
from lanes.store.current.files import Piece, pieces


def put_in_force(connection: Connection) -> list[str]:
    """The database has what the files say; returns the files that it differed from.

    What cannot be replaced as it stands (a view loses a column, a function has other arguments) is dropped with what of ours
    leans on it, and all of that is made anew.

    Raises:
        SetupError: somebody else's view or function leans on what must be dropped.
    """
    return [piece.file for piece in pieces() if _put(connection, piece)]


def differences(connection: Connection) -> list[str]:
    """What of the files the database has not or otherwise, and what it has beyond them; a sentence each."""
    said = {(piece.kind, piece.name): piece for piece in pieces()}
    beyond = [each for each in definitions(connection) if (each.kind, each.name) not in said]
    return [
        *(f"{piece.kind} {piece.name} is not as {piece.file}.sql says" for piece in pieces() if not _stands(connection, piece)),
        *(f"{each.kind} {each.identity} has no file" for each in beyond),
    ]


def _stands(connection: Connection, piece: Piece) -> bool:
    had = definitions(connection, piece)
    return bool(had) and had == [wanted(connection, piece)]


def _put(connection: Connection, piece: Piece) -> bool:
    had = definitions(connection, piece)
    if had:
        to_have = wanted(connection, piece)
        if had == [to_have]:
            return False
        if piece.kind == "type" or any(each.identity != to_have.identity for each in had):
            _drop(connection, had)
    try:
        with connection.begin_nested():
            run(connection, piece.sql)
    except DBAPIError as error:
        if not isinstance(error.orig, InvalidTableDefinition | InvalidFunctionDefinition):
            raise
        _drop(connection, had)
        run(connection, piece.sql)
    return True


def _drop(connection: Connection, leaving: list[Definition]) -> None:
    said = {(piece.kind, piece.name) for piece in pieces()}
    ours = {each.identity for each in definitions(connection) if (each.kind, each.name) in said}
    for each in leaving:
        for kind, identity in leaning_on(connection, each):
            if identity not in ours:
                raise SetupError(
                    f"{kind} {identity} uses {each.kind} {each.identity}, which this upgrade makes anew: drop it, upgrade, "
                    "and create it again"
                )
    for each in leaving:
        connection.execute(text(f"drop {each.kind} if exists {each.identity} cascade"))
