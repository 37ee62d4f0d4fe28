"""The database cost of a save: a handful of statements, few bytes, and no read of the history."""

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
    """Yield the list of statements that the connection executes from now on."""
    asked: list[str] = []

    def ask(conn: Any, cursor: Any, statement: str, *_: Any) -> None:
        asked.append(statement)

    event.listen(connection, "before_cursor_execute", ask)
    yield asked
    event.remove(connection, "before_cursor_execute", ask)


def updates(connection: Connection) -> tuple[int, int]:
    """Return how many items this transaction updated, and how many of these updates changed no index."""
    told = "select n_tup_upd, n_tup_hot_upd from pg_stat_xact_user_tables where relname = 'item'"
    return connection.execute(text(told)).one()._tuple()


@pytest.mark.slow
def test_at_least_three_quarters_of_answers_change_no_index_of_their_item(pool: Engine) -> None:
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
    assert in_place >= 0.75 * len(KEYS)  # a full page has no room for a new version


@pytest.mark.parametrize("many", [1, 50])
def test_a_save_executes_four_statements_for_any_number_of_items(
    connection: Connection, statements: list[str], many: int
) -> None:
    publish(connection, now=NOON)
    admit(connection, *KEYS[:many], now=NOON, lane="realtime")
    route(connection, now=NOON)
    claimed = claim(connection, places=many)
    statements.clear()
    assert save(connection, *map(tried, claimed)).answered == many
    assert len(statements) == 4


def test_corrections_and_failures_execute_a_bounded_number_of_statements(
    connection: Connection, statements: list[str]
) -> None:
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
    assert len(statements) <= 14  # includes owed passes and routes to the batch lane
    batch_id, waiting = submit(connection, letters, now=later(minutes=1))
    statements.clear()
    saved = save(connection, *(tried(each, output=B) for each in waiting), batch_id=batch_id)
    assert (saved.answered, saved.corrected) == (40, 30)
    assert len(statements) <= 9
