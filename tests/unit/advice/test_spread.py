"""Intervals: calculated by hand, their coverage, their effect on the advice, and no interval without measurements."""

from collections.abc import Sequence
from dataclasses import replace
from math import inf, sqrt
from typing import Any

import numpy
import pytest
from scipy.stats import t

from lanes.advice.evidence import (
    ConsumerUse,
    DayUse,
    Evidence,
    LaneUse,
    LimitUse,
    ModelPrice,
    Pattern,
)
from lanes.advice.plans import BreakEven, Sensitivity
from lanes.advice.recommendation import advise
from lanes.advice.spread import Interval, spread
from lanes.words import Mode
from tests.unit.advice.test_advice import evidence

NEED = ConsumerUse("desk", 1_000, demanded=100, deferred=900)


def lived(days: Sequence[DayUse], **fields: Any) -> Evidence:
    """Return the evidence of these days, summed."""

    def use(lane: str) -> LaneUse:
        of = [getattr(day, lane) for day in days]
        return LaneUse(
            *(
                sum(getattr(each, name) for each in of)
                for name in ("answered", "billed_usd", "list_usd")
            )
        )

    seen = Evidence(
        "letters",
        Mode.PLAIN,
        days=sum(day.length for day in days),
        items=sum(day.items for day in days),
        realtime=use("realtime"),
        batch=use("batch"),
        days_seen=days,
        consumers=[NEED],
    )
    return replace(seen, **fields)


def day(items: int = 1_000, usd: float = 0.01, discount: float = 0.5) -> DayUse:
    """Return a day with a tenth of its items in real time at the price `usd` and the rest on batch."""
    quick, patient = items // 10, items - items // 10
    return DayUse(
        1.0,
        items,
        LaneUse(quick, quick * usd, quick * usd),
        LaneUse(patient, patient * usd * (1 - discount), patient * usd),
    )


def ends(interval: Interval | None) -> tuple[float, float]:
    assert interval is not None
    return interval.low, interval.high


def test_identical_days_give_intervals_without_width() -> None:
    known = spread(advise(lived([day()] * 10)))
    assert known.days == 10
    assert ends(known.items_per_month) == (pytest.approx(30_400), pytest.approx(30_400))
    assert ends(known.realtime_usd) == (pytest.approx(0.01), pytest.approx(0.01))
    assert known.share is not None
    assert known.share.low == pytest.approx(1 - 450 / (30_400 * 0.01 * 0.5))
    assert ends(known.volume) == (
        pytest.approx(100_000),
        pytest.approx(100_000),
    )  # 450 / (0.01 * 0.9 * 0.5)


def test_the_volume_interval_is_students_t_interval_of_the_daily_mean() -> None:
    items = [800, 900, 1_000, 1_100, 1_200, 900, 1_100, 1_000]
    known = spread(advise(lived([day(each) for each in items])))
    assert known.items_per_month is not None
    margin = t.ppf(0.975, 7) * numpy.std(items, ddof=1) / sqrt(8)
    assert known.items_per_month.low == pytest.approx((1_000 - margin) * 30.4)
    assert known.items_per_month.high == pytest.approx((1_000 + margin) * 30.4)


@pytest.mark.slow
def test_the_intervals_contain_the_true_value_about_as_often_as_stated() -> None:
    """Draw 300 histories of 20 days whose costs and volumes vary by a quarter from day to day."""
    chance = numpy.random.default_rng(12)
    truth = BreakEven(30_400, 0.01, 0.5, 450)
    held = {"share": 0, "volume": 0, "realtime_usd": 0}
    for _ in range(300):
        days = [
            day(round(chance.gamma(16, 1_000 / 16)), usd=0.01 * chance.gamma(16, 1 / 16))
            for _ in range(20)
        ]
        known = spread(advise(lived(days)))
        for name, true in {
            "share": truth.share,
            "volume": truth.volume(0.1),
            "realtime_usd": 0.01,
        }.items():
            interval = getattr(known, name)
            held[name] += interval is not None and interval.holds(true)
    assert all(0.9 <= each / 300 <= 0.99 for each in held.values()), held


def test_fewer_than_seven_days_or_unbilled_prices_give_no_interval() -> None:
    few = spread(advise(lived([day()] * 6)))
    assert (few.days, few.items_per_month, few.realtime_usd, few.share) == (6, None, None, None)
    unbilled = lived([replace(day(), realtime=LaneUse(), batch=LaneUse())] * 9)
    known = spread(advise(replace(unbilled, estimated_realtime_usd=0.02, estimated_batch_usd=0.01)))
    assert known.items_per_month is not None
    assert (known.realtime_usd, known.share, known.volume) == (None, None, None)
    nothing = spread(advise(Evidence("letters", Mode.PLAIN, days=0, items=0)))
    assert (nothing.days, nothing.share) == (0, None)


