"""The savings of each part: calculated by hand, and parts that add up exactly for any bill."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanes.advice.savings import Billed, PriceList, TokenPrices, savings
from lanes.words import Lane

MILLIONTH = Decimal("0.000001")


def prices(*per_million: str) -> TokenPrices:
    return TokenPrices(*(Decimal(each) * MILLIONTH for each in per_million))


# Prices of Haiku 5.5 as in FACTS; every batch price is half.
HAIKU = prices("0.10", "0.50", "0.01", "0.125")
HOURLY = prices("0.10", "0.50", "0.01", "0.20")
HALF = prices("0.05", "0.25", "0.005", "0.10")
LISTED = PriceList({Lane.REALTIME: HAIKU, Lane.BATCH: HOURLY}, HOURLY, HALF)
SHARED = 4_000


def billed(lane: Lane, **fields: Any) -> Billed:
    """Bill 1,000 items with 4,000 shared, 200 own and 80 output tokens, one item per uncached call, at list price."""
    usd = Decimal("0.46") if lane is Lane.REALTIME else Decimal("0.23")
    whole: dict[str, Any] = {
        "is_second": False,
        "calls": 1_000,
        "items": 1_000,
        "answers": 1_000,
        "input": 4_200_000,
        "cached": 0,
        "written": 0,
        "output": 80_000,
        "usd": usd,
    }
    return Billed(lane, **(whole | fields))


def test_single_uncached_real_time_items_save_nothing() -> None:
    found = savings([billed(Lane.REALTIME)], LISTED, shared_tokens=SHARED, chosen=0)
    assert found is not None
    assert (found.alone_usd, found.paid_usd, found.saved_usd) == (
        Decimal("0.46"),
        Decimal("0.46"),
        0,
    )


def test_each_saving_matches_a_calculation_by_hand() -> None:
    packed = {"calls": 50, "input": 400_000}  # packs of 20: 50 * 4,000 + 1,000 * 200
    batch = billed(Lane.BATCH, **packed, usd=Decimal("0.04"))
    found = savings([batch], LISTED, shared_tokens=SHARED, chosen=0.25)
    assert found is not None
    assert found.alone_usd == Decimal("0.46")
    assert found.packing_usd == Decimal("0.38")  # 3,800,000 tokens at 0.10
    assert (found.discount_usd, found.routing_usd) == (
        Decimal("0.03"),
        Decimal("0.01"),
    )  # half of 0.08
    assert (
        found.caching_usd,
        found.model_usd,
        found.prices_usd,
        found.second_usd,
        found.repeats_usd,
    ) == (0, 0, 0, 0, 0)
    cached = billed(
        Lane.REALTIME, input=204_000, cached=3_992_000, written=4_000, usd=Decimal("0.100820")
    )
    found = savings([cached], LISTED, shared_tokens=SHARED, chosen=0)
    assert found is not None
    assert (found.packing_usd, found.caching_usd) == (
        0,
        Decimal("0.3591800000"),
    )  # 3,992,000 * 0.09 less 4,000 * 0.025
    assert found.prices_usd == 0


def test_second_passes_and_repeats_reduce_the_savings_by_their_cost() -> None:
    twice = [
        billed(
            Lane.REALTIME,
            items=1_100,
            calls=1_100,
            input=4_620_000,
            output=88_000,
            usd=Decimal("0.506"),
        ),
        billed(Lane.BATCH, is_second=True, answers=0),
    ]
    found = savings(twice, LISTED, shared_tokens=SHARED, chosen=0)
    assert found is not None
    assert (found.alone_usd, found.second_usd, found.repeats_usd) == (
        Decimal("0.46"),
        Decimal("-0.23"),
        Decimal("-0.046"),
    )
    assert found.paid_usd == Decimal("0.736")


def test_a_dearer_batch_model_and_older_prices_are_separate_parts() -> None:
    dearer = PriceList(
        {Lane.REALTIME: HAIKU, Lane.BATCH: HOURLY},
        prices("2", "10", "0.1", "4"),
        prices("1", "5", "0.05", "2"),
    )
    found = savings([billed(Lane.BATCH, usd=Decimal("5"))], dearer, shared_tokens=SHARED, chosen=1)
    assert found is not None
    assert found.model_usd == Decimal("-8.74")  # 9.20 at full price instead of 0.46
    assert (found.discount_usd, found.routing_usd, found.prices_usd) == (
        0,
        Decimal("4.60"),
        Decimal("-0.4"),
    )


def test_savings_without_answers_are_none() -> None:
    assert savings([], LISTED, shared_tokens=SHARED, chosen=0) is None
    assert (
        savings(
            [billed(Lane.BATCH, is_second=True, answers=0)], LISTED, shared_tokens=SHARED, chosen=0
        )
        is None
    )


tokens = st.integers(0, 10**9)
calls = st.builds(
    lambda lane, second, calls, packed, answers, into, cached, written, out, usd: Billed(
        lane,
        second,
        calls,
        calls + packed,
        0 if second else min(answers, calls + packed),
        into,
        cached,
        written,
        out,
        usd,
    ),
    st.sampled_from(Lane),
    st.booleans(),
    st.integers(0, 10**6),
    st.integers(0, 10**6),
    st.integers(0, 10**6),
    tokens,
    tokens,
    tokens,
    tokens,
    st.decimals(0, 10**6, places=10),
)
listed = st.builds(TokenPrices, *[st.decimals(0, "0.001", places=9)] * 4)


lists = st.builds(
    lambda quick, hourly, *batch: PriceList({Lane.REALTIME: quick, Lane.BATCH: hourly}, *batch),
    *[listed] * 4,
)


@given(st.lists(calls, max_size=4), lists, st.integers(0, 10**5), st.floats(0, 1))
def test_the_parts_always_add_up_exactly(
    used: list[Billed], of: PriceList, shared: int, chosen: float
) -> None:
    found = savings(used, of, shared_tokens=shared, chosen=chosen)
    if found is None:
        return
    parts = (
        found.packing_usd
        + found.caching_usd
        + found.model_usd
        + found.discount_usd
        + found.routing_usd
        + found.prices_usd
        + found.second_usd
        + found.repeats_usd
    )
    assert found.alone_usd - parts == found.paid_usd
    assert found.paid_usd == sum((each.usd for each in used if each.calls), Decimal(0))
    assert found.packing_usd >= 0
    assert found.second_usd <= 0


@pytest.mark.parametrize("chosen", [0.0, 1.0])
def test_the_batch_discount_counts_as_routing_if_the_router_was_free_to_choose(
    chosen: float,
) -> None:
    found = savings([billed(Lane.BATCH)], LISTED, shared_tokens=SHARED, chosen=chosen)
    assert found is not None
    assert (found.discount_usd, found.routing_usd) == (
        Decimal("0.23") * int(1 - chosen),
        Decimal("0.23") * int(chosen),
    )
