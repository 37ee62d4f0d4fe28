"""The database explains itself: every table, view and function of schema `lanes` says what it is."""

import pytest
from sqlalchemy import Connection, text

from lanes.store.tables import metadata

ALEMBICS_OWN = "alembic_version"


@pytest.mark.parametrize(
    ("kind", "query"),
    [
        (
            "tables",
            "select relname, obj_description(oid, 'pg_class') from pg_class"
            " where relnamespace = 'lanes'::regnamespace and relkind = 'r'",
        ),
        (
            "views",
            "select relname, obj_description(oid, 'pg_class') from pg_class"
            " where relnamespace = 'lanes'::regnamespace and relkind in ('v', 'm')",
        ),
        (
            "functions",
            "select proname, obj_description(oid, 'pg_proc') from pg_proc"
            " where pronamespace = 'lanes'::regnamespace",
        ),
    ],
)
def test_everything_in_the_schema_has_a_comment(
    connection: Connection, kind: str, query: str
) -> None:
    found = {
        name: comment for name, comment in connection.execute(text(query)) if name != ALEMBICS_OWN
    }
    assert found
    assert [name for name, comment in found.items() if not comment] == []


def test_the_comments_of_the_code_are_in_the_database(connection: Connection) -> None:
    query = text("select col_description(cast(:name as regclass), :number)")
    numbers = {
        (table, column): number
        for table, column, number in connection.execute(
            text(
                "select attrelid::regclass::text, attname, attnum from pg_attribute where attnum > 0"
            )
        )
    }
    differing = [
        f"{table.fullname}.{column.name}"
        for table in metadata.sorted_tables
        for column in table.columns
        if column.comment
        and connection.execute(
            query, {"name": table.fullname, "number": numbers[(table.fullname, column.name)]}
        ).scalar_one()
        != column.comment
    ]
    assert differing == []


def test_the_tables_of_the_code_have_their_comments_in_the_database(connection: Connection) -> None:
    query = text("select obj_description(cast(:name as regclass), 'pg_class')")
    told = {
        table.fullname: connection.execute(query, {"name": table.fullname}).scalar_one()
        for table in metadata.sorted_tables
    }
    assert told == {table.fullname: table.comment for table in metadata.sorted_tables}


def test_every_column_of_every_view_has_a_comment(connection: Connection) -> None:
    found = connection.execute(
        text(
            "select c.relname || '.' || a.attname, col_description(c.oid, a.attnum) from pg_class c"
            " join pg_attribute a on a.attrelid = c.oid"
            " where c.relnamespace = 'lanes'::regnamespace and c.relkind in ('v', 'm') and a.attnum > 0 and not attisdropped"
        )
    ).all()
    assert len(found) > 200
    assert [name for name, comment in found if not comment] == []
