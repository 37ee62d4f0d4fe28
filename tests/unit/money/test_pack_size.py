"""How many items share a call: fewer where packing measurably hurts, more again where it does not; and the checks of it."""

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanes.ids import VersionId, WorkId
from lanes.money.cost import most_answer_tokens
from lanes.money.pack_size import (
    MOST_ANSWER_TOKENS,
    PackDecision,
    PackEvidence,
    PackHarm,
    PackPlace,
    PackSizes,
    decide,
    is_checked,
    is_checked_twice,
    most_bytes,
    most_items,
    size_in_force,
    sizes,
    total,
)
from lanes.packing import Claim, ClaimedWork, fill_packs, item_bytes, packs
from lanes.statistics.shares import NOTHING, SampleShare
from lanes.words import Lane, Purpose
from tests.conftest import NOON, later
from tests.examples import spec, version

GOOD, BAD, SINGLE = SampleShare(392, 400), SampleShare(110, 200), SampleShare(97, 100)
TODAY = datetime(2026, 11, 26, tzinfo=UTC)


def at(size: int, allowed: int = 20) -> PackDecision:
    return PackDecision(size, allowed, NOON)


def test_the_sizes_are_the_allowed_size_and_its_halves() -> None:
    assert sizes(20) == [20, 10, 5, 2, 1]
    assert sizes(1) == [1]


def test_a_workload_without_evidence_uses_its_allowed_size() -> None:
    assert size_in_force(None, 20) == 20
    assert decide(None, 20, PackEvidence(), {}, now=NOON) is None


def test_packing_that_surely_hurts_agreement_halves_the_pack_size() -> None:
    made = decide(None, 20, PackEvidence({20: BAD}, SINGLE), {}, now=NOON)
    assert made == PackDecision(
        10,
        20,
        NOON,
        "packs of 20 hurt: packed agrees 0.55 (n 200), single with single 0.97 (n 100)",
        hurt=20,
        packed=BAD,
        alone=SINGLE,
    )


def test_the_pack_size_falls_to_one_if_every_size_hurts() -> None:
    last, allowed = None, 20
    for size in (20, 10, 5, 2):
        last = decide(last, allowed, PackEvidence({size: BAD}, SINGLE), {}, now=NOON)
        assert last is not None
    assert (last.size, size_in_force(last, allowed)) == (1, 1)


def test_packs_that_are_rarely_full_count_by_their_actual_size() -> None:
    made = decide(None, 20, PackEvidence({4: BAD, 18: GOOD}, SINGLE), {}, now=NOON)
    assert made is not None
    assert (made.size, made.hurt) == (2, 5)


@pytest.mark.parametrize(
    "evidence",
    [
        PackEvidence({20: BAD}),
        PackEvidence({20: BAD}, SampleShare(3, 3)),
        PackEvidence({20: SampleShare(3, 6)}, SINGLE),
        PackEvidence({}, SINGLE),
        PackEvidence({20: GOOD}, SINGLE),
        PackEvidence({20: SampleShare(190, 200)}, SINGLE),
    ],
)
def test_evidence_without_clear_harm_changes_nothing(evidence: PackEvidence) -> None:
    assert decide(None, 20, evidence, {}, now=NOON) is None


def test_the_pack_size_grows_by_one_step_if_the_size_in_force_does_no_harm() -> None:
    made = decide(at(5), 20, PackEvidence({5: GOOD}, SINGLE), {}, now=later(days=3))
    assert made is not None
    assert (made.size, made.hurt) == (10, None)
    assert (
        decide(at(5), 20, PackEvidence({5: SampleShare(20, 20)}, SINGLE), {}, now=later(days=3))
        is None
    )


def test_a_harmful_size_rests_for_a_day_and_each_time_twice_as_long_up_to_16_days() -> None:
    known = PackEvidence({5: GOOD}, SINGLE)
    for times, days in ((1, 1), (2, 2), (4, 8), (9, 16)):
        hurts = {10: PackHarm(times, NOON)}
        assert decide(at(5), 20, known, hurts, now=later(days=days) - timedelta(seconds=1)) is None
        assert decide(at(5), 20, known, hurts, now=later(days=days)) is not None


def test_packs_are_tried_again_after_their_rest_if_all_calls_are_single() -> None:
    assert decide(at(1), 20, PackEvidence(), {2: PackHarm(1, NOON)}, now=later(hours=23)) is None
    made = decide(at(1), 20, PackEvidence(), {2: PackHarm(1, NOON)}, now=later(hours=24))
    assert made is not None
    assert (made.size, made.why) == (2, "packs of 2 rested, and are tried again")


def test_the_allowed_size_limits_the_decided_size() -> None:
    assert size_in_force(at(10), 4) == 4
    assert size_in_force(at(10), 40) == 10
    assert size_in_force(at(20, allowed=20), 40) == 40  # no evidence speaks against more
    assert size_in_force(at(10), 16) == 8  # the next smaller size of this ladder


def test_a_decided_size_applies_only_to_the_measured_model_and_lane() -> None:
    haiku, opus = (
        version(realtime_pack=20),
        version(realtime_pack=20, realtime_model="claude-opus-5-5"),
    )
    known = PackSizes({PackPlace.of(haiku, Lane.REALTIME): at(5)})
    assert (
        known.of(haiku, Lane.REALTIME),
        known.of(opus, Lane.REALTIME),
        known.of(haiku, Lane.BATCH),
    ) == (5, 20, 1)


