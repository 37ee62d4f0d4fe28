"""`lanes.submit_many`: a list is admitted as its items would be one by one."""

import json
from collections import Counter
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, Engine, text

from lanes.store.asking import plain_url
from tests.conftest import NOON, later
from tests.examples import publish
from tests.store.tries import events, rows

ODD = "k" * 513


@pytest.fixture
def sql(connection: Connection) -> Connection:
    """Return a caller's own transaction; the workload accepts payloads of up to 1 KiB."""
    publish(connection, now=NOON, max_payload_kib=1)
    return connection


def submit_many(connection: Connection, inputs: Any, workload: str | None = "letters") -> list[Any]:
    """Submit a list, and return the outcome of each input."""
    query = text("select * from lanes.submit_many(:workload, cast(:rows as jsonb))")
    return list(connection.execute(query, {"workload": workload, "rows": json.dumps(inputs)}))


def outcomes(told: list[Any]) -> list[str]:
    return [each.outcome for each in told]


def test_each_row_becomes_an_item_with_the_named_arguments_of_submit(sql: Connection) -> None:
    everything = {
        "payload": {"text": "x"},
        "key": "k",
        "due_at": "2026-11-24T13:00Z",
        "consumer": "desk",
        "entity": "e",
        "urgent": True,
        "lane": "realtime",
        "occurred_at": "2026-11-23T12:00Z",
    }
    told = submit_many(sql, [everything, {"payload": {"text": "y"}, "key": "l", "due_at": None}])
    assert [tuple(each) for each in told] == [
        (1, "accepted", "k", None),
        (2, "accepted", "l", None),
    ]
    first, second = rows(sql, "item")
    assert (first.key, first.payload, first.due_at, first.consumer) == (
        "k",
        {"text": "x"},
        later(hours=1),
        "desk",
    )
    assert (first.entity, first.urgent, first.pin, first.occurred_at) == (
        "e",
        True,
        "realtime",
        later(days=-1),
    )
    assert (first.source, first.workload) == ("sql", "letters")
    assert (second.key, second.due_at, second.urgent, second.occurred_at) == (
        "l",
        None,
        False,
        second.received_at,
    )


def test_a_refused_row_gives_its_reason_and_does_not_affect_its_neighbours(sql: Connection) -> None:
    submit_many(sql, [{"payload": {"n": 1}, "key": "taken"}])
    told = submit_many(
        sql,
        [
            {"payload": {}, "key": "a"},
            "text",
            {"key": "no payload"},
            {"payload": {}, "key": "late", "due_at": "whenever"},
            {"payload": {"n": 2}, "key": "taken"},
            {"payload": {}, "key": "a"},
            {"payload": {}, "key": "b"},
            None,
            {"payload": {"n": 1}, "key": "taken"},
            {"payload": {"n": 1}, "key": "a"},
            {"payload": {}, "lane": "express"},
        ],
    )
    assert outcomes(told) == [
        "accepted",
        "malformed",
        "malformed",
        "malformed",
        "key_conflict",
        "duplicate",
        "accepted",
        "malformed",
        "duplicate",
        "key_conflict",
        "malformed",
    ]
    assert [each.place for each in told] == list(range(1, 12))
    assert all(
        (each.detail is None) == (each.outcome in ("accepted", "duplicate")) for each in told
    )
    assert Counter(each.key for each in rows(sql, "item")) == Counter(["taken", "a", "b"])
    refused = {each.position: each.content for each in rows(sql, "rejected_log")}
    assert refused.keys() == {"2", "no payload", "late", "taken", "8", "a", "11"}
    assert (refused["2"], json.loads(refused["taken"])) == ('"text"', {"n": 2})
    assert len(events(sql, "lanes.item.rejected")) == 7


FINE: dict[str, Any] = {"payload": {"text": "x"}, "key": "k"}


