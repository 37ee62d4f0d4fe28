"""The plans of a month: the cost of each, and a reason for every advised plan that is dearer than the present one."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanes.advice.evidence import ConsumerUse, Evidence, LaneUse, Pattern
from lanes.advice.plans import (
    BreakEven,
    Corrections,
    correction_price_usd,
    plan,
    possible,
    present_month,
    serves,
)
from lanes.advice.recommendation import advise
from lanes.money.overhead import Overheads
from lanes.words import Mode
from tests.unit.advice.test_advice import evidence

EVEN = BreakEven(
    items=100_000, realtime_usd=0.02, discount=0.5, fixed_usd=450, realtime_fixed_usd=120
)


def test_the_cost_of_a_month_matches_a_calculation_by_hand() -> None:
    corrected = Corrections(rate=0.1, distance=0.5, whole_usd=0.2)
    realtime, hybrid, twice = (
        plan(each, 0.2, EVEN, corrected)
        for each in (Pattern.REALTIME, Pattern.HYBRID, Pattern.LAMBDA)
    )
    assert (realtime.share, realtime.provider_usd, realtime.lanes_usd, realtime.wrong) == (
        1,
        2_000,
        120,
        10_000,
    )
    assert realtime.wrong_usd == pytest.approx(1_000)  # 100,000 * 0.1 * 0.5 * 0.2
    assert (hybrid.provider_usd, hybrid.lanes_usd) == (
        pytest.approx(1_200),
        570,
    )  # 2,000 * (1 - 0.8 * 0.5)
    assert (twice.provider_usd, twice.wrong_usd) == (
        pytest.approx(1_400),
        0,
    )  # and 20,000 more at 0.01
    batch = plan(Pattern.BATCH, 0.2, EVEN, corrected)
    assert (batch.share, batch.provider_usd, batch.lanes_usd, batch.wrong) == (0, 1_000, 450, 0)
    assert correction_price_usd([realtime, hybrid, twice]) == pytest.approx(
        0.1
    )  # 200 dollars for 2,000 answers


def test_the_present_month_follows_the_routes_of_the_items() -> None:
    def now(mode: Mode, realtime: int) -> Pattern:
        seen = evidence(ConsumerUse("desk", 100, realtime=realtime), mode=mode)
        found = present_month(seen, EVEN, Corrections())
        assert found is not None
        assert found.share == realtime / 100
        return found.pattern

    assert [now(Mode.PLAIN, each) for each in (100, 40, 0)] == [
        Pattern.REALTIME,
        Pattern.HYBRID,
        Pattern.BATCH,
    ]
    assert [now(Mode.LAMBDA, each) for each in (100, 40, 0)] == [
        Pattern.LAMBDA,
        Pattern.LAMBDA,
        Pattern.BATCH,
    ]
    assert (
        present_month(Evidence("letters", mode=Mode.PLAIN, days=1, items=0), EVEN, Corrections())
        is None
    )


parts = st.integers(0, 1_000)
consumers = st.builds(
    lambda demanded, deferred, free, realtime, reads: ConsumerUse(
        "desk",
        demanded + deferred + free + 30,
        demanded,
        deferred,
        min(realtime, demanded + deferred + free + 30),
        1_000,
        reads,
        1.0,
    ),
    parts,
    parts,
    parts,
    parts,
    parts,
)
amounts = st.floats(0, 1e5)
lived = st.builds(
    lambda use, mode, quick, patient, tokens, compared, corrected, distance: replace(
        evidence(*use),
        mode=mode,
        realtime=LaneUse(1_000, quick, tokens),
        batch=LaneUse(1_000, patient, tokens),
        compared=compared,
        corrected=min(corrected, compared),
        distance=distance,
    ),
    st.lists(consumers, min_size=1, max_size=3),
    st.sampled_from(Mode),
    st.floats(1e-3, 1e4),
    st.floats(1e-3, 1e4),
    st.floats(1e-3, 1e4),
    st.integers(0, 500),
    st.integers(0, 500),
    st.none() | st.floats(0, 1),
)


@given(
    lived,
    st.builds(Overheads, amounts, amounts, amounts, amounts),
    st.floats(1, 1e9),
    st.floats(0, 10),
)
def test_no_recommendation_is_a_net_loss_unless_it_serves_an_unmet_need_for_real_time(
    seen: Evidence, overheads: Overheads, items: float, worth: float
) -> None:
    advice = advise(seen, overheads, items_per_month=items, correction_usd=worth)
    assert advice.plan is not None  # every consumer's reads are known
    assert advice.now is not None
    assert advice.needs is not None
    dearer = advice.plan.expected_usd - advice.now.expected_usd
    tolerance = 1e-9 * max(1.0, advice.now.expected_usd)
    if serves(advice.now, advice.needs.low):
        assert dearer <= tolerance
        if advice.plan.paid_usd > advice.now.paid_usd + tolerance:
            assert "more and corrects answers worth" in advice.against
    elif dearer > tolerance:
        assert "demands the higher cost" in advice.against
    assert serves(advice.plan, advice.needs.low)


@given(st.floats(0, 1), st.floats(0, 1e9), st.floats(0, 10), st.floats(-2, 0.99), amounts, amounts)
def test_every_possible_plan_serves_the_share_that_needs_real_time(
    share: float, items: float, usd: float, discount: float, fixed: float, realtime_fixed: float
) -> None:
    even = BreakEven(items, usd, discount, fixed, realtime_fixed)
    assert all(serves(each, share) for each in possible(share, even, Corrections()))


def test_the_advice_explains_the_higher_cost_of_an_unmet_need_for_real_time() -> None:
    pressing = ConsumerUse("desk", 304_000, demanded=304_000, realtime=0)
    advice = advise(evidence(pressing))
    assert advice.pattern is Pattern.REALTIME
    assert (
        "100 % of the items need real-time and 0 % have it, which demands the higher cost"
        in advice.against
    )
    assert "as it is (batch alone)" in advice.against


def test_a_second_pass_that_changes_little_is_worth_little() -> None:
    seen = evidence(
        ConsumerUse("desk", 304_000, demanded=30_400, realtime=30_400, deferred=273_600),
        mode=Mode.LAMBDA,
        compared=100,
        corrected=20,
    )
    assert (
        advise(seen, correction_usd=0.03).pattern is Pattern.LAMBDA
    )  # each corrected answer costs 0.025
    slight = advise(replace(seen, distance=0.5), correction_usd=0.03)
    assert slight.pattern is Pattern.HYBRID
    assert "is worth $0.0150: the second pass is not worth its price" in slight.because
    nothing = advise(replace(seen, corrected=0))
    assert "the second pass corrected nothing and is not worth its price" in nothing.because
