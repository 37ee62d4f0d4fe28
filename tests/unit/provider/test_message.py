"""What is read of a message: a response whose every part can be booked and stored, or no bill at all."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lanes.json_data import UNSTORABLE
from lanes.money.cost import divide
from lanes.provider.message import (
    LONGEST_NAME,
    MOST_TOKENS,
    UnreadableBill,
    quote_text,
    read_response,
)
from lanes.settling.outcome import Response, judge
from lanes.words import Lane, Outcome
from lanes.workload.prices import cost
from tests.conftest import NOON
from tests.examples import version
from tests.hostile.answers import KINDS, USAGE, FieldKind, message, messages
from tests.unit.strategies import any_json

INTEGER = 2**31 - 1  # the largest that a column of the ledger holds


def read(said: Any, request_id: str | None = None) -> Response | UnreadableBill:
    try:
        return read_response(said, request_id=request_id)
    except UnreadableBill as why:
        return why


@given(messages() | any_json(), st.none() | st.text())
@example(
    message(
        usage=USAGE
        | {"cache_creation_input_tokens": 1, "cache_creation": {"ephemeral_1h_input_tokens": 2}}
    ),
    None,
)
def test_a_response_can_be_booked_and_stored_whatever_the_message_was(
    said: Any, request_id: str | None
) -> None:
    found = read(said, request_id)
    if isinstance(found, UnreadableBill):
        assert str(found).isprintable()
        return
    used = found.usage
    parts = (used.input, used.output, used.cache_read, used.cache_write_5m, used.cache_write_1h)
    assert all(type(each) is int and 0 <= each <= MOST_TOKENS for each in parts)
    assert used.prompt <= INTEGER
    usd = cost(used, model="claude-opus-5-5", lane=Lane.REALTIME, at=NOON)
    assert Decimal(0) <= min(part.usd for part in divide(used, usd, 3))
    names = [found.message_id, *filter(None, (found.model, found.request_id))]
    assert all(1 <= len(each) <= LONGEST_NAME and each.isprintable() for each in names)
    assert found.fault is None or found.fault.isprintable()
    (judged,) = judge(found, ["1"], version().answer_check)
    assert found.fault is None or judged.outcome is Outcome.INVALID


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_a_spoiled_field_keeps_the_bill_that_can_be_read_and_no_other(kind: FieldKind) -> None:
    if kind.value == "deep":
        return  # no reader of JSON comes so far: the results say so of their line
    found = read(kind.spoil(message()))
    assert isinstance(found, Response) == kind.is_billed
    if isinstance(found, Response):
        assert (found.fault is None) == kind.is_answered
        assert found.usage == read_response(message()).usage


def test_counts_of_the_cache_may_be_null_or_missing_and_those_of_the_call_may_not() -> None:
    bare = read_response(message(usage={"input_tokens": 1, "output_tokens": 2}))
    nothing = {
        "cache_read_input_tokens": None,
        "cache_creation_input_tokens": None,
        "cache_creation": None,
    }
    assert read_response(message(usage={"input_tokens": 1, "output_tokens": 2} | nothing)) == bare
    with pytest.raises(
        UnreadableBill,
        match=r"output_tokens is missing or null, and no whole number from 0 to 100,000,000",
    ):
        read_response(message(usage={"input_tokens": 1}))


@given(any_json())
def test_what_a_provider_says_is_quoted_as_one_short_line_that_can_be_stored(said: Any) -> None:
    line = quote_text(said)
    assert line.isprintable()
    assert len(line) <= 500
    assert not UNSTORABLE.search(line)


def test_a_message_that_python_alone_takes_for_json_is_read_as_it_is() -> None:
    odd = json.loads(json.dumps(message(text="\ud800", score=float("nan"))))
    assert read_response(odd).text == "\ud800"
