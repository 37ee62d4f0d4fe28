"""Advice on a workload: the break-even by hand and by property, and the advice for extreme workloads;
one file because both read the same evidence."""

import json
from dataclasses import replace
from io import StringIO
from math import inf, isclose
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from lanes.advice.evidence import ConsumerUse, Evidence, LaneUse, Leaning, Pattern
from lanes.advice.plans import BreakEven, Corrections, cheapest, correction_price_usd, possible
from lanes.advice.recommendation import Advice, advise
from lanes.commands.advise import as_data
from lanes.money.overhead import Overheads
from lanes.report import advice as report
from lanes.words import Lane, Mode

CRITERIA = 13
evens = st.builds(
    BreakEven,
    items=st.floats(0, 1e9),
    realtime_usd=st.floats(0, 10),
    discount=st.floats(-2, 0.99),
    fixed_usd=st.floats(0, 1e6),
    realtime_fixed_usd=st.floats(0, 1e6),
)


def evidence(*consumers: ConsumerUse, **fields: Any) -> Evidence:
    """Return a month of 304,000 items at one cent each, half of that on batch, unless `fields` say otherwise."""
    whole = Evidence(
        "letters",
        Mode.PLAIN,
        days=30.4,
        items=304_000,
        realtime=LaneUse(1_000, 10.0, 10.0, p95_s=2, timed=1_000),
        batch=LaneUse(1_000, 5.0, 10.0, p95_s=1_800, timed=1_000),
        with_due=100_000,
        consumers=consumers or (ConsumerUse("desk", 304_000, demanded=30_400, deferred=273_600),),
    )
    return replace(whole, **fields)


ESTIMATED: dict[str, Any] = {"estimated_realtime_usd": 0.01, "estimated_batch_usd": 0.005}


def leanings(advice: Advice) -> dict[str, Leaning]:
    return {each.name: each.leaning for each in advice.criteria}


def shown(advice: Advice) -> str:
    page = StringIO()
    Console(file=page, width=240).print(report.render_console(advice))
    return page.getvalue()


def test_the_break_even_matches_a_calculation_by_hand() -> None:
    even = BreakEven(items=100_000, realtime_usd=0.02, discount=0.5, fixed_usd=450)
    assert even.saving(0.1) == pytest.approx(900)  # 100,000 * 0.02 * 0.9 * 0.5
    assert even.net(0.1) == pytest.approx(450)
    assert even.share == pytest.approx(0.55)  # 1 - 450 / (100,000 * 0.02 * 0.5)
    assert even.volume(0.1) == pytest.approx(50_000)  # 450 / (0.02 * 0.9 * 0.5)
    assert even.hybrid_month(100_000, 0.1) == pytest.approx(1_550)
    assert Overheads().monthly_usd(Lane.BATCH) == 450


@given(evens)
def test_the_break_even_share_lies_between_minus_infinity_and_one(even: BreakEven) -> None:
    assert -inf <= even.share <= 1


@given(evens)
def test_the_saving_at_the_break_even_share_equals_the_fixed_cost(even: BreakEven) -> None:
    if even.share > -1e6:
        assert isclose(even.saving(even.share), even.fixed_usd, rel_tol=1e-6, abs_tol=1e-6)


@given(evens, st.floats(0, 0.99))
def test_both_designs_cost_the_same_at_the_break_even_volume(even: BreakEven, share: float) -> None:
    volume = even.volume(share)
    if volume < 1e15:
        assert isclose(
            even.hybrid_month(volume, share),
            even.realtime_month(volume),
            rel_tol=1e-6,
            abs_tol=1e-6,
        )


@given(evens, st.floats(0, 1))
def test_a_hybrid_saves_money_exactly_below_the_break_even_share(
    even: BreakEven, share: float
) -> None:
    if even.share > -inf and abs(share - even.share) > 1e-6 * max(1, abs(even.share)):
        assert (share < even.share) == (even.net(share) > 0)


def test_a_workload_where_few_items_need_real_time_gets_a_hybrid_and_the_rule_agrees() -> None:
    advice = advise(evidence())
    assert advice.pattern is Pattern.HYBRID
    assert (advice.rule.says_hybrid, advice.rule.computed_hybrid, advice.rule.agrees) == (
        True,
        True,
        True,
    )
    assert leanings(advice)["Inputs of one system differ in urgency"] is Leaning.HYBRID
    assert leanings(advice)["Volume is large"] is Leaning.BATCH