@pytest.mark.parametrize(
    "fields",
    [
        FINE,
        {"payload": {"text": "other"}, "key": "there"},
        {"payload": {"text": "there"}, "key": "there"},
        FINE | {"workload": "ghosts"},
        FINE | {"workload": None},
        FINE | {"payload": None},
        FINE | {"payload": [1]},
        FINE | {"payload": {"text": "x" * 1_100}},
        FINE | {"payload": {"text": "é" * 600}},
        FINE | {"payload": {"n": 10**400}},
        FINE | {"payload": {"n": json.loads("[" * 150 + "]" * 150)}},
        FINE | {"key": ""},
        FINE | {"key": ODD},
        FINE | {"consumer": ""},
        FINE | {"consumer": ODD},
        FINE | {"entity": ODD},
        FINE | {"lane": "express"},
        FINE | {"lane": ""},
        FINE | {"due_at": "infinity"},
        FINE | {"due_at": "0001-06-01 00:00:00+00"},
        FINE | {"occurred_at": "-infinity"},
        FINE | {"occurred_at": "9999-06-01 00:00:00+00"},
        FINE | {"urgent": None},
        FINE
        | {
            "due_at": "2026-11-24 15:00+02",
            "urgent": True,
            "consumer": "desk",
            "entity": "e",
            "lane": "batch",
        },
    ],
)
def test_a_list_is_admitted_refused_and_stored_like_single_submissions(
    sql: Connection, fields: dict[str, Any]
) -> None:
    by_name = {"workload": "letters"} | fields

    def one() -> tuple[str, str, str | None]:
        given = {
            name: json.dumps(value) if name == "payload" else value
            for name, value in by_name.items()
        }
        types = {
            "payload": "jsonb",
            "due_at": "timestamptz",
            "occurred_at": "timestamptz",
            "urgent": "boolean",
        }
        arguments = ", ".join(
            f"{name} => cast(:{name} as {types.get(name, 'text')})" for name in by_name
        )
        told = sql.execute(
            text(f"select outcome, key, detail from lanes.submit_item({arguments})"), given
        ).one()
        return told.outcome, told.key, told.detail

    def many() -> tuple[str, str, str | None]:
        (told,) = submit_many(sql, [fields_of_submit], by_name["workload"])
        return told.outcome, told.key, told.detail

    fields_of_submit = {name: value for name, value in by_name.items() if name != "workload"}
    sql.execute(text("""select lanes.submit('letters', '{"text": "there"}', 'there')"""))
    seen = []
    for ask in (one, many):
        step = sql.begin_nested()
        told = ask()
        stored = [
            {
                **row_._asdict(),
                "id": None,
                "received_at": None,
                "occurred_at": row_.occurred_at != row_.received_at,
            }
            for row_ in rows(sql, "item")
        ]
        kept = [
            (r.workload, r.source, r.position, r.reason, r.content, r.detail, r.key)
            for r in rows(sql, "rejected_log")
        ]
        said = [
            (each.event, each.resource, each.payload) for each in events(sql, "lanes.item.rejected")
        ]
        seen.append((told, stored, kept, said))
        step.rollback()
    alone, listed = seen
    assert alone == listed


def test_an_unknown_field_is_refused_by_its_name_without_its_value(sql: Connection) -> None:
    told = submit_many(
        sql, [{"payload": {}, "key": "k", "due": "secret"}, {"payload": {}, "key": "l"}]
    )
    assert outcomes(told) == ["malformed", "accepted"]
    assert told[0].detail.startswith('unknown field "due"; allowed are payload, key, ')
    (announced,) = events(sql, "lanes.item.rejected")
    assert "secret" not in json.dumps(announced.payload)


@pytest.mark.parametrize("name", ["key", "consumer", "entity"])
@pytest.mark.parametrize("said", [["a"], {"a": 1}, 7, 1.5, True, ""])
def test_a_key_consumer_or_entity_that_is_not_a_valid_text_is_refused(
    sql: Connection, name: str, said: Any
) -> None:
    fine = {"payload": {}, "key": "fine"}
    wrong, right = submit_many(sql, [{"payload": {}, "key": "k", name: said}, fine])
    assert (wrong.outcome, wrong.detail) == (
        "malformed",
        f'"{name}" must be a text of 1 to 512 characters',
    )
    assert right.outcome == "accepted"


