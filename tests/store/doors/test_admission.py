"""Admission through `lanes.admit`, the one path that every door uses."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Connection, text

from lanes.doors.item import Admission, Refusal, Submission
from lanes.store.doors import items, unrouted
from lanes.words import Lane, Reason
from tests.conftest import NOON, later
from tests.examples import publish, route, submission
from tests.store.tries import events, row, rows


def admit(connection: Connection, *inputs: Submission, door: str = "client") -> list[Admission]:
    return items.admit(connection, inputs, door=door, now=NOON)


def told(admissions: Sequence[Admission]) -> list[str]:
    return [each.outcome for each in admissions]


def admit_raw(connection: Connection, *inputs: Any, door: str = "client") -> list[str]:
    """Admit inputs as JSON, without the checks of Python; return their outcomes."""
    query = text(
        "select outcome from lanes.admit(cast(:inputs as jsonb), :door, :now) order by place"
    )
    return list(
        connection.execute(
            query, {"inputs": json.dumps(inputs), "door": door, "now": NOON}
        ).scalars()
    )


@pytest.fixture(autouse=True)
def workload(connection: Connection) -> None:
    publish(connection, now=NOON, max_payload_kib=1)


def test_a_new_input_is_accepted_with_all_fields_of_its_sender(connection: Connection) -> None:
    sent = submission(
        "k",
        due_at=later(hours=1),
        occurred_at=later(days=-1),
        urgent=True,
        consumer="desk",
        entity="e",
        lane=Lane.BATCH,
    )
    assert admit(connection, sent) == [Admission("accepted", None, "k")]
    kept = row(connection, "item")
    assert (kept.workload, kept.key, kept.payload) == ("letters", "k", {"text": "letter k"})
    assert (kept.due_at, kept.occurred_at, kept.received_at) == (
        later(hours=1),
        later(days=-1),
        NOON,
    )
    assert (kept.urgent, kept.consumer, kept.entity, kept.pin, kept.source) == (
        True,
        "desk",
        "e",
        "batch",
        "client",
    )


def test_event_time_defaults_to_the_time_of_receipt(connection: Connection) -> None:
    admit(connection, submission("k"))
    assert row(connection, "item").occurred_at == NOON


def test_the_same_key_with_the_same_content_is_a_duplicate(connection: Connection) -> None:
    assert told(admit(connection, submission("k"))) == ["accepted"]
    assert told(admit(connection, submission("k"))) == ["duplicate"]
    assert len(rows(connection, "item")) == 1
    assert rows(connection, "rejected_log") == []


def test_content_is_equal_in_any_order_of_its_keys(connection: Connection) -> None:
    first = submission("k", payload={"a": 1, "b": {"c": 2, "d": 3}})
    again = submission("k", payload={"b": {"d": 3, "c": 2}, "a": 1})
    assert told(admit(connection, first, again)) == ["accepted", "duplicate"]


def test_the_same_key_with_other_content_is_a_conflict_and_changes_nothing(
    connection: Connection,
) -> None:
    admit(connection, submission("k", payload={"text": "first"}))
    (refused,) = admit(connection, submission("k", payload={"text": "second"}))
    assert refused.outcome == "key_conflict"
    assert refused.detail is not None
    assert "send an amendment" in refused.detail
    assert row(connection, "item").payload == {"text": "first"}


def test_one_key_may_name_an_item_of_each_workload(connection: Connection) -> None:
    publish(connection, "invoices", now=NOON)
    sent = [submission("k"), submission("k", "invoices", payload={"other": 1})]
    assert told(admit(connection, *sent)) == ["accepted", "accepted"]


def test_an_unknown_workload_is_refused_and_the_input_is_stored(connection: Connection) -> None:
    (refused,) = admit(connection, submission("k", "ghosts"))
    assert refused.outcome == "unknown_workload"
    assert rows(connection, "item") == []
    kept = row(connection, "rejected_log")
    assert (kept.workload, kept.source, kept.position, kept.reason) == (
        "ghosts",
        "client",
        "k",
        "unknown_workload",
    )
    assert json.loads(kept.content) == {"text": "letter k"}
    assert kept.rejected_at == NOON


def test_a_payload_may_be_as_large_as_its_workload_allows_and_no_larger(
    connection: Connection,
) -> None:
    envelope = len('{"text": ""}')
    fits = submission("fits", payload={"text": "x" * (1024 - envelope)})
    exceeds = submission("exceeds", payload={"text": "x" * (1024 - envelope + 1)})
    accepted, refused = admit(connection, fits, exceeds)
    assert accepted.outcome == "accepted"
    assert refused.outcome == "payload_too_large"
    assert refused.detail is not None
    assert "1025 bytes" in refused.detail


def test_the_limit_of_a_payload_counts_bytes_not_characters(connection: Connection) -> None:
    assert told(admit(connection, submission("k", payload={"text": "é" * 600}))) == [
        "payload_too_large"
    ]


def test_another_workload_may_accept_larger_payloads(connection: Connection) -> None:
    publish(connection, "books", now=NOON, max_payload_kib=64)
    assert told(admit(connection, submission("k", "books", payload={"text": "x" * 5000}))) == [
        "accepted"
    ]


@pytest.mark.parametrize(
    "fields",
    [
        {"lane": "express"},
        {"payload": ["not", "an", "object"]},
        {"payload": None},
        {"payload": "text"},
        {"key": ""},
        {"key": "k" * 513},
        {"consumer": "c" * 513},
        {"entity": "e" * 513},
        {"entity": ""},
        {"due_at": "infinity"},
        {"due_at": "0001-01-01T00:00:00+00:00"},
        {"occurred_at": "-infinity"},
        {"occurred_at": "20000-01-01T00:00:00Z"},
    ],
)
def test_an_input_with_an_invalid_field_is_malformed(
    connection: Connection, fields: dict[str, Any]
) -> None:
    sent = {"workload": "letters", "place": "p", "key": "k", "payload": {"text": "x"}} | fields
    assert admit_raw(connection, sent) == ["malformed"]
    assert rows(connection, "item") == []
    assert row(connection, "rejected_log").reason == "malformed"


@pytest.mark.parametrize(
    "sent",
    [
        {"workload": "letters", "place": "p"},
        {"workload": "letters", "payload": {}},
        {},
        "text",
        7,
        None,
        [],
    ],
)
def test_an_input_with_missing_parts_is_refused_and_stored(
    connection: Connection, sent: Any
) -> None:
    good = {"workload": "letters", "place": "p", "key": "good", "payload": {}}
    assert admit_raw(connection, sent, good)[1] == "accepted"
    assert [each.key for each in rows(connection, "item")] == ["good"]
    assert len(rows(connection, "rejected_log")) == 1


def test_numbers_that_python_cannot_read_are_refused_at_the_door(connection: Connection) -> None:
    query = text("select outcome from lanes.admit(cast(:inputs as jsonb), 'client', :now)")
    for number in ("1e400", "-" + "9" * 5000):
        inputs = f'[{{"workload": "letters", "key": "k{number[:3]}", "payload": {{"deep": [{{"n": {number}}}]}}}}]'
        publish(connection, now=NOON, max_payload_kib=64)
        assert (
            connection.execute(query, {"inputs": inputs, "now": NOON}).scalar_one() == "malformed"
        )
    assert unrouted.lock_received(connection, 10) == []


def test_payloads_nested_deeper_than_python_reads_are_refused_at_the_door(
    connection: Connection,
) -> None:
    publish(connection, now=NOON, max_payload_kib=64)
    query = text("select outcome from lanes.admit(cast(:inputs as jsonb), 'client', :now)")
    inputs = (
        f'[{{"workload": "letters", "key": "k", "payload": {{"n": {"[" * 3000 + "]" * 3000}}}}}]'
    )
    assert connection.execute(query, {"inputs": inputs, "now": NOON}).scalar_one() == "malformed"
    assert unrouted.lock_received(connection, 10) == []


def test_an_item_due_in_the_past_is_accepted_and_goes_to_realtime_as_overdue(
    connection: Connection,
) -> None:
    assert told(admit(connection, submission("k", due_at=later(minutes=-5)))) == ["accepted"]
    route(connection, now=NOON)
    decided = row(connection, "route_log")
    assert (decided.lane, decided.reason) == (Lane.REALTIME, Reason.OVERDUE)


def test_one_bad_input_in_a_bulk_does_not_affect_the_others(connection: Connection) -> None:
    admit(connection, submission("taken", payload={"text": "first"}))
    sent = [
        submission("one"),
        submission("two", "ghosts"),
        submission("three", payload={"text": "x" * 2000}),
        submission("taken", payload={"text": "second"}),
        submission("four"),
        submission("one"),
    ]
    assert told(admit(connection, *sent)) == [
        "accepted",
        "unknown_workload",
        "payload_too_large",
        "key_conflict",
        "accepted",
        "duplicate",
    ]
    assert {each.key for each in rows(connection, "item")} == {"one", "taken", "four"}
    assert {each.position for each in rows(connection, "rejected_log")} == {"two", "three", "taken"}


def test_a_repeated_key_in_one_bulk_creates_one_item_from_the_first_input(
    connection: Connection,
) -> None:
    sent = [
        submission("k", payload={"n": 1}),
        submission("k", payload={"n": 2}),
        submission("k", payload={"n": 1}),
    ]
    assert told(admit(connection, *sent)) == ["accepted", "key_conflict", "duplicate"]
    assert row(connection, "item").payload == {"n": 1}


def test_an_empty_bulk_admits_nothing(connection: Connection) -> None:
    assert admit(connection) == []


def test_an_input_without_a_key_gets_its_place_as_its_key(connection: Connection) -> None:
    sent = Submission("letters", {"text": "x"}, place="file.jsonl:3")
    assert admit(connection, sent) == [Admission("accepted", None, "file.jsonl:3")]
    assert row(connection, "item").key == "file.jsonl:3"


def test_equal_payloads_become_one_item_if_the_workload_uses_content_keys(
    connection: Connection,
) -> None:
    publish(connection, "twins", now=NOON, dedupe="content")
    first, again, other = admit(
        connection,
        Submission("twins", {"a": 1, "b": 2}, place="1"),
        Submission("twins", {"b": 2, "a": 1}, place="2"),
        Submission("twins", {"a": 1}, place="3"),
    )
    assert (first.outcome, again.outcome, other.outcome) == ("accepted", "duplicate", "accepted")
    assert first.key == again.key != other.key
    assert {each.key for each in rows(connection, "item")} == {first.key, other.key}


def test_a_key_from_the_sender_takes_precedence_over_a_content_key(connection: Connection) -> None:
    publish(connection, "twins", now=NOON, dedupe="content")
    admit(connection, Submission("twins", {"a": 1}, place="1", key="mine"))
    assert row(connection, "item").key == "mine"


def test_an_acknowledgement_is_sent_only_on_request(connection: Connection) -> None:
    admit(
        connection,
        submission("asked", ack=True),
        submission("silent"),
        submission("asked", ack=True),
    )
    accepted = events(connection, "lanes.item.accepted")
    assert [(each.payload["key"], each.payload["outcome"]) for each in accepted] == [
        ("asked", "accepted"),
        ("asked", "duplicate"),
    ]
    assert {each.resource for each in accepted} == {"lanes.workload.letters"}


def test_a_refusal_is_announced_with_or_without_a_request(connection: Connection) -> None:
    admit(connection, submission("k"))
    admit(connection, submission("k", payload={"other": 1}), submission("g", "ghosts", ack=True))
    refused = events(connection, "lanes.item.rejected")
    assert [(each.payload["key"], each.payload["outcome"], each.resource) for each in refused] == [
        ("k", "key_conflict", "lanes.workload.letters"),
        ("g", "unknown_workload", "lanes.workload.ghosts"),
    ]
    assert events(connection, "lanes.item.accepted") == []


def test_an_event_read_twice_is_stored_and_announced_as_one_refusal(connection: Connection) -> None:
    admit(connection, submission("k"))
    ghost, conflict = (
        Submission("ghosts", {}, place="event-1"),
        Submission("letters", {}, place="event-2", key="k"),
    )
    for _ in range(2):
        assert told(admit(connection, ghost, conflict, ghost, door="event")) == [
            "unknown_workload",
            "key_conflict",
            "unknown_workload",
        ]
    assert sorted(each.position for each in rows(connection, "rejected_log")) == [
        "event-1",
        "event-2",
    ]
    announced = events(connection, "lanes.item.rejected")
    assert [each.payload["place"] for each in announced] == ["event-1", "event-2"]


def test_an_unreadable_event_repeated_in_one_read_is_one_refusal(connection: Connection) -> None:
    bad = Refusal("letters", "event-1", "malformed", "no object", "{}")
    items.refuse(connection, [bad, bad], door="event", now=NOON)
    assert (
        len(rows(connection, "rejected_log")) == len(events(connection, "lanes.item.rejected")) == 1
    )


def test_an_unreadable_input_is_stored_and_announced_once_per_place(connection: Connection) -> None:
    bad = Refusal(
        "letters", "letters.jsonl:7", "broken_line", "the line is not JSON", '{"text": "\x00'
    )
    for _ in range(2):
        items.refuse(connection, [bad], door="letters.jsonl", now=NOON)
    kept = row(connection, "rejected_log")
    assert (kept.source, kept.position, kept.reason, kept.detail) == (
        "letters.jsonl",
        "letters.jsonl:7",
        "broken_line",
        "the line is not JSON",
    )
    assert kept.content == '{"text": "\ufffd'
    (announced,) = events(connection, "lanes.item.rejected")
    assert announced.payload["place"] == "letters.jsonl:7"


def test_a_refused_input_is_stored_up_to_the_size_limit(connection: Connection) -> None:
    items.refuse(
        connection,
        [Refusal(None, "1", "broken_line", "too long", "x" * 100_000)],
        door="file",
        now=NOON,
    )
    assert len(row(connection, "rejected_log").content) == items.CONTENT_LIMIT
    assert events(connection, "lanes.item.rejected")[0].resource == "lanes.workload.unknown"


def test_a_refusal_with_invalid_unicode_is_stored_in_readable_form(connection: Connection) -> None:
    bad = Refusal("letters", "1", "malformed", "field '\udc80' is unknown", "\ud800 and \x00")
    items.refuse(connection, [bad], door="file", now=NOON)
    kept = row(connection, "rejected_log")
    assert kept.content == "\ufffd and \ufffd"
    assert kept.detail == "field '\ufffd' is unknown"


def test_a_time_in_any_zone_is_stored_as_the_same_moment(connection: Connection) -> None:
    admit_raw(
        connection,
        {"workload": "letters", "key": "k", "payload": {}, "due_at": "2026-11-24T15:00:00+02:00"},
    )
    assert row(connection, "item").due_at == datetime(2026, 11, 24, 13, tzinfo=UTC)
