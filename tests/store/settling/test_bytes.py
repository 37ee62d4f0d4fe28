"""What a save costs the database: a handful of statements, few bytes, and no look at the history."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, text

from lanes.words import Outcome
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.tries import A, B, claim, save, submit, tried

KEYS = [f"k{n}" for n in range(200)]


@pytest.fixture
def statements(connection: Connection) -> Iterator[list[str]]:
    """What is asked on the connection from now on."""
    asked: list[str] = []

    def ask(conn: Any, cursor: Any, statement: str, *_: Any) -> None:
        asked.append(statement)

    event.listen(connection, "before_cursor_execute", ask)
    yield asked
    event.remove(connection, "before_cursor_execute", ask)


def updates(connection: Connection) -> tuple[int, int]:
    """How many items were updated lately, and how many of them without a change of an index."""
    told = "select n_tup_upd, n_tup_hot_upd from pg_stat_xact_user_tables where relname = 'item'"
    return connection.execute(text(told)).one()._tuple()


@pytest.mark.slow
def test_nearly_every_answer_changes_no_index_of_its_item(pool: Engine) -> None:
    with pool.begin() as connection:
        publish(connection, now=NOON)
        admit(connection, *KEYS, now=NOON, lane="realtime")
    with pool.begin() as connection:
        route(connection, now=NOON)
    with pool.begin() as connection:
        claimed = claim(connection, places=len(KEYS))
    with pool.begin() as connection:
        before, _ = updates(connection)
        assert save(connection, *map(tried, claimed)).answered == len(KEYS)
        after, in_place = updates(connection)
    assert after - before == len(KEYS)
    assert in_place >= 0.75 * len(KEYS)  # where a page ends, one has no room beside it


@pytest.mark.parametrize("many", [1, 50])
def test_a_save_asks_the_same_few_statements_however_much_it_saves(
    connection: Connection, statements: list[str], many: int
) -> None:
    publish(connection, now=NOON)
    admit(connection, *KEYS[:many], now=NOON, lane="realtime")
    route(connection, now=NOON)
    claimed = claim(connection, places=many)
    statements.clear()
    assert save(connection, *map(tried, claimed)).answered == many
    assert len(statements) == 4


def test_so_do_corrections_and_failures(connection: Connection, statements: list[str]) -> None:
    letters = publish(connection, now=NOON, mode="lambda", max_failures=1, split_percent=100)
    admit(connection, *KEYS[:40], now=NOON)
    route(connection, now=NOON)
    claimed = claim(connection, places=40)
    statements.clear()
    save(
        connection,
        *(tried(each, output=A) for each in claimed[:30]),
        *(tried(each, Outcome.INVALID) for each in claimed[30:]),
    )
    assert len(statements) <= 14  # also what else is owed, passes, and routes to the batch lane
    batch_id, waiting = submit(connection, letters, now=later(minutes=1))
    statements.clear()
    saved = save(connection, *(tried(each, output=B) for each in waiting), batch_id=batch_id)
    assert (saved.answered, saved.corrected) == (40, 30)
    assert len(statements) <= 9
