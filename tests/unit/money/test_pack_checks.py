"""Which packed items are checked, and how much a call may hold whatever packing does."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanes.ids import VersionId, WorkId
from lanes.money.cost import most_answer_tokens
from lanes.money.pack_size import (
    MOST_ANSWER_TOKENS,
    is_checked,
    is_checked_twice,
    most_bytes,
    most_items,
)
from lanes.packing import Claim, ClaimedWork, fill_packs, item_bytes, packs
from lanes.words import Lane, Purpose
from tests.conftest import NOON
from tests.examples import spec, version

TODAY = datetime(2026, 11, 26, tzinfo=UTC)


@given(st.text(max_size=20), st.text(max_size=20), st.floats(0, 0.2), st.floats(0, 0.2))
def test_a_larger_share_only_adds_and_what_is_asked_twice_is_asked_once(
    workload: str, key: str, one: float, two: float
) -> None:
    less, more = sorted((one, two))
    assert is_checked(workload, key, more) or not is_checked(workload, key, less)
    assert is_checked(workload, key, one) or not is_checked_twice(workload, key, one)
    assert not is_checked(workload, key, 0)


def test_so_many_are_checked_as_the_share_says_and_a_third_of_them_twice() -> None:
    keys = [f"k{number}" for number in range(40_000)]
    checked = [key for key in keys if is_checked("letters", key, 0.05)]
    twice = [key for key in checked if is_checked_twice("letters", key, 0.05)]
    assert len(checked) == pytest.approx(2_000, rel=0.08)
    assert len(twice) == pytest.approx(2_000 / 3, rel=0.12)


def test_no_call_asks_for_more_than_its_model_can_say() -> None:
    assert most_items(spec(realtime_pack=20, max_output_tokens=300), Lane.REALTIME) == 20
    long = spec(realtime_pack=50, max_output_tokens=4_000)
    assert most_items(long, Lane.REALTIME) == 15
    assert most_answer_tokens(long, 15) <= MOST_ANSWER_TOKENS < most_answer_tokens(long, 16)
    assert most_items(spec(realtime_pack=50, max_output_tokens=32_000), Lane.REALTIME) == 1


def test_packs_stay_below_the_prompts_whose_tokens_cost_more_and_models_without_such_prices_are_not_bound() -> (
    None
):
    haiku = version(realtime_pack=50)
    in_batch, alone = (most_bytes(haiku, lane, TODAY) for lane in (Lane.BATCH, Lane.REALTIME))
    assert in_batch is not None
    assert 270_000 < in_batch < 3 * 100_000
    assert alone is not None
    assert 90_000 < alone < 100_000  # a byte may be a token
    assert most_bytes(version(realtime_model="claude-opus-5-5"), Lane.REALTIME, TODAY) is None


sized = st.lists(st.tuples(st.integers(1, 400), st.booleans()), max_size=40)


@given(sized, st.integers(1, 9), st.integers(1, 1_500))
def test_packs_hold_no_more_bytes_than_may_be_unless_one_item_alone_has_more(
    drawn: list[tuple[int, bool]], size: int, most: int
) -> None:
    waiting = [
        ClaimedWork(
            Claim(WorkId(n), 1),
            VersionId(1),
            "letters",
            f"k{n}",
            {"text": "é" * chars},
            Purpose.ANSWER,
            0,
            NOON,
            alone=alone,
        )
        for n, (chars, alone) in enumerate(drawn)
    ]
    for made in (packs(waiting, size, most=most), list(fill_packs(waiting, size, most=most))):
        assert sorted(each.claim.work_id for pack in made for each in pack) == list(
            range(len(waiting))
        )
        for pack in made:
            assert 1 <= len(pack) <= size
            assert len(pack) == 1 or sum(map(item_bytes, pack)) <= most