def test_the_rule_of_thumb_misleads_at_a_small_volume() -> None:
    advice = advise(evidence(), items_per_month=3_000)
    assert advice.pattern is Pattern.REALTIME
    assert (advice.rule.says_hybrid, advice.rule.computed_hybrid, advice.rule.agrees) == (
        True,
        False,
        False,
    )
    assert leanings(advice)["Volume is large"] is Leaning.REALTIME
    assert "the rule misleads here" in shown(advice)


def test_a_hybrid_pays_at_a_large_volume_even_if_sixty_percent_need_real_time() -> None:
    advice = advise(evidence(ConsumerUse("desk", 1_000, demanded=600, deferred=400)))
    assert advice.pattern is Pattern.HYBRID
    assert advice.rule.agrees is False


def test_a_workload_with_only_urgent_items_gets_real_time() -> None:
    desk = ConsumerUse(
        "desk", 304_000, demanded=304_000, realtime=304_000, reads=100, at_once=99, median_s=1.0
    )
    pressing = evidence(
        desk, urgent=304_000, with_due=304_000, due_within_5s=304_000, due_before_batch=304_000
    )
    advice = advise(pressing)
    assert advice.pattern is Pattern.REALTIME
    assert leanings(advice)["A reader waits"] is Leaning.REALTIME
    assert leanings(advice)["An answer in under 5 s is needed"] is Leaning.REALTIME
    assert advice.movable == []


def test_a_workload_where_every_item_can_wait_gets_batch() -> None:
    advice = advise(
        evidence(ConsumerUse("digest", 304_000, deferred=304_000), days_arrivals=[10_000] * 29)
    )
    assert advice.pattern is Pattern.BATCH
    spoken = leanings(advice)
    assert spoken["Work can run off-peak"] is spoken["Arrivals are predictable"] is Leaning.BATCH


def test_lambda_is_advised_only_with_enough_compared_and_corrected_answers() -> None:
    for compared, corrected, pattern in (
        (100, 20, Pattern.LAMBDA),
        (100, 0, Pattern.HYBRID),
        (5, 5, Pattern.HYBRID),
    ):
        seen = evidence(mode=Mode.LAMBDA, compared=compared, corrected=corrected)
        assert advise(seen, correction_usd=1).pattern is pattern


@pytest.mark.parametrize(
    ("mode", "pattern"), [(Mode.LAMBDA, Pattern.LAMBDA), (Mode.PLAIN, Pattern.HYBRID)]
)
def test_the_second_pass_stays_unchanged_if_the_worth_of_a_correction_is_not_stated(
    mode: Mode, pattern: Pattern
) -> None:
    desk = ConsumerUse("desk", 304_000, demanded=30_400, deferred=273_600, realtime=30_400)
    advice = advise(evidence(desk, mode=mode, compared=100, corrected=20))
    assert advice.pattern is pattern
    assert advice.because.endswith(
        "a corrected answer costs $0.0250 more, and what one is worth is not stated"
    )
    assert {each.wrong_usd for each in advice.plans} == {None}
    assert all(each.expected_usd == each.paid_usd for each in advice.plans)
    assert leanings(advice)["A later, authoritative pass changes answers"] is Leaning.UNKNOWN
    for page in (shown(advice), report.render_page(advice)):
        assert "Lost by wrong answers" not in page
        assert "A corrected answer is worth" not in page
    stated = advise(advice.evidence or evidence(), correction_usd=1)
    for page in (shown(stated), report.render_page(stated)):
        assert "Lost by wrong answers" in page


def test_a_second_pass_that_corrects_nothing_is_dropped_without_a_stated_worth() -> None:
    assert advise(evidence(mode=Mode.LAMBDA, compared=100, corrected=0)).pattern is Pattern.HYBRID


def test_the_advice_names_its_version_and_counts_the_excluded_answers_of_other_versions() -> None:
    few = advise(
        evidence(
            version=3, of_others=4_210, realtime=LaneUse(12, 1.0, 1.0), batch=LaneUse(), **ESTIMATED
        )
    )
    for page in (" ".join(shown(few).split()), report.render_page(few)):
        assert (
            "About version 3, which is in force: 12 answers of it. 4,210 answers of other versions are left out"
            in page
        )
        assert "Prices are estimates: a lane needs 20 billed answers of this version." in page
    assert {each.basis for each in few.lanes} == {"estimated"}
    enough = advise(evidence(version=3, of_others=1))
    assert "Prices are estimates" not in shown(enough)
    assert "About version" not in shown(advise(evidence()))


def test_a_more_expensive_batch_lane_never_pays_off() -> None:
    advice = advise(evidence(batch=LaneUse(1_000, 20.0, 10.0)))
    assert advice.pattern is Pattern.REALTIME
    data = as_data(advice)
    assert (
        data["worked_out"]["break_even_share"]
        is data["worked_out"]["break_even_items_per_month"]
        is None
    )
    assert "it never pays" in shown(advice)


