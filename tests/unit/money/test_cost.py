"""Estimates before a call, the bound of a lost one, and the division of a shared bill."""

import itertools
import json
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanes.money.caching import written
from lanes.money.cost import Estimates, allocate, allocate_usd, pack_bound, tokens, upper_bound
from lanes.money.pack_size import Decided, PackSizes, Place
from lanes.money.sharing import Sharing
from lanes.provider.requests import Question, parameters
from lanes.words import Lane
from lanes.workload.prices import Usage, cost
from tests.conftest import NOON, later
from tests.examples import version

CYRILLIC, HAN, EMOJI = "\u0437\u0430\u044f\u0432\u043a\u0430 ", "\u9000\u6b3e\u7533\u8bf7", "\U0001f600"
weights = st.lists(st.integers(0, 10_000), min_size=1, max_size=60)
bills = st.decimals(0, 1_000, places=10) | st.decimals(0, 1_000, places=4) | st.decimals(0, 1_000, places=14)


@given(st.integers(0, 10**9), weights)
def test_the_parts_are_whole_and_sum_exactly_to_the_total(total: int, shares: list[int]) -> None:
    parts = allocate(total, shares)
    assert len(parts) == len(shares)
    assert all(isinstance(part, int) and part >= 0 for part in parts)
    assert sum(parts) == total


@given(st.integers(0, 10**9), weights)
def test_no_part_is_a_whole_unit_away_from_its_quota(total: int, shares: list[int]) -> None:
    shares = shares if sum(shares) else [1] * len(shares)
    for part, weight in zip(allocate(total, shares), shares, strict=True):
        assert abs(part * sum(shares) - total * weight) < sum(shares)


@given(bills, weights)
def test_dollars_sum_exactly_to_the_bill(total: Decimal, shares: list[int]) -> None:
    parts = allocate_usd(total, shares)
    assert sum(parts) == total
    assert all(part >= 0 for part in parts)


@given(st.integers(1, 10**9), st.integers(1, 50))
def test_dollars_of_equal_items_differ_by_no_more_than_the_ledgers_last_digit(nano: int, items: int) -> None:
    parts = allocate_usd(Decimal(nano).scaleb(-9).normalize(), [1] * items)
    assert max(parts) - min(parts) <= Decimal("1e-10")
    assert all(part == part.quantize(Decimal("1e-10")) for part in parts)


def test_equal_remainders_go_to_the_earlier_part() -> None:
    assert allocate(10, [1, 1, 1, 1]) == [3, 3, 2, 2]
    assert allocate(7, [0, 0]) == [4, 3]
    assert allocate(7, []) == []


def test_a_round_bill_is_divided_among_all_and_not_given_to_the_first() -> None:
    assert allocate_usd(Decimal("0.0001"), [1] * 20) == [Decimal("0.000005")] * 20
    assert allocate_usd(Decimal("1E+2"), [1, 1, 2]) == [25, 25, 50]


def test_tokens_are_estimated_at_four_characters_and_rounded_up() -> None:
    assert [tokens(0), tokens(1), tokens(4), tokens(5), tokens("hello")] == [0, 1, 1, 2, 2]


@given(st.integers(0, 100_000), st.integers(0, 100_000))
def test_a_longer_payload_never_costs_less_and_batch_never_more_than_realtime(one: int, other: int) -> None:
    short, long = (Estimates(NOON).of(version(), chars) for chars in sorted((one, other)))
    assert short.realtime <= long.realtime
    assert short.batch <= long.batch < long.realtime


def test_an_estimate_is_the_price_of_its_tokens() -> None:
    letters = version(instructions="i" * 4_000, expected_output_tokens=80, batch_pack=10)
    shared = 1_000 + tokens(json.dumps(letters.spec.output_schema))
    expected = (shared + 50) * Decimal("0.0000001") + 80 * Decimal("0.0000005")
    assert Estimates(NOON).of(letters, 200).realtime == expected
    packed = (Decimal(shared) / 10 + 50) * Decimal("0.00000005") + 80 * Decimal("0.00000025")
    assert Estimates(NOON).of(letters, 200).batch == packed.quantize(Decimal("1e-9"))


def test_estimates_of_several_versions_are_those_of_each() -> None:
    versions = [version(1), version(2, instructions="i" * 9_000, batch_pack=7, realtime_pack=3, expected_output_tokens=999)]
    together = Estimates(NOON)
    for chars, of in itertools.product((0, 1, 77, 5_000, 4_000_000), versions):
        assert together.of(of, chars) == Estimates(NOON).of(of, chars)


def test_an_estimate_holds_for_the_whole_day() -> None:
    assert Estimates(NOON).of(version(), 100) == Estimates(later(hours=11)).of(version(), 100)


@pytest.mark.parametrize("lane", Lane)
@pytest.mark.parametrize("text", ["hello", CYRILLIC * 100, HAN * 200, EMOJI * 300])
@pytest.mark.parametrize("items", [1, 7])
def test_the_bound_of_a_call_covers_whatever_it_can_have_cost(lane: Lane, text: str, items: int) -> None:
    letters, payload = version(batch_pack=7, realtime_pack=7), {"text": text}
    body = parameters(letters, lane, [Question(str(slot), payload) for slot in range(1, items + 1)])
    shared = (len(body["system"].encode()) + len(json.dumps(body["output_config"]))) // 4
    own = len(json.dumps(body["messages"], ensure_ascii=False).encode()) // 4
    plain = Usage(input=shared + own, output=body["max_tokens"])
    cached = replace(written(lane, shared), input=own, output=body["max_tokens"])
    chars = len(json.dumps(payload, ensure_ascii=False))
    for marked, used in ((False, plain), (True, plain), (True, cached)):
        worst = cost(used, model=body["model"], lane=lane, at=NOON)
        assert pack_bound(letters, chars * items, items=items, lane=lane, marked=marked, at=NOON) >= worst
        assert upper_bound(letters, chars, lane=lane, marked=marked, at=NOON) * items >= worst


def test_an_estimate_has_what_is_shared_at_the_hit_rate_of_its_lane() -> None:
    letters = version(instructions="i" * 4_000, realtime_pack=4)
    shared = 1_000 + tokens(json.dumps(letters.spec.output_schema))
    cached = Estimates(NOON, Sharing(hit_rates={(letters.id, Lane.REALTIME): 0.5})).of(letters, 200)
    plain = Estimates(NOON).of(letters, 200)
    assert cached.batch == plain.batch
    less = Decimal(shared) / 4 * (1 - Decimal("0.675")) * Decimal("0.0000001")
    assert plain.realtime - cached.realtime == pytest.approx(less, abs=Decimal("2e-9"))


def test_an_estimate_divides_what_is_shared_by_the_pack_size_in_force() -> None:
    letters = version(instructions="i" * 4_000, realtime_pack=8, batch_pack=8)
    halved = Sharing(PackSizes({Place.of(letters, Lane.BATCH): Decided(2, 8, NOON)}))
    found, plain = Estimates(NOON, halved).of(letters, 200), Estimates(NOON).of(letters, 200)
    assert found.realtime == plain.realtime
    assert found.batch == Estimates(NOON).of(version(instructions="i" * 4_000, batch_pack=2), 200).batch > plain.batch
