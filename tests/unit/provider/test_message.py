"""The reader of a provider's message: it returns a response that can be booked and stored in full, or refuses the bill."""

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

INTEGER = 2**31 - 1  # the largest value of a ledger column


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
def test_any_message_gives_a_response_that_can_be_booked_and_stored_or_an_unreadable_bill(
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
def test_a_message_with_an_invalid_field_is_billed_only_if_its_bill_is_still_readable(
    kind: FieldKind,
) -> None:
    if kind.value == "deep":
        return  # no JSON parser reads it: the reader of batch results reports the line
    found = read(kind.spoil(message()))
    assert isinstance(found, Response) == kind.is_billed
    if isinstance(found, Response):
        assert (found.fault is None) == kind.is_answered
        assert found.usage == read_response(message()).usage


def test_cache_token_counts_may_be_null_or_missing_but_output_tokens_may_not() -> None:
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
def test_any_value_from_a_provider_is_quoted_as_one_short_line_that_can_be_stored(
    said: Any,
) -> None:
    line = quote_text(said)
    assert line.isprintable()
    assert len(line) <= 500
    assert not UNSTORABLE.search(line)


def test_a_message_with_a_lone_surrogate_and_a_nan_is_read_without_changing_its_text() -> None:
    odd = json.loads(json.dumps(message(text="\ud800", score=float("nan"))))
    assert read_response(odd).text == "\ud800"
