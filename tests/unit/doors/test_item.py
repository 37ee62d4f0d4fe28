"""Reading an input: a well-formed input becomes a submission, any other a refusal with its reason."""

import json
import math
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanes.doors.item import (
    FIELDS,
    KEY_LIMIT,
    Amendment,
    Submission,
    read_amendment,
    read_budget,
    read_submission,
)
from lanes.errors import Refused
from lanes.words import Lane
from tests.conftest import NOON, later
from tests.unit.strategies import ANY_TEXT, any_json, some_json
from tests.unit.test_exact_json import assert_jsonb_takes

PAYLOADS = some_json() | st.dictionaries(ANY_TEXT, any_json(), max_size=3)
PLAUSIBLE = {
    "key": ANY_TEXT | st.integers(),
    "due_at": st.datetimes().map(datetime.isoformat) | ANY_TEXT,
    "due_in_s": st.floats() | st.integers() | st.integers(10**300, 10**400),
    "occurred_at": st.datetimes(timezones=st.timezones()).map(datetime.isoformat) | ANY_TEXT,
    "urgent": st.booleans(),
    "consumer": ANY_TEXT,
    "entity": ANY_TEXT,
    "lane": st.sampled_from(["realtime", "batch", "express"]),
    "ack": st.booleans(),
}


def read(**fields: Any) -> Submission:
    return read_submission(
        "letters", {"payload": {"text": "hello"}, **fields}, place="here:1", sent_at=NOON
    )


def read_or_none(workload: str, fields: dict[str, Any]) -> Submission | None:
    """Return the submission, or None if it is refused; any other exception fails the test."""
    try:
        return read_submission(workload, fields, place="here:1", sent_at=NOON)
    except Refused:
        return None


@pytest.mark.slow
@given(ANY_TEXT, st.dictionaries(st.sampled_from(FIELDS) | ANY_TEXT, any_json(), max_size=6))
def test_any_json_is_refused_or_becomes_a_submission_that_can_be_stored(
    workload: str, fields: dict[str, Any]
) -> None:
    submission = read_or_none(workload, fields)
    if submission is not None:
        assert_jsonb_takes(submission.as_row())


@pytest.mark.slow
@given(st.fixed_dictionaries({"payload": PAYLOADS}, optional=PLAUSIBLE))
def test_plausible_fields_are_refused_or_become_a_submission_that_can_be_stored(
    fields: dict[str, Any],
) -> None:
    submission = read_or_none("letters", fields)
    if submission is not None:
        assert_jsonb_takes(submission.as_row())
        assert json.loads(json.dumps(submission.payload)) == fields["payload"]


def test_a_submission_contains_every_field_of_its_sender() -> None:
    said = read(
        key="k1",
        due_at="2026-12-01T09:00:00+01:00",
        occurred_at="2026-11-01T00:00:00",
        urgent=True,
        consumer="desk",
        entity="customer 7",
        lane="batch",
        ack=True,
        traceparent="00-4b-00-01",
    )
    assert said == Submission(
        workload="letters",
        payload={"text": "hello"},
        place="here:1",
        key="k1",
        due_at=datetime(2026, 12, 1, 8, tzinfo=UTC),
        occurred_at=datetime(2026, 11, 1, tzinfo=UTC),
        urgent=True,
        consumer="desk",
        entity="customer 7",
        lane=Lane.BATCH,
        ack=True,
        traceparent="00-4b-00-01",
    )


def test_all_fields_but_the_payload_are_optional_and_may_be_null() -> None:
    bare = read()
    assert read(**dict.fromkeys(set(FIELDS) - {"payload"})) == bare
    assert (bare.key, bare.due_at, bare.urgent, bare.lane, bare.ack) == (
        None,
        None,
        False,
        None,
        False,
    )


def test_due_in_s_counts_from_the_time_of_sending() -> None:
    assert read(due_in_s=90).due_at == later(seconds=90)
    assert read(due_in_s=-0.5).due_at == later(seconds=-0.5)


def test_a_naive_time_is_utc_and_an_aware_one_is_converted() -> None:
    assert read(due_at="2026-12-01T09:00:00").due_at == datetime(2026, 12, 1, 9, tzinfo=UTC)
    east = datetime(2026, 12, 1, 9, tzinfo=timezone(timedelta(hours=5)))
    converted = read(due_at=east).due_at
    assert converted == east
    assert converted is not None
    assert converted.tzinfo is UTC


@pytest.mark.parametrize(
    "time", ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"]
)
def test_a_time_at_the_end_of_the_calendar_is_refused(time: str) -> None:
    for field in ("due_at", "occurred_at"):
        with pytest.raises(Refused, match=f'"{field}" must be an ISO 8601 time'):
            read(**{field: time})