def test_a_stated_volume_has_no_interval() -> None:
    known = spread(
        advise(lived([day(each) for each in range(800, 1_300, 50)]), items_per_month=50_000)
    )
    assert known.items_per_month is None
    assert known.realtime_usd is not None
    assert known.share is not None


def test_the_volume_interval_has_no_upper_end_if_batch_may_save_nothing() -> None:
    days = [day(usd=0.01, discount=each) for each in (0.5, -0.4) * 5]
    known = spread(advise(lived(days)))
    assert known.volume is not None
    assert known.volume.high == inf
    assert known.share is not None
    assert known.share.low == -inf


def test_the_rule_is_conclusive_only_outside_the_interval() -> None:
    many = advise(lived([day(items=20_000)] * 10))
    few = advise(lived([day(items=200)] * 10))
    assert (spread(many).pays(many), spread(few).pays(few)) == (True, False)
    open_ = advise(lived([day(items=each) for each in (500, 8_000) * 5]))
    assert spread(open_).pays(open_) is None
    assert spread(advise(evidence())).pays(advise(evidence())) is None


def cases(seen: Evidence, items: float = 304_000) -> dict[str, Sensitivity]:
    return {each.case: each for each in advise(seen, items_per_month=items).sensitivities}


def test_each_sensitivity_case_changes_one_input() -> None:
    models = [ModelPrice("dear", 20, 20), ModelPrice("cheap", 0.5, 0.1)]
    found = cases(evidence(models=models))
    assert list(found) == [
        "twice the volume",
        "a batch discount of 0 %",
        "a batch discount of 25 %",
        "dear on both lanes",
        "cheap on both lanes",
    ]
    assert found["twice the volume"].plan.provider_usd == pytest.approx(608_000 * 0.01 * 0.55)
    assert found["a batch discount of 25 %"].plan.provider_usd == pytest.approx(
        3_040 * (1 - 0.9 * 0.25)
    )
    assert (
        found["a batch discount of 0 %"].plan.pattern is Pattern.REALTIME
    )  # the lane would be paid for nothing
    assert found["dear on both lanes"].plan.provider_usd == pytest.approx(20 * 3_040 * 0.55)
    assert found["cheap on both lanes"].plan.provider_usd == pytest.approx(
        304_000 * (0.1 * 0.005 + 0.9 * 0.0005)
    )


def test_twice_the_volume_can_change_the_recommendation() -> None:
    assert advise(evidence(), items_per_month=60_000).pattern is Pattern.REALTIME
    assert cases(evidence(), items=60_000)["twice the volume"].plan.pattern is Pattern.HYBRID


def test_a_volume_beyond_the_provider_limits_is_noted() -> None:
    assert cases(evidence())["twice the volume"].note == "no limit of the provider is known"
    limited = evidence(peak_per_minute=40, limits=(LimitUse("requests", 50, 50, 1.0, 1.0),))
    assert (
        "160 % of 50 requests a minute: more than there is"
        in cases(limited)["twice the volume"].note
    )


def test_a_sensitivity_case_that_depends_on_unrecorded_reads_does_not_hold() -> None:
    """With the cheaper model, batch saves 506 dollars if 90 % may wait and 394 if 70 % may; the batch lane costs 450."""
    unread = [ConsumerUse("desk", 800, demanded=100, deferred=700), ConsumerUse("new", 200)]
    found = cases(evidence(*unread, models=[ModelPrice("cheaper", 0.37, 0.37)]))
    assert {case: each.holds for case, each in found.items() if "discount" not in case} == {
        "twice the volume": True,
        "cheaper on both lanes": False,
    }


def test_no_sensitivities_are_given_without_a_recommendation() -> None:
    half = evidence(
        ConsumerUse("desk", 500, demanded=500),
        ConsumerUse("new", 500),
        models=[ModelPrice("cheap", 0.01, 0.01)],
    )
    assert advise(half, items_per_month=304_000).sensitivities == ()
    assert advise(Evidence("letters", Mode.PLAIN, days=0, items=0)).sensitivities == ()
    assert advise(replace(evidence(), consumers=())).sensitivities == ()
