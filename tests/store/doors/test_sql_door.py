"""`lanes.submit` as any client of the database calls it, and concurrent admissions."""

import random
import string
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from lanes.doors.item import Admission, Submission
from lanes.store.doors import items
from tests.conftest import NOON, later
from tests.examples import publish, submission
from tests.store.tries import backend, events, row, rows, until_blocked


@pytest.fixture
def letters(pool: Engine) -> None:
    """Publish the workload, and commit."""
    with pool.begin() as connection:
        publish(connection, now=NOON)


@pytest.fixture
def sql(connection: Connection, letters: None) -> Connection:
    """Return a caller's own transaction."""
    return connection


def ask(connection: Connection, query: str) -> str:
    return connection.execute(text(query)).scalar_one()


def test_an_item_is_submitted_with_positional_arguments(sql: Connection) -> None:
    assert (
        ask(
            sql,
            """select lanes.submit('letters', '{"text": "x"}', 'k', '2026-11-24T13:00Z', 'desk', 'e', true,
                                           'realtime', '2026-11-23T12:00Z')""",
        )
        == "accepted"
    )
    kept = row(sql, "item")
    assert (kept.key, kept.payload, kept.due_at, kept.consumer) == (
        "k",
        {"text": "x"},
        later(hours=1),
        "desk",
    )
    assert (kept.entity, kept.urgent, kept.pin, kept.occurred_at) == (
        "e",
        True,
        "realtime",
        later(days=-1),
    )
    assert kept.source == "sql"


def test_an_item_is_submitted_with_named_arguments(sql: Connection) -> None:
    query = """select lanes.submit(payload => '{"text": "x"}', workload => 'letters', urgent => true, key => 'k')"""
    assert ask(sql, query) == "accepted"
    kept = row(sql, "item")
    assert (kept.key, kept.urgent, kept.due_at, kept.pin) == ("k", True, None, None)


def test_a_missing_key_is_generated_for_each_item(sql: Connection) -> None:
    for _ in range(2):
        assert ask(sql, """select lanes.submit('letters', '{"text": "x"}')""") == "accepted"
    first, second = rows(sql, "item")
    assert len(first.key) == len(second.key) == 36
    assert first.key != second.key


