"""`lanes.submit` as any client of the database calls it, and admissions that run at once."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Connection, Engine, text

from lanes.store import items
from tests.conftest import NOON, later
from tests.examples import publish, submission
from tests.store.tries import backend, events, row, rows, until_blocked


@pytest.fixture
def letters(pool: Engine) -> None:
    """The workload, committed."""
    with pool.begin() as connection:
        publish(connection, now=NOON)


@pytest.fixture
def sql(connection: Connection, letters: None) -> Connection:
    """A caller's own transaction."""
    return connection


def ask(connection: Connection, query: str) -> str:
    return connection.execute(text(query)).scalar_one()


def test_an_item_is_submitted_with_positional_arguments(sql: Connection) -> None:
    assert ask(sql, """select lanes.submit('letters', '{"text": "x"}', 'k', '2026-11-24T13:00Z', 'desk', 'e', true,
                                           'realtime', '2026-11-23T12:00Z')""") == "accepted"  # fmt: skip
    kept = row(sql, "item")
    assert (kept.key, kept.payload, kept.due_at, kept.consumer) == ("k", {"text": "x"}, later(hours=1), "desk")
    assert (kept.entity, kept.urgent, kept.pin, kept.occurred_at) == ("e", True, "realtime", later(days=-1))
    assert kept.source == "sql"


def test_an_item_is_submitted_with_named_arguments(sql: Connection) -> None:
    query = """select lanes.submit(payload => '{"text": "x"}', workload => 'letters', urgent => true, key => 'k')"""
    assert ask(sql, query) == "accepted"
    kept = row(sql, "item")
    assert (kept.key, kept.urgent, kept.due_at, kept.pin) == ("k", True, None, None)


def test_a_missing_key_is_made_up_and_names_one_item_each(sql: Connection) -> None:
    for _ in range(2):
        assert ask(sql, """select lanes.submit('letters', '{"text": "x"}')""") == "accepted"
    first, second = rows(sql, "item")
    assert len(first.key) == len(second.key) == 36
    assert first.key != second.key


def test_a_missing_key_is_the_content_where_the_workload_asks_so(sql: Connection) -> None:
    publish(sql, "twins", now=NOON, dedupe="content")
    assert ask(sql, """select lanes.submit('twins', '{"a": 1, "b": 2}')""") == "accepted"
    assert ask(sql, """select lanes.submit('twins', '{"b": 2, "a": 1}')""") == "duplicate"


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("""select lanes.submit('ghosts', '{}', 'k')""", "unknown_workload"),
        ("""select lanes.submit(null, '{}', 'k')""", "unknown_workload"),
        ("""select lanes.submit('letters', '[1]', 'k')""", "malformed"),
        ("""select lanes.submit('letters', null, 'k')""", "malformed"),
        ("""select lanes.submit('letters', '{}', '')""", "malformed"),
        ("""select lanes.submit('letters', '{}', lane => 'express')""", "malformed"),
        ("""select lanes.submit('letters', '{}', due_at => 'infinity')""", "malformed"),
        ("""select lanes.submit('letters', '{}', entity => repeat('e', 3000))""", "malformed"),
    ],
)
def test_a_refusal_is_an_answer_not_an_error_in_the_callers_transaction(
    sql: Connection, query: str, reason: str
) -> None:
    assert ask(sql, query) == reason
    assert row(sql, "rejected_log").reason == reason
    assert [each.payload["outcome"] for each in events(sql, "lanes.item.rejected")] == [reason]


def test_an_item_is_part_of_its_callers_own_transaction(pool: Engine, letters: None) -> None:
    with pool.connect() as caller:
        caller.execute(text("create table orders (id int)"))
        caller.execute(text("insert into orders values (1)"))
        assert ask(caller, """select lanes.submit('letters', '{}', 'k')""") == "accepted"
        caller.rollback()
    with pool.begin() as reader:
        assert rows(reader, "item") == []
        assert ask(reader, """select lanes.submit('letters', '{}', 'k')""") == "accepted"
    with pool.begin() as reader:
        assert row(reader, "item").key == "k"


def test_a_refused_key_can_be_tried_in_the_same_transaction_with_another(sql: Connection) -> None:
    ask(sql, """select lanes.submit('letters', '{"n": 1}', 'k')""")
    assert ask(sql, """select lanes.submit('letters', '{"n": 2}', 'k')""") == "key_conflict"
    assert ask(sql, """select lanes.submit('letters', '{"n": 2}', 'k2')""") == "accepted"


def test_a_whole_table_can_be_submitted_in_one_statement(sql: Connection) -> None:
    query = "select count(*) from (select lanes.submit('letters', jsonb_build_object('n', n), 'k' || n) as told" \
            " from generate_series(1, 50) n) where told = 'accepted'"  # fmt: skip
    assert sql.execute(text(query)).scalar_one() == 50
    assert len(rows(sql, "item")) == 50


@pytest.mark.parametrize(("ends", "second"), [("commit", "duplicate"), ("rollback", "accepted")])
def test_two_admissions_of_one_key_at_once_make_one_item(
    pool: Engine, letters: None, ends: str, second: str
) -> None:
    with ThreadPoolExecutor(1) as elsewhere, pool.connect() as two, pool.connect() as one:
        assert items.admit(one, [submission("k")], door="client", now=NOON)[0].outcome == "accepted"
        pid = backend(two)
        waiting = elsewhere.submit(items.admit, two, [submission("k")], door="client", now=NOON)
        until_blocked(pool, pid)
        getattr(one, ends)()
        assert waiting.result(10)[0].outcome == second
        two.commit()
    with pool.begin() as reader:
        assert len(rows(reader, "item")) == 1


def test_of_two_conflicting_admissions_at_once_the_first_stands(pool: Engine, letters: None) -> None:
    with ThreadPoolExecutor(1) as elsewhere, pool.connect() as two, pool.connect() as one:
        items.admit(one, [submission("k", payload={"n": 1})], door="client", now=NOON)
        pid = backend(two)
        waiting = elsewhere.submit(
            items.admit, two, [submission("k", payload={"n": 2})], door="client", now=NOON
        )
        until_blocked(pool, pid)
        one.commit()
        assert waiting.result(10)[0].outcome == "key_conflict"
        two.commit()
    with pool.begin() as reader:
        assert row(reader, "item").payload == {"n": 1}
