"""Estimates before a call, the bound of a lost call, and the division of a shared bill."""

import itertools
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanes import json_data
from lanes.json_data import call_bytes
from lanes.money.caching import build_write_usage
from lanes.money.cost import allocate, allocate_usd, pack_bound, tokens, upper_bound
from lanes.money.estimates import Estimates, Sharing
from lanes.money.pack_size import PackDecision, PackPlace, PackSizes, most_bytes
from lanes.packing import FRAME_CHARS, pack_ids
from lanes.provider.requests import Question, Writer
from lanes.words import Lane
from lanes.workload.context import ContextPart
from lanes.workload.prices import Usage, cost
from tests.conftest import NOON, later
from tests.examples import version

weights = st.lists(st.integers(0, 10_000), min_size=1, max_size=60)
bills = (
    st.decimals(0, 1_000, places=10)
    | st.decimals(0, 1_000, places=4)
    | st.decimals(0, 1_000, places=14)
)


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
def test_dollars_of_equal_items_differ_by_no_more_than_the_ledgers_last_digit(
    nano: int, items: int
) -> None:
    parts = allocate_usd(Decimal(nano).scaleb(-9).normalize(), [1] * items)
    assert max(parts) - min(parts) <= Decimal("1e-10")
    assert all(part == part.quantize(Decimal("1e-10")) for part in parts)


def test_equal_remainders_go_to_the_earlier_part() -> None:
    assert allocate(10, [1, 1, 1, 1]) == [3, 3, 2, 2]
    assert allocate(7, [0, 0]) == [4, 3]
    assert allocate(7, []) == []


def test_a_round_bill_is_divided_among_all_items() -> None:
    assert allocate_usd(Decimal("0.0001"), [1] * 20) == [Decimal("0.000005")] * 20
    assert allocate_usd(Decimal("1E+2"), [1, 1, 2]) == [25, 25, 50]


def test_tokens_are_estimated_at_four_characters_and_rounded_up() -> None:
    assert [tokens(0), tokens(1), tokens(4), tokens(5), tokens("hello")] == [0, 1, 1, 2, 2]


@given(st.integers(0, 100_000), st.integers(0, 100_000))
def test_a_longer_payload_never_costs_less_and_batch_never_more_than_realtime(
    one: int, other: int
) -> None:
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


def test_estimates_of_several_versions_equal_their_separate_estimates() -> None:
    versions = [
        version(1),
        version(
            2, instructions="i" * 9_000, batch_pack=7, realtime_pack=3, expected_output_tokens=999
        ),
    ]
    together = Estimates(NOON)
    for chars, of in itertools.product((0, 1, 77, 5_000, 4_000_000), versions):
        assert together.of(of, chars) == Estimates(NOON).of(of, chars)


def test_an_estimate_is_the_same_during_the_whole_day() -> None:
    assert Estimates(NOON).of(version(), 100) == Estimates(later(hours=11)).of(version(), 100)


# Characters that JSON or a fence escapes.
SPECIAL = '"\\\n\t<>/{}[]itemhistory\uff49\uff54\uff1c\ufe64\x01'
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60) | st.text(
    SPECIAL, max_size=60
)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
payloads = st.dictionaries(
    texts | st.sampled_from(["text", "body"]), values, min_size=1, max_size=4
)
SCHEMA = {
    "type": "object",
    "required": ["category"],
    "title": 'of "letters"',
    "$defs": {
        "tag": {"type": "string", "pattern": '^["\\\\a-z]{1,9}$', "examples": ["é\u200b", '"']}
    },
    "properties": {
        "category": {"enum": ["a", "b"], "description": "一种 \n kind"},
        "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}},
        "score": {"type": "number", "minimum": 0, "maximum": 1, "multipleOf": 0.25},
        "free": {"type": "object"},
    },
}


@pytest.mark.slow
@given(
    st.lists(payloads, min_size=1, max_size=4),
    st.lists(payloads, max_size=2),
    st.sampled_from(Lane),
    st.booleans(),
    st.sampled_from([SCHEMA, version().spec.output_schema]),
    texts,
)
def test_the_bound_of_a_call_covers_a_token_for_every_byte_of_its_body(
    pack: list[dict[str, Any]],
    history: list[dict[str, Any]],
    lane: Lane,
    marked: bool,
    schema: dict[str, Any],
    said: str,
) -> None:
    instructions = f"Sort. {said}".replace("\0", "")  # no version contains NUL
    letters = version(
        batch_pack=7, realtime_pack=7, output_schema=schema, instructions=instructions
    )
    parts = [ContextPart(each, answer=each, label=each) for each in history]
    told = tuple(parts) if lane is Lane.BATCH else ()
    ids = pack_ids("0123456789abcdef", 0, len(pack))
    body = Writer(letters, lane).write(
        [Question(id_, each, told) for id_, each in zip(ids, pack, strict=True)], marked=marked
    )
    most, day = (
        json.loads(body)["max_tokens"],
        {"model": letters.spec.model_of(lane), "lane": lane, "at": NOON},
    )
    own = len(json_data.dumps(json.loads(body)["messages"][0]["content"]).encode())
    sizes = [call_bytes(each) + sum(one.most_bytes for one in told) for each in pack]
    bound = pack_bound(letters, sum(sizes), items=len(pack), lane=lane, marked=marked, at=NOON)
    assert bound >= cost(Usage(input=len(body), output=most), **day)
    if marked:
        assert bound >= cost(
            build_write_usage(lane, len(body) - own)._replace(input=own, output=most), **day
        )
    assert (
        sum(upper_bound(letters, size, lane=lane, marked=marked, at=NOON) for size in sizes)
        >= bound
    )


def test_a_pack_never_costs_more_than_its_single_calls_despite_dearer_long_prompts() -> None:
    haiku = version(realtime_pack=50)
    most = most_bytes(haiku, Lane.REALTIME, NOON)
    assert most is not None
    for each in (1, 500, 9_000):
        items = min(50, most // each)
        together = pack_bound(
            haiku, items * (each - FRAME_CHARS), items=items, lane=Lane.REALTIME, at=NOON
        )
        assert together <= items * upper_bound(
            haiku, each - FRAME_CHARS, lane=Lane.REALTIME, at=NOON
        )


def test_an_estimate_prices_shared_tokens_at_the_hit_rate_of_the_lane() -> None:
    letters = version(instructions="i" * 4_000, realtime_pack=4)
    shared = 1_000 + tokens(json.dumps(letters.spec.output_schema))
    cached = Estimates(NOON, Sharing(hit_rates={(letters.id, Lane.REALTIME): 0.5})).of(letters, 200)
    plain = Estimates(NOON).of(letters, 200)
    assert cached.batch == plain.batch
    less = Decimal(shared) / 4 * (1 - Decimal("0.675")) * Decimal("0.0000001")
    assert plain.realtime - cached.realtime == pytest.approx(less, abs=Decimal("2e-9"))


def test_an_estimate_divides_shared_tokens_by_the_pack_size_in_force() -> None:
    letters = version(instructions="i" * 4_000, realtime_pack=8, batch_pack=8)
    halved = Sharing(PackSizes({PackPlace.of(letters, Lane.BATCH): PackDecision(2, 8, NOON)}))
    found, plain = Estimates(NOON, halved).of(letters, 200), Estimates(NOON).of(letters, 200)
    assert found.realtime == plain.realtime
    assert (
        found.batch
        == Estimates(NOON).of(version(instructions="i" * 4_000, batch_pack=2), 200).batch
        > plain.batch
    )