@pytest.mark.parametrize(
    "said", ["now", "tomorrow", "epoch", "20261124T130000Z", "24.11.2026", 20261124, ["2026-11-24"]]
)
def test_a_time_that_is_not_iso_8601_is_refused(sql: Connection, said: Any) -> None:
    (told,) = submit_many(sql, [{"payload": {}, "due_at": said}])
    assert told.detail == '"due_at" must be an ISO 8601 time, for example 2026-12-01T09:00:00Z'


def test_a_time_without_a_zone_in_a_list_is_utc_in_any_time_zone_of_the_caller(
    sql: Connection,
) -> None:
    sql.execute(text("set local timezone = 'Asia/Tokyo'"))
    sql.execute(text("set local datestyle = 'German'"))
    naive = {"payload": {}, "due_at": "2026-11-24T13:00:00.1234567", "occurred_at": "2026-11-24"}
    assert outcomes(submit_many(sql, [naive])) == ["accepted"]
    sql.execute(text("select lanes.submit('letters', '{}', due_at => '24.11.2026 22:00')"))
    sql.execute(text("set local datestyle = 'ISO'"))
    first, second = rows(sql, "item")
    assert first.due_at == later(hours=1, microseconds=123456)
    assert first.occurred_at == later(hours=-12)
    assert second.due_at == later(hours=1)


def test_each_row_without_a_key_becomes_its_own_item(sql: Connection) -> None:
    first, second = submit_many(sql, [{"payload": {}}, {"payload": {}}])
    (third,) = submit_many(sql, [{"payload": {}}])
    assert outcomes([first, second, third]) == ["accepted"] * 3
    assert {each.key for each in rows(sql, "item")} == {first.key, second.key, third.key}
    publish(sql, "twins", now=NOON, dedupe="content")
    assert outcomes(submit_many(sql, [{"payload": {"a": 1}}, {"payload": {"a": 1}}], "twins")) == [
        "accepted",
        "duplicate",
    ]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("null", ["malformed"]),
        ("[]", []),
        ("7", ["malformed"]),
        ('"text"', ["malformed"]),
        ('{"payload": {}}', ["accepted"]),
        ("[null]", ["malformed"]),
        ("[[]]", ["malformed"]),
    ],
)
def test_the_callers_transaction_continues_after_any_value_of_the_list(
    sql: Connection, said: str, told: list[str]
) -> None:
    query = text("select outcome from lanes.submit_many('letters', cast(:rows as jsonb))")
    assert list(sql.execute(query, {"rows": said}).scalars()) == (told)
    assert sql.execute(query, {"rows": None}).all() == []
    assert outcomes(submit_many(sql, [{"payload": {}, "key": "k"}], None)) == ["unknown_workload"]
    assert outcomes(submit_many(sql, [{"payload": {}, "key": "k"}])) == ["accepted"]


def test_a_large_list_with_every_second_row_known_returns_its_outcomes_in_order(
    sql: Connection,
) -> None:
    known = [{"payload": {"n": n}, "key": f"k{n}"} for n in range(0, 2_000, 2)]
    assert set(outcomes(submit_many(sql, known))) == {"accepted"}
    told = submit_many(sql, [{"payload": {"n": n}, "key": f"k{n}"} for n in range(2_000)])
    assert [(each.place, each.outcome, each.key) for each in told] == [
        (n + 1, "accepted" if n % 2 else "duplicate", f"k{n}") for n in range(2_000)
    ]


@pytest.mark.slow
def test_one_transaction_sends_one_notification_without_a_payload(
    pool: Engine, database_url: str
) -> None:
    with pool.begin() as setup:
        publish(setup, now=NOON)
    with psycopg.connect(plain_url(database_url), autocommit=True) as listener:
        listener.execute("listen lanes")
        with pool.begin() as caller:
            for number in range(20):
                submit_many(caller, [{"payload": {}, "key": f"{number} {each}"} for each in "ab"])
                caller.execute(text("select lanes.submit('letters', '{}')"))
        heard = [*listener.notifies(timeout=10, stop_after=1), *listener.notifies(timeout=0)]
    assert [each.payload for each in heard] == [""]
