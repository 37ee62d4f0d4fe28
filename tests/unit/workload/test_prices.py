"""The cost of a billed response: dated prices, exact arithmetic, the batch lane at half price."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from genai_prices.data_snapshot import get_snapshot
from hypothesis import example, given
from hypothesis import strategies as st

from lanes.words import Lane
from lanes.workload.prices import PROVIDER, Usage, calculate_price, cost, price_version, require
from tests.conftest import NOON

MODELS = ["claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5"]
KINDS = ["input", "output", "cache_read", "cache_write_5m", "cache_write_1h"]
tokens = st.integers(0, 20_000)
usages = st.builds(Usage, tokens, tokens, tokens, tokens, tokens)
ALL_MODELS = [
    model.id for each in get_snapshot().providers if each.id == PROVIDER for model in each.models
]
around_the_tiers = st.one_of(
    st.integers(0, 400_000), st.sampled_from([0, 1, 99_999, 100_000, 100_001, 200_000, 200_001])
)
any_usage = st.builds(Usage, *[around_the_tiers] * 5)
any_moment = st.timedeltas(timedelta(days=-900), timedelta(days=400)).map(lambda by: NOON + by)


def usd(usage: Usage, model: str = "claude-haiku-5-5", lane: Lane = Lane.REALTIME) -> Decimal:
    return cost(usage, model=model, lane=lane, at=NOON)


@pytest.mark.parametrize(
    ("model", "prices"),
    [
        ("claude-haiku-5-5", ["0.10", "0.50", "0.01", "0.125", "0.20"]),
        ("claude-sonnet-5-5", ["2", "10", "0.10", "2.5", "4"]),
        ("claude-opus-5-5", ["4", "20", "0.20", "5", "8"]),
    ],
)
def test_each_kind_of_token_has_its_price_in_dollars_per_million(
    model: str, prices: list[str]
) -> None:
    thousand = [usd(Usage(**{kind: 1_000}), model) for kind in KINDS]
    assert [each * 1_000 for each in thousand] == [Decimal(price) for price in prices]


@given(usages, st.sampled_from(MODELS))
def test_batch_costs_half_for_every_kind_of_token(usage: Usage, model: str) -> None:
    assert usd(usage, model, Lane.BATCH) * 2 == usd(usage, model)


@given(usages, st.sampled_from(MODELS))
def test_tokens_of_every_kind_are_counted_once(usage: Usage, model: str) -> None:
    parts = [Usage(**{kind: getattr(usage, kind)}) for kind in KINDS]
    assert usd(usage, model) == sum(usd(part, model) for part in parts)


@given(usages, st.sampled_from(MODELS), st.sampled_from(Lane))
def test_a_bill_fits_the_ten_decimals_of_the_ledger(usage: Usage, model: str, lane: Lane) -> None:
    bill = usd(usage, model, lane)
    assert bill >= 0
    assert bill == bill.quantize(Decimal("1e-10"))


def test_cached_tokens_are_part_of_the_prompt() -> None:
    usage = Usage(input=1, output=2, cache_read=30, cache_write_5m=400, cache_write_1h=5_000)
    assert (usage.cache_write, usage.prompt) == (5_400, 5_431)


def test_a_prompt_above_100_000_tokens_pays_five_times_for_all_of_it() -> None:
    assert usd(Usage(input=100_001)) == 5 * 100_001 * Decimal("0.0000001")
    assert usd(Usage(input=1, cache_read=100_000)) == 5 * (
        Decimal("0.0000001") + 100_000 * Decimal("0.00000001")
    )


def test_a_dated_model_name_has_the_price_of_its_model() -> None:
    assert usd(Usage(input=1_000), "claude-haiku-5-5-20261001") == usd(Usage(input=1_000))


@given(any_usage, st.sampled_from(ALL_MODELS), st.sampled_from(Lane), any_moment)
@example(
    Usage(input=1), "claude-haiku-4-5", Lane.BATCH, datetime(2026, 10, 13, 23, 59, 59, tzinfo=UTC)
)
@example(Usage(input=1), "claude-haiku-4-5", Lane.BATCH, datetime(2026, 10, 14, tzinfo=UTC))
def test_a_bill_equals_the_calculation_of_genai_prices(
    usage: Usage, model: str, lane: Lane, at: datetime
) -> None:
    assert (
        cost(usage, model=model, lane=lane, at=at)
        == calculate_price(usage, model=model, lane=lane, at=at).total_price
    )


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Honolulu"])
def test_a_price_starts_at_midnight_utc_for_a_moment_in_any_time_zone(zone: str) -> None:
    last, first = datetime(2026, 10, 13, 23, 59, 59, tzinfo=UTC), datetime(2026, 10, 14, tzinfo=UTC)
    one: dict[str, Any] = {"model": "claude-haiku-4-5", "lane": Lane.BATCH}
    there = [
        cost(Usage(input=1_000), at=at.astimezone(ZoneInfo(zone)), **one) for at in (last, first)
    ]
    assert there[0] == there[1] * 2


def test_an_unknown_model_has_no_price() -> None:
    with pytest.raises(LookupError):
        usd(Usage(input=1), "gpt-0")
    with pytest.raises(
        ValueError, match='no price is known for the model "gpt-0"; correct the name'
    ):
        require("gpt-0")


@pytest.mark.parametrize("model", MODELS)
def test_a_model_with_a_known_price_is_accepted(model: str) -> None:
    require(model)


def test_the_price_version_names_genai_prices_and_its_release() -> None:
    name, number = price_version().split()
    assert name == "genai-prices"
    assert number[0].isdigit()