def test_only_consumers_with_enough_late_reads_are_movable() -> None:
    consumers = (
        ConsumerUse(
            "digest", 500, realtime=500, reads=200, at_once=2, median_s=90_000.0, unknown=3
        ),
        ConsumerUse("desk", 500, realtime=500, reads=200, at_once=190, median_s=0.4),
        ConsumerUse("rare", 500, realtime=500, reads=5, at_once=0, median_s=90_000.0),
    )
    advice = advise(evidence(*consumers))
    assert [each.consumer for each in advice.movable] == ["digest"]
    assert "| digest | 200 | 25\u00a0h | 1\u00a0% | 3 | 500 |" in report.render_page(advice)


def test_undecided_items_need_real_time_as_often_as_their_consumer_reads_at_once() -> None:
    advice = advise(
        evidence(ConsumerUse("desk", 1_000, reads=100, at_once=10), ConsumerUse("new", 1_000))
    )
    assert advice.needs is not None
    assert (advice.needs.low, advice.needs.high) == (pytest.approx(0.05), pytest.approx(0.55))


def test_a_pattern_that_depends_on_unrecorded_reads_is_inconclusive() -> None:
    advice = advise(evidence(ConsumerUse(None, 304_000)))
    assert advice.pattern is None
    assert "batch if the items without recorded reads can wait, and realtime if" in advice.because
    assert advice.rule.agrees is None
    assert leanings(advice)["Work can run off-peak"] is Leaning.UNKNOWN


def test_advice_with_too_little_data_is_inconclusive_and_names_the_missing_data() -> None:
    few = advise(evidence(ConsumerUse("desk", 12, demanded=12)))
    assert (few.pattern, "only 12 items" in few.because) == (None, True)
    brief = evidence(days=0.01)
    assert (advise(brief).pattern, "less than a day" in advise(brief).because) == (None, True)
    assert advise(brief, items_per_month=1e6).pattern is Pattern.HYBRID
    unpriced = evidence(realtime=LaneUse(), batch=LaneUse())
    assert (advise(unpriced).pattern, "no lane has a price" in advise(unpriced).because) == (
        None,
        True,
    )


def test_advice_on_an_unused_workload_makes_no_claims() -> None:
    advice = advise(Evidence("letters", Mode.PLAIN, days=0, items=0))
    assert advice.pattern is None
    assert len(advice.criteria) == CRITERIA
    assert set(leanings(advice).values()) == {Leaning.UNKNOWN}
    assert "inconclusive" in shown(advice)
    assert "no break-even to draw" in report.break_even(advice.break_even, None)
    json.dumps(as_data(advice), allow_nan=False)


def test_a_lane_with_too_few_billed_items_is_priced_by_the_other_lane_and_the_estimates() -> None:
    seen = evidence(
        batch=LaneUse(3, 9.0, 9.0), estimated_realtime_usd=0.004, estimated_batch_usd=0.001
    )
    realtime, batch = advise(seen).lanes
    assert (realtime.basis, realtime.api_usd, batch.basis, batch.api_usd) == (
        "billed",
        0.01,
        "estimated",
        0.0025,
    )


def test_a_lanes_overhead_is_spread_over_the_items_it_may_serve() -> None:
    realtime, batch = advise(evidence(), Overheads(2, 18, 90, 180), items_per_month=1_000).lanes
    assert realtime.total_usd == pytest.approx(0.03)
    assert (batch.infra_usd, batch.engineering_usd) == (pytest.approx(0.1), pytest.approx(0.2))
    assert batch.total_usd == pytest.approx(0.305)


def test_names_are_shown_as_they_are_and_never_as_markup() -> None:
    name = "[red]<b>|desk"
    late = ConsumerUse(name, 304_000, realtime=304_000, reads=100, median_s=9_000.0)
    advice = advise(evidence(late))
    markdown = report.render_page(advice)
    assert name not in markdown
    assert "&lt;b&gt;" in markdown
    assert name in shown(advice)