def test_a_missing_key_becomes_a_content_key_if_the_workload_uses_content_keys(
    sql: Connection,
) -> None:
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
def test_a_refusal_is_a_return_value_and_not_an_error_in_the_callers_transaction(
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


def test_a_refused_item_can_be_sent_with_another_key_in_the_same_transaction(
    sql: Connection,
) -> None:
    ask(sql, """select lanes.submit('letters', '{"n": 1}', 'k')""")
    assert ask(sql, """select lanes.submit('letters', '{"n": 2}', 'k')""") == "key_conflict"
    assert ask(sql, """select lanes.submit('letters', '{"n": 2}', 'k2')""") == "accepted"


def test_a_whole_table_can_be_submitted_in_one_statement(sql: Connection) -> None:
    query = (
        "select count(*) from (select lanes.submit('letters', jsonb_build_object('n', n), 'k' || n) as told"
        " from generate_series(1, 50) n) where told = 'accepted'"
    )
    assert sql.execute(text(query)).scalar_one() == 50
    assert len(rows(sql, "item")) == 50


@pytest.mark.parametrize(("ends", "second"), [("commit", "duplicate"), ("rollback", "accepted")])
def test_two_concurrent_admissions_of_one_key_create_one_item(
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


def test_the_first_of_two_concurrent_conflicting_admissions_is_accepted(
    pool: Engine, letters: None
) -> None:
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


def admitted_meanwhile(
    pool: Engine, inputs: Sequence[Submission], **published: Any
) -> list[Admission]:
    """Publish a version while an admission waits for another one of key "k", which is rolled back; return its outcomes."""
    with ThreadPoolExecutor(1) as elsewhere, pool.connect() as two, pool.connect() as one:
        items.admit(one, [submission("k")], door="client", now=NOON)
        pid = backend(two)
        waiting = elsewhere.submit(items.admit, two, inputs, door="client", now=NOON)
        until_blocked(pool, pid)
        with pool.begin() as publisher:
            publish(publisher, now=later(minutes=1), **published)
        one.rollback()
        told = waiting.result(10)
        two.commit()
    return told


def test_an_input_that_became_too_large_during_its_wait_is_admitted_as_screened(
    pool: Engine, letters: None
) -> None:
    (told,) = admitted_meanwhile(
        pool, [submission("k", payload={"text": "x" * 2_000})], max_payload_kib=1
    )
    assert told == Admission("accepted", None, "k")
    with pool.begin() as reader:
        assert row(reader, "item").key == "k"
        assert rows(reader, "rejected_log") == []


def test_an_input_too_large_at_screening_is_refused_although_the_limit_rises_during_its_wait(
    pool: Engine, letters: None
) -> None:
    with pool.begin() as setup:
        publish(setup, now=NOON, max_payload_kib=1)
    inputs = [submission("k"), submission("large", payload={"text": "x" * 2_000})]
    told = admitted_meanwhile(pool, inputs, max_payload_kib=64)
    assert [each.outcome for each in told] == ["accepted", "payload_too_large"]
    with pool.begin() as reader:
        assert row(reader, "item").key == "k"
        assert row(reader, "rejected_log").position == "large"


def test_an_input_keeps_the_key_it_was_screened_with(pool: Engine, letters: None) -> None:
    inputs = [submission("k"), Submission("letters", {"text": "x"}, place="file.jsonl:3")]
    told = admitted_meanwhile(pool, inputs, dedupe="content")
    assert [(each.outcome, each.key) for each in told] == [
        ("accepted", "k"),
        ("accepted", "file.jsonl:3"),
    ]
    with pool.begin() as reader:
        assert {each.key for each in rows(reader, "item")} == {"k", "file.jsonl:3"}


ODD = "".join(
    random.Random(7).choices(string.ascii_letters, k=6_000)
)  # does not compress to a size that an index accepts


@pytest.mark.parametrize(
    ("query", "outcome"),
    [
        ("select lanes.submit('letters', '{}', :odd)", "malformed"),
        ("select lanes.submit('letters', '{}', 'k', consumer => :odd)", "malformed"),
        ("select lanes.submit('letters', '{}', 'k', entity => :odd)", "malformed"),
        ("select lanes.submit('letters', '{}', 'k', lane => :odd)", "malformed"),
        ("select lanes.submit(:odd, '{}', 'k')", "unknown_workload"),
        ("select lanes.submit(:odd, '{}', :odd)", "unknown_workload"),
        ("select outcome from lanes.submit_item('letters', '{}', :odd)", "malformed"),
        (
            "select outcome from lanes.admit(jsonb_build_array(jsonb_build_object("
            " 'workload', 'letters', 'payload', '{}'::jsonb, 'place', cast(:odd as text))), 'sql')",
            "malformed",
        ),
        ("select lanes.amend('letters', :odd, '{}')", "malformed"),
        ("select lanes.amend('letters', null, '{}')", "malformed"),
        ("select lanes.amend(null, null, null)", "unknown_workload"),
        ("select lanes.amend(:odd, :odd, '{}')", "unknown_workload"),
        ("select lanes.amend('letters', 'there', '[]')", "malformed"),
        ("select lanes.cancel('letters', :odd)", "unknown_item"),
        ("select lanes.cancel(null, null)", "unknown_item"),
        ("select lanes.label('letters', :odd, '{}')", "unknown_item"),
        ("select lanes.label('letters', null, '{}')", "unknown_item"),
        ("select lanes.label('letters', 'there', null)", "malformed"),
        ("select lanes.label('letters', 'there', '{}', :odd)", "malformed"),
        ("select lanes.label('letters', 'there', '{}', '')", "malformed"),
        ("select lanes.label('letters', 'there', '{}', null)", "malformed"),
        ("select lanes.label('letters', 'there', '{\"n\": 1e400}')", "malformed"),
        (
            "select lanes.label('letters', 'there', jsonb_build_object(repeat('x', 2700), 1))",
            "malformed",
        ),
        (
            "select lanes.label('letters', 'there', jsonb_build_object(repeat('x', 512), 1))",
            "labeled",
        ),
        ("select count(*) from lanes.read_result('letters', :odd, 'desk')", 0),
        ("select count(*) from lanes.read_result('letters', 'there', :odd)", 0),
        ("select count(*) from lanes.read_result('letters', 'there', null)", 0),
        ("select count(*) from lanes.read_result(null, null, null)", 0),
    ],
)
def test_the_callers_transaction_continues_after_any_arguments(
    sql: Connection, query: str, outcome: Any
) -> None:
    ask(sql, """select lanes.submit('letters', '{}', 'there')""")
    said = {"odd": ODD} if ":odd" in query else {}
    assert sql.execute(text(query), said).scalar_one() == outcome
    assert [each.key for each in rows(sql, "item")] == ["there"]


def test_a_key_too_long_for_an_index_is_refused_and_stored_shortened(sql: Connection) -> None:
    assert (
        sql.execute(text("select lanes.submit('letters', '{}', :odd)"), {"odd": ODD}).scalar_one()
        == "malformed"
    )
    kept = row(sql, "rejected_log")
    assert (kept.position, kept.key) == (ODD[:512], ODD[:512])
    assert "1 to 512 characters" in kept.detail
    (announced,) = events(sql, "lanes.item.rejected")
    assert announced.payload["key"] == ODD[:512]


def test_a_reader_name_too_long_for_an_index_is_recorded_by_its_first_512_characters(
    sql: Connection,
) -> None:
    ask(sql, """select lanes.submit('letters', '{}', 'there')""")
    for reader in (ODD, None, "", "desk"):
        sql.execute(
            text("select lanes.read_result('letters', 'there', :reader)"), {"reader": reader}
        ).all()
    assert [each.reader for each in rows(sql, "read")] == [ODD[:512], "unknown", "unknown", "desk"]


def test_submit_item_returns_the_outcome_the_key_and_the_reason(sql: Connection) -> None:
    def submitted(arguments: str) -> Any:
        return sql.execute(text(f"select * from lanes.submit_item({arguments})")).one()

    made_up = submitted("""'letters', '{"text": "x"}'""")
    assert (made_up.outcome, made_up.key, made_up.detail) == (
        "accepted",
        row(sql, "item").key,
        None,
    )
    again = submitted(f"""'letters', '{{"text": "y"}}', '{made_up.key}'""")
    assert (again.outcome, again.key) == ("key_conflict", made_up.key)
    assert "send an amendment" in again.detail
    publish(sql, "twins", now=NOON, dedupe="content")
    first, twin = (
        submitted("""'twins', '{"a": 1}', urgent => true"""),
        submitted("""'twins', '{"a": 1}'"""),
    )
    assert (first.outcome, twin.outcome) == ("accepted", "duplicate")
    assert first.key == twin.key
    assert row(sql, "item", workload="twins").key == first.key


PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TRACE = bytes.fromhex(PARENT.replace("-", "")[2:])


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (PARENT, TRACE),
        (f"cc{PARENT[2:]}", TRACE),
        (f"cc{PARENT[2:]}-what a later version adds", TRACE),
        (f"ff{PARENT[2:]}", None),
        (f"{PARENT}-more", None),
        (f"{PARENT}\n", None),
        (PARENT.upper(), None),
        (f"00-{'0' * 32}-00f067aa0ba902b7-01", None),
        (f"00-4bf92f3577b34da6a3ce929d0e0e4736-{'0' * 16}-01", None),
        ("", None),
        (ODD, None),
    ],
)
def test_an_item_keeps_the_trace_of_its_sender_and_is_accepted_with_an_unreadable_one(
    sql: Connection, said: str, kept: bytes | None
) -> None:
    one = "select lanes.submit('letters', '{}', 'k', traceparent => :said)"
    assert sql.execute(text(one), {"said": said}).scalar_one() == "accepted"
    items.admit(sql, [submission("j", traceparent=said)], door="client", now=NOON)
    assert [each.trace for each in rows(sql, "item")] == [kept, kept]