counts = (
    st.integers(0, 300)
    .flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
    .map(lambda of: SampleShare(*of))
)


@given(
    st.integers(1, 50),
    st.one_of(st.none(), st.tuples(st.integers(1, 50), st.integers(1, 50))),
    st.dictionaries(st.integers(2, 50), counts, max_size=5),
    counts,
)
def test_a_decision_is_an_allowed_size_and_halves_the_size_that_hurt(
    allowed: int, last: tuple[int, int] | None, packed: dict[int, SampleShare], alone: SampleShare
) -> None:
    before = None if last is None else PackDecision(last[0], max(last), NOON)
    size = size_in_force(before, allowed)
    assert 1 <= size <= allowed
    made = decide(before, allowed, PackEvidence(packed, alone), {}, now=later(days=1))
    if made is None:
        return
    assert made.size in sizes(allowed)
    assert made.size != size
    assert (made.size < size) == (made.hurt is not None)
    if made.hurt is not None:
        assert made.size == made.hurt // 2
        assert made.packed.samples > 0
        assert made.alone.samples > 0


def weeks(
    agrees: Callable[[int], float], *, alone: float, a_day: int, days: int = 56, allowed: int = 20
) -> list[int]:
    """Return the size in force in each hour, with `a_day` items checked a day and a third of them checked twice."""
    drawn, last, hurts, now = random.Random(5), None, dict[int, PackHarm](), NOON
    packed, single, found = NOTHING, NOTHING, list[int]()
    for _ in range(days * 24):
        now += timedelta(hours=1)
        size = size_in_force(last, allowed)
        found.append(size)
        for _ in range(a_day // 24):
            if size > 1:
                packed = total([packed, SampleShare(int(drawn.random() < agrees(size)), 1)])
                if drawn.random() < 1 / 3:
                    single = total([single, SampleShare(int(drawn.random() < alone), 1)])
        made = decide(
            last,
            allowed,
            PackEvidence({size: packed} if packed.samples else {}, single),
            hurts,
            now=now,
        )
        if made is not None:
            last, packed = made, NOTHING
            if made.hurt is not None:
                hurts[made.hurt] = PackHarm(
                    hurts[made.hurt].times + 1 if made.hurt in hurts else 1, now
                )
    return found


@pytest.mark.slow
def test_harmless_packing_is_never_reduced_in_eight_weeks_of_hourly_decisions() -> None:
    assert set(weeks(lambda _: 0.95, alone=0.95, a_day=240)) == {20}


@pytest.mark.slow
def test_a_model_that_fails_above_five_items_packs_five_for_most_of_eight_weeks() -> None:
    found = weeks(lambda size: 0.97 if size <= 5 else 0.1, alone=0.97, a_day=240)
    assert found[24] <= 5
    assert sum(size > 5 for size in found) / len(found) < 0.02
    assert sum(size == 5 for size in found) / len(found) > 0.9


@pytest.mark.slow
def test_packing_that_always_hurts_a_little_is_off_for_most_of_eight_weeks() -> None:
    found = weeks(lambda _: 0.85, alone=0.97, a_day=480)
    assert sum(size == 1 for size in found) / len(found) > 0.6
    assert found[-1] < 20


@given(st.text(max_size=20), st.text(max_size=20), st.floats(0, 0.2), st.floats(0, 0.2))
def test_a_larger_share_only_adds_checks_and_an_item_checked_twice_is_also_checked_once(
    workload: str, key: str, one: float, two: float
) -> None:
    less, more = sorted((one, two))
    assert is_checked(workload, key, more) or not is_checked(workload, key, less)
    assert is_checked(workload, key, one) or not is_checked_twice(workload, key, one)
    assert not is_checked(workload, key, 0)


def test_the_stated_share_is_checked_and_a_third_of_it_twice() -> None:
    keys = [f"k{number}" for number in range(40_000)]
    checked = [key for key in keys if is_checked("letters", key, 0.05)]
    twice = [key for key in checked if is_checked_twice("letters", key, 0.05)]
    assert len(checked) == pytest.approx(2_000, rel=0.08)
    assert len(twice) == pytest.approx(2_000 / 3, rel=0.12)


def test_no_call_asks_for_more_tokens_than_its_model_can_output() -> None:
    assert most_items(spec(realtime_pack=20, max_output_tokens=300), Lane.REALTIME) == 20
    long = spec(realtime_pack=50, max_output_tokens=4_000)
    assert most_items(long, Lane.REALTIME) == 15
    assert most_answer_tokens(long, 15) <= MOST_ANSWER_TOKENS < most_answer_tokens(long, 16)
    assert most_items(spec(realtime_pack=50, max_output_tokens=32_000), Lane.REALTIME) == 1


def test_packs_stay_below_the_size_where_tokens_cost_more_for_models_with_such_prices() -> None:
    haiku = version(realtime_pack=50)
    in_batch, alone = (most_bytes(haiku, lane, TODAY) for lane in (Lane.BATCH, Lane.REALTIME))
    assert in_batch is not None
    assert 270_000 < in_batch < 3 * 100_000
    assert alone is not None
    assert 90_000 < alone < 100_000  # a byte may be a token
    assert most_bytes(version(realtime_model="claude-opus-5-5"), Lane.REALTIME, TODAY) is None


sized = st.lists(st.tuples(st.integers(1, 400), st.booleans()), max_size=40)


@given(sized, st.integers(1, 9), st.integers(1, 1_500))
def test_packs_stay_within_the_byte_limit_unless_a_single_item_exceeds_it(
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