@pytest.mark.parametrize(
    "seconds", [1e300, math.inf, math.nan, 3e11, -7e10, pytest.param(10**400, id="400 digits")]
)
def test_a_due_time_beyond_the_calendar_is_refused(seconds: float) -> None:
    with pytest.raises(Refused, match="beyond the calendar"):
        read(due_in_s=seconds)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"payload": None}, '"payload" must be a JSON object'),
        ({"payload": ["hello"]}, '"payload" must be a JSON object'),
        ({"colour": 1, "size": 2}, 'unknown field "size", "colour"; allowed are key, payload'),
        ({"key": ""}, '"key" must be a text of 1 to 512 characters'),
        ({"key": "k" * (KEY_LIMIT + 1)}, '"key" must be a text'),
        pytest.param({"key": 10**5000}, '"key" must be a text', id="a key of 5000 digits"),
        ({"key": True}, '"key" must be a text'),
        ({"key": 1.5}, '"key" must be a text'),
        ({"key": 7}, '"key" must be a text'),
        ({"consumer": 7}, '"consumer" must be a text'),
        ({"consumer": "a\x00"}, "consumer holds the character NUL"),
        ({"entity": "\ud800"}, "entity holds an unpaired surrogate"),
        ({"payload": {"a": {"b": "\x00"}}}, "payload.a.b holds the character NUL"),
        ({"payload": {"a": [math.nan]}}, r"payload.a\[0\] holds nan"),
        ({"payload": {"a": [math.inf]}}, "payload holds a number beyond 1e308"),
        ({"urgent": "yes"}, '"urgent" must be true or false'),
        ({"ack": 1}, '"ack" must be true or false'),
        ({"lane": "express"}, '"lane" must be realtime or batch'),
        ({"lane": ["batch"]}, '"lane" must be realtime or batch'),
        ({"due_at": "tomorrow"}, '"due_at" must be an ISO 8601 time'),
        ({"due_at": "20261124T130000Z"}, '"due_at" must be an ISO 8601 time'),
        ({"due_at": "2026-11-24T24:00:00Z"}, '"due_at" must be an ISO 8601 time'),
        ({"due_at": 1764579600}, '"due_at" must be an ISO 8601 time'),
        ({"due_in_s": "60"}, '"due_in_s" must be a number of seconds'),
        ({"due_in_s": True}, '"due_in_s" must be a number of seconds'),
        (
            {"due_in_s": 5, "due_at": "2026-12-01T09:00:00Z"},
            'give "due_at" or "due_in_s", not both',
        ),
    ],
)
def test_a_malformed_field_is_refused_with_its_expected_value(
    fields: dict[str, Any], said: str
) -> None:
    with pytest.raises(Refused, match=said) as caught:
        read(**fields)
    assert caught.value.reason == "malformed"


@pytest.mark.slow
@given(
    st.dictionaries(
        st.sampled_from(["key", "payload"]) | ANY_TEXT, any_json() | some_json(), max_size=3
    )
)
def test_any_json_is_refused_or_becomes_an_amendment_that_can_be_stored(
    fields: dict[str, Any],
) -> None:
    try:
        amendment = read_amendment("letters", fields, place=None)
    except Refused:
        return
    assert_jsonb_takes([amendment.key, amendment.payload])


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"payload": {}}, "an amendment needs the key of its item"),
        ({"key": "k1"}, '"payload" must be a JSON object'),
        (
            {"key": "k1", "payload": {}, "urgent": True},
            'unknown field "urgent"; an amendment holds key, payload',
        ),
        (
            {"key": "k1", "payload": {}, "occurred_at": "soon"},
            '"occurred_at" must be an ISO 8601 time',
        ),
        ({"key": "k1", "payload": {"a": "\x00"}}, "payload.a holds the character NUL"),
    ],
)
def test_a_malformed_amendment_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(Refused, match=said):
        read_amendment("letters", fields, place=None)


def test_an_amendment_names_its_item_and_its_place() -> None:
    assert read_amendment("letters", {"key": "7", "payload": {}}, place="e1") == Amendment(
        "letters", "7", {}, "e1"
    )


def test_an_amendment_without_occurred_at_uses_the_time_of_sending() -> None:
    sent = {"key": "k", "payload": {}}
    assert read_amendment("letters", sent, place="e1", sent_at=NOON).occurred_at == NOON
    said = sent | {"occurred_at": "2026-11-24T11:00:00Z"}
    assert read_amendment("letters", said, place="e1", sent_at=NOON).occurred_at == later(hours=-1)


def test_a_payload_of_900_levels_is_refused_without_a_crash() -> None:
    deep = json.loads('{"payload": ' + '{"a":' * 900 + "1" + "}" * 900 + "}")
    with pytest.raises(Refused, match="nested deeper"):
        read(**deep)


@pytest.mark.parametrize("said", [7, ["00"], {"a": 1}, True, "half a \ud800", "a \x00 in it"])
def test_an_invalid_traceparent_is_ignored(said: object) -> None:
    assert read(traceparent=said) == read()


@pytest.mark.parametrize(
    ("value", "amount"), [(None, None), (0, "0"), (0.1, "0.1"), (Decimal("12.50"), "12.50")]
)
def test_the_budget_of_a_job_is_an_exact_amount(value: object, amount: str | None) -> None:
    assert read_budget(value) == (None if amount is None else Decimal(amount))


@pytest.mark.parametrize(
    "value",
    [True, "1", -1, 1e10, math.nan, Decimal("NaN"), pytest.param(10**400, id="400 digits")],
)
def test_an_invalid_budget_is_refused(value: object) -> None:
    with pytest.raises(Refused, match="a job's budget must be 0 to 1,000,000,000 US dollars"):
        read_budget(value)
