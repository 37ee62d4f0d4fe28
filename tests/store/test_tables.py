"""Tables: the database allows only the words of the code, has its comments, and each set of states has one definition.

A row of an item is not checked against a row that its statement has read already.
"""

import re
from pathlib import Path

import pytest
from sqlalchemy import Connection, literal_column, select, text

from lanes import words
from lanes.store.states import format_list
from lanes.store.tables import item, metadata, work
from lanes.store.tables.base import Word
from lanes.words import Lane, Purpose, WorkState
from tests.conftest import NOON
from tests.examples import admit, publish, route

CHECKS = text("""
    select a.attrelid::regclass || '.' || a.attname as of, pg_get_constraintdef(c.oid) as allows
      from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = any(c.conkey)
     where connamespace = 'lanes'::regnamespace and contype = 'c' and conname like '%\\_known' and coninhcount = 0
""")
ENFORCED = text("""
    select conname from pg_constraint
     where contype = 'f' and conenforced
       and conrelid::regclass::text in ('lanes.item', 'lanes.route', 'lanes.work', 'lanes.batch_member', 'lanes.response',
                                        'lanes.attempt', 'lanes.result')
""")
WORDS = {
    f"{table.fullname}.{column.name}": set(column.type.words.__members__.values())
    for table in metadata.sorted_tables
    for column in table.columns
    if isinstance(column.type, Word)
    and column.computed is None  # a computed column takes its word from a column with a check
}
ALEMBICS_OWN = "alembic_version"
NAMED = [
    set(each)
    for each in (
        words.OPEN_WORK,
        words.LIVE_CLAIM,
        words.OUTSIDE_BATCHES,
        words.UNCLAIMED,
        words.FINISHED_WORK,
    )
]
LIST = re.compile(r"\(((?:'\w+'(?:, )?){2,})\)")
ROOT = Path(__file__).parents[2]


def test_the_database_allows_exactly_the_words_of_the_code(connection: Connection) -> None:
    allowed = {row.of: set(row.allows.split("'")[1::2]) for row in connection.execute(CHECKS)}
    assert allowed == {of: WORDS.get(of) for of in allowed}


def test_the_code_and_the_database_have_the_same_checks_of_words(connection: Connection) -> None:
    checked = {
        f"{table.fullname}.{str(constraint.name).removeprefix(f'ck_{table.name}_').removesuffix('_known')}"
        for table in metadata.sorted_tables
        for constraint in table.constraints
        if str(constraint.name).endswith("_known")
    }
    assert checked == {row.of for row in connection.execute(CHECKS)}


def test_every_column_of_words_has_a_check(connection: Connection) -> None:
    assert set(WORDS) == {row.of for row in connection.execute(CHECKS)}


def test_a_row_contains_words_as_enum_members_and_null_as_none(connection: Connection) -> None:
    publish(connection, now=NOON)
    admit(connection, "a", now=NOON, lane=Lane.REALTIME)
    admit(connection, "b", now=NOON)
    route(connection, now=NOON)
    columns = (item.c.pin, work.c.lane, work.c.purpose, work.c.state)
    pinned, free = connection.execute(
        select(*columns).join(work, work.c.item_id == item.c.id).order_by(item.c.key)
    )
    assert (pinned.pin, pinned.lane, pinned.purpose, pinned.state) == (
        Lane.REALTIME,
        Lane.REALTIME,
        Purpose.ANSWER,
        WorkState.READY,
    )
    assert [type(each) for each in pinned] == [Lane, Lane, Purpose, WorkState]
    assert free.pin is None


def test_an_unknown_word_raises_an_error_that_lists_the_known_words(connection: Connection) -> None:
    with pytest.raises(LookupError, match="'sideways' in the database is no Lane: realtime, batch"):
        connection.execute(select(literal_column("'sideways'", Word(Lane)))).all()


def test_no_table_that_an_item_passes_through_enforces_a_foreign_key(
    connection: Connection,
) -> None:
    assert connection.execute(ENFORCED).scalars().all() == []


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


def lists(path: Path) -> list[set[str]]:
    """Return the lists of work states that a file writes out."""
    found = (set(re.findall(r"\w+", each)) for each in LIST.findall(path.read_text()))
    states = {str(each) for each in WorkState}
    return [each for each in found if each <= states and each & set(words.OPEN_WORK)]


@pytest.mark.parametrize(
    "path", sorted((ROOT / "migrations/schema/current").rglob("*.sql")), ids=lambda path: path.stem
)
def test_a_list_of_states_in_an_sql_file_is_a_named_set(path: Path) -> None:
    assert [each for each in lists(path) if each not in NAMED] == []


def test_no_statement_in_python_writes_out_a_set_of_states() -> None:
    of_python = [*(ROOT / "lanes").rglob("*.py"), *(ROOT / "tasks").rglob("*.py")]
    tables = ROOT / "lanes/store/tables"
    assert [path for path in of_python if tables not in path.parents and lists(path)] == []


def test_every_state_is_open_or_finished() -> None:
    assert {*words.OPEN_WORK} ^ {*words.FINISHED_WORK} == set(WorkState)
    assert format_list(words.LIVE_CLAIM) == "('claimed', 'submitted')"
