"""Columns of a closed set: the database allows the words of the code and no others, and a row holds them as words.

And no row of an item costs a look at a row that its statement has read.
"""

import pytest
from sqlalchemy import Connection, literal_column, select, text

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
    and column.computed is None  # that takes its word from a column with a check
}


def test_the_database_allows_exactly_the_words_of_the_code(connection: Connection) -> None:
    allowed = {row.of: set(row.allows.split("'")[1::2]) for row in connection.execute(CHECKS)}
    assert allowed == {of: WORDS.get(of) for of in allowed}


def test_the_code_has_a_check_of_words_for_each_that_the_database_has(
    connection: Connection,
) -> None:
    checked = {
        f"{table.fullname}.{str(constraint.name).removeprefix(f'ck_{table.name}_').removesuffix('_known')}"
        for table in metadata.sorted_tables
        for constraint in table.constraints
        if str(constraint.name).endswith("_known")
    }
    assert checked == {row.of for row in connection.execute(CHECKS)}


def test_every_column_of_words_has_a_check(connection: Connection) -> None:
    assert set(WORDS) == {row.of for row in connection.execute(CHECKS)}


def test_a_row_holds_words_and_nothing_where_there_is_none(connection: Connection) -> None:
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


def test_a_text_that_is_no_word_is_said_with_those_that_are(connection: Connection) -> None:
    with pytest.raises(LookupError, match="'sideways' in the database is no Lane: realtime, batch"):
        connection.execute(select(literal_column("'sideways'", Word(Lane)))).all()


def test_no_row_that_an_item_leaves_is_checked_against_another(connection: Connection) -> None:
    assert connection.execute(ENFORCED).scalars().all() == []