@given(
    st.lists(st.floats(1e-6, 10), min_size=20, max_size=40),
    st.lists(st.floats(1e-6, 10), min_size=20, max_size=40),
    st.floats(0.01, 0.99),
    st.sampled_from([1.0, 0.7, 0.2]),
)
def test_the_break_even_finds_the_true_discount_for_any_items_on_each_lane(
    quick: list[float], patient: list[float], discount: float, packing: float
) -> None:
    """`quick` and `patient` are the items' costs on real-time; packing leaves the fraction `packing` of an item's tokens."""
    realtime = LaneUse(len(quick), sum(quick), sum(quick))
    batch = LaneUse(len(patient), sum(patient) * packing * (1 - discount), sum(patient) * packing)
    mean = sum(quick + patient) / len(quick + patient)
    seen = evidence(
        realtime=realtime,
        batch=batch,
        estimated_realtime_usd=3 * mean,
        estimated_batch_usd=3 * mean * packing * 0.5,
    )
    found = advise(seen).break_even
    assert found is not None
    assert found.discount == pytest.approx(1 - packing * (1 - discount))
    assert found.realtime_usd == pytest.approx(mean)


def test_a_hundred_items_that_can_wait_do_not_pay_for_a_batch_lane() -> None:
    waiting = evidence(ConsumerUse("digest", 304_000, deferred=304_000))
    advice = advise(waiting, items_per_month=100)
    assert advice.break_even is not None
    assert advice.break_even.net(0) == pytest.approx(-449.5)
    assert advice.pattern is Pattern.REALTIME
    assert advise(waiting, items_per_month=90_000).pattern is Pattern.BATCH


@given(evens)
def test_batch_alone_is_recommended_exactly_where_it_costs_less_than_real_time_alone(
    even: BreakEven,
) -> None:
    batch_month = even.items * even.batch_usd + even.fixed_usd
    cheaper = batch_month < even.realtime_month(even.items)
    if not isclose(batch_month, even.realtime_month(even.items), rel_tol=1e-9, abs_tol=1e-9):
        assert (
            cheapest(possible(0, even, Corrections()), Corrections()).pattern is Pattern.BATCH
        ) == cheaper


def test_lambda_is_advised_only_where_a_corrected_answer_is_worth_its_price() -> None:
    seen = evidence(mode=Mode.LAMBDA, compared=100, corrected=20)
    advice = advise(seen, correction_usd=0.03)  # half a cent for the pass, one in five corrected
    assert (advice.pattern, "each costs $0.0250 more and is worth $0.0300" in advice.because) == (
        Pattern.LAMBDA,
        True,
    )
    cheap = advise(seen, correction_usd=0.02)
    assert (cheap.pattern, "would cost $0.0250 more and is worth $0.0200" in cheap.because) == (
        Pattern.HYBRID,
        True,
    )
    assert leanings(advice)["A later, authoritative pass changes answers"] is Leaning.LAMBDA
    assert leanings(cheap)["A later, authoritative pass changes answers"] is Leaning.REALTIME
    # A lane for 450 dollars corrects only two answers.
    few = advise(seen, items_per_month=100, correction_usd=1)
    assert few.pattern is Pattern.REALTIME


@given(evens, st.floats(0.001, 1), st.floats(0.001, 1), st.floats(0, 5))
def test_lambda_is_chosen_exactly_when_its_corrections_are_worth_more_than_they_cost(
    even: BreakEven, share: float, rate: float, worth: float
) -> None:
    corrections = Corrections(rate, 1.0, worth)
    plans = possible(share, even, corrections)
    price = correction_price_usd(plans)
    if (
        even.items >= 1
        and price is not None
        and not isclose(price, worth, rel_tol=1e-6, abs_tol=1e-6)
    ):
        assert (cheapest(plans, corrections).pattern is Pattern.LAMBDA) == (price < worth)


def test_the_real_time_lane_has_an_overhead_too() -> None:
    assert Overheads().monthly_usd(Lane.REALTIME) == 120
    advice = advise(evidence(), items_per_month=1_000)
    assert advice.lanes[0].total_usd == pytest.approx(0.13)
    assert "Real-time lane a month" in shown(advice)


@pytest.mark.slow
@given(
    st.lists(
        st.builds(
            ConsumerUse, st.none() | st.text(max_size=9), st.just(90), *[st.integers(0, 30)] * 3
        ),
        max_size=4,
    ),
    st.integers(0, 10_000),
    st.floats(0, 60),
    st.none() | st.floats(1e-3, 1e12),
)
def test_advice_on_any_evidence_states_every_criterion_and_can_be_rendered(
    consumers: list[ConsumerUse], items: int, days: float, volume: float | None
) -> None:
    advice = advise(
        replace(evidence(items=items, days=days), consumers=consumers), items_per_month=volume
    )
    assert len(advice.criteria) == CRITERIA
    assert all(each.evidence for each in advice.criteria)
    assert report.render_page(advice).startswith("# Advice on letters")
    json.dumps(as_data(advice), allow_nan=False)
