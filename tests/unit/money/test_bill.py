"""Differences between the provider's bill and the ledger: a table of rows, and differences that neither side caused."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanes.money.bill import KINDS, BillKey, LedgerRow, ProviderRow, Tokens, compare
from lanes.words import Lane
from lanes.workload.prices import Usage, cost

KEY = BillKey(datetime(2026, 11, 28, tzinfo=UTC), "claude-haiku-5-5", Lane.REALTIME)
NOTHING, SOME = Tokens(), Tokens(input=1_000, output=50)
MORE = SOME + Tokens(input=500)
PRICE = cost(Usage(input=1_000, output=50), model=KEY.model, lane=KEY.lane, at=KEY.at)


def both(ours: LedgerRow, theirs: ProviderRow) -> str:
    """Return the reported difference of the row; empty if both sides agree."""
    return " ".join(each.sentence for each in compare({KEY: ours}, {KEY: theirs}))


def billed(own: Tokens, workspace: Tokens | None = None, **more: Any) -> ProviderRow:
    return ProviderRow(own, own if workspace is None else workspace, **more)


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [
        (LedgerRow(SOME, SOME), billed(SOME), ""),
        (LedgerRow(NOTHING, SOME), billed(NOTHING), ""),  # called before midnight, or after
        (LedgerRow(SOME, SOME), billed(MORE), "500 input tokens"),
        (LedgerRow(MORE, MORE), billed(SOME), "less than the ledger"),
        (LedgerRow(MORE, MORE), billed(SOME, MORE), ""),  # the key was replaced that day
        (LedgerRow(SOME, SOME), billed(SOME, MORE), ""),  # another key of the workspace
        (LedgerRow(SOME, SOME, 1, Decimal(1)), billed(MORE), ""),
        (LedgerRow(SOME, SOME, 1, Decimal("1e-9")), billed(MORE), "1 attempt without an answer"),
        (LedgerRow(SOME, SOME), billed(SOME, cost_usd=PRICE), ""),
        (LedgerRow(SOME, SOME), billed(SOME, cost_usd=PRICE + 1), "its tokens cost $1.00"),
    ],
)
def test_a_row_differs_only_beyond_the_effect_of_midnight_lost_answers_and_other_keys(
    ours: LedgerRow, theirs: ProviderRow, said: str
) -> None:
    told = both(ours, theirs)
    assert said in told
    assert bool(told) is bool(said)


def test_a_model_without_a_price_is_compared_by_its_tokens() -> None:
    key = KEY._replace(model="claude-unknown-0")
    (found,) = compare({key: LedgerRow(SOME, SOME, 1, Decimal(1))}, {key: billed(MORE)})
    assert found.sentence == (
        "claude-unknown-0 on realtime: 500 input tokens more than the ledger; 1 attempt without an answer explain at most $1.00"
    )


def test_a_row_that_only_one_side_has_is_a_difference() -> None:
    assert len(compare({KEY: LedgerRow(SOME, SOME)}, {})) == 1
    assert len(compare({}, {KEY: billed(SOME)})) == 1


TOKENS = st.builds(Tokens, **dict.fromkeys(KINDS, st.integers(0, 10_000)))


@given(st.lists(TOKENS, max_size=6), st.lists(st.booleans(), min_size=6, max_size=6))
def test_responses_at_midnight_never_make_a_difference_on_either_billing_day(
    responses: list[Tokens], today: list[bool]
) -> None:
    within, edge = responses[:3], responses[3:]
    least, most, told = NOTHING, NOTHING, NOTHING
    for each in within:
        least, most, told = least + each, most + each, told + each
    for each, is_today in zip(edge, today, strict=False):
        most = most + each
        told = told + each if is_today else told
    assert both(LedgerRow(least, most), billed(told)) == ""
