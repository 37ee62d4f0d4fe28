"""The value that an answer loses by waiting for a batch, weighed against the batch's savings."""

import math
import random
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from lanes.money.estimates import Estimate
from lanes.routing.prospect import Prospects
from lanes.routing.route import ArrivedItem, Route, compute_savings_usd, decide, weigh, worth_usd
from lanes.routing.split import BUCKETS, Split, Splits
from lanes.routing.turnaround import NOTHING, SHAPE, Turnaround
from lanes.words import Lane, Mode, Reason
from tests.conftest import NOON, later
from tests.examples import version
from tests.took import Took, laws, seen
from tests.unit.strategies import arrived

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
half_lives = st.integers(1, 31_536_000)
values = st.floats(0, 1_000_000, exclude_min=True)
ALL_BATCH, ALL_REALTIME = (
    Splits([Split("letters", None, 0)]),
    Splits([Split("letters", None, BUCKETS)]),
)


spans = st.integers(1, 100_000).map(lambda seconds: timedelta(seconds=seconds))
histories = st.lists(st.builds(Took, spans, back=st.booleans(), age=spans), max_size=40)


def item(**fields: Any) -> ArrivedItem:
    return ArrivedItem(
        "letters", "k1", {"text": "hello"}, NOON, fields.pop("occurred_at", NOON), **fields
    )


def route(
    each: ArrivedItem, splits: Splits = ALL_BATCH, *, took: timedelta = HOUR, **fields: Any
) -> Route:
    prospects = Prospects(laws([Took(took, age=DAY)] * 1_000), NOON)
    return decide(
        each,
        version(off_peak_start="00:00", off_peak_end="00:00", **fields),
        splits,
        now=NOON,
        prospects=prospects,
    )


@pytest.mark.parametrize("half_life_s", [60.0, 3_600.0, 86_400.0, 30_000_000.0])
def test_without_observed_batches_the_remaining_value_follows_the_assumed_distribution(
    half_life_s: float,
) -> None:
    def density(log_s: float) -> float:
        return SHAPE / 4 / math.cosh(SHAPE * (log_s - math.log(3_600)) / 2) ** 2

    lost, _ = quad(
        lambda log_s: density(log_s) * -math.expm1(-math.log(2) * math.exp(log_s) / half_life_s),
        0,
        20,
        limit=400,
    )
    assert 1 - Turnaround(NOTHING, usual=timedelta(hours=1)).compute_remainder(
        half_life_s
    ) == pytest.approx(lost, rel=0.02)


def test_with_many_observed_batches_the_remaining_value_follows_those_batches() -> None:
    drawn = random.Random(7)
    took = [timedelta(seconds=drawn.lognormvariate(math.log(1_200), 0.6)) for _ in range(4_000)]
    left = sum(0.5 ** (each.total_seconds() / 900) for each in took) / len(took)
    assert Turnaround(seen(map(Took, took)), usual=timedelta(hours=1)).compute_remainder(
        900
    ) == pytest.approx(left, abs=0.01)


@given(histories, spans, half_lives, half_lives)
def test_the_remaining_value_is_a_share_and_grows_with_the_half_life(
    history: list[Took], usual: timedelta, one: int, other: int
) -> None:
    law = Turnaround(seen(history), usual=usual)
    short, long = (law.compute_remainder(each) for each in sorted((one, other)))
    assert 0 <= short <= long <= 1


def test_an_item_waits_only_if_a_batch_saves_more_and_the_explanation_has_both_amounts() -> None:
    loses = route(item(), value_usd=0.01, half_life_s=3600)
    assert (loses.lane, loses.reason) == (Lane.REALTIME, Reason.VALUE)
    assert loses.explanation == "waiting loses about $0.00760 of $0.0100, a batch saves $0.0000226"
    assert loses.binds is None
    waits = route(item(), ALL_REALTIME, value_usd=0.000001, half_life_s=3600)
    assert (waits.lane, waits.reason) == (Lane.BATCH, Reason.VALUE)


def test_an_old_item_has_already_lost_its_value() -> None:
    fresh = route(item(), value_usd=0.01, half_life_s=3600)
    old = route(item(occurred_at=later(days=-2)), value_usd=0.01, half_life_s=3600)
    assert (fresh.lane, old.lane) == (Lane.REALTIME, Lane.BATCH)
    assert worth_usd(8.0, 3600, 7200) == 2.0
    assert worth_usd(8.0, 3600, -7200) == 8.0


def test_an_item_that_departs_early_for_its_due_time_loses_less_than_a_scheduled_one() -> None:
    terms = {
        "off_peak_start": "22:00",
        "off_peak_end": "06:00",
        "value_usd": 0.0001,
        "half_life_s": 36_000,
    }
    prospects = Prospects(laws([Took(HOUR / 4, age=DAY)] * 1_000), NOON)
    said = [
        decide(item(due_at=due), version(**terms), ALL_BATCH, now=NOON, prospects=prospects)
        for due in (later(hours=3), later(days=1))
    ]
    assert [each.lane for each in said] == [Lane.BATCH, Lane.REALTIME]
    assert all(each.reason is Reason.VALUE and each.probability is not None for each in said)


def test_in_lambda_mode_a_batch_alone_saves_the_whole_call() -> None:
    costs = Estimate(realtime=Decimal("0.004"), batch=Decimal("0.002"))
    assert (compute_savings_usd(costs, Mode.PLAIN), compute_savings_usd(costs, Mode.LAMBDA)) == (
        0.002,
        0.004,
    )


def test_a_dearer_batch_is_explained_and_a_tie_is_left_to_the_split() -> None:
    assert weigh(1.0, 0.0, 0.0).lane is None
    dearer = weigh(1.0, 0.25, -0.5)
    assert (dearer.lane, dearer.explanation) == (
        Lane.REALTIME,
        "waiting loses about $0.250 of $1.00, a batch costs $0.500 more",
    )


@given(arrived(), values, half_lives, st.integers(0, BUCKETS), st.sampled_from(Mode))
def test_a_value_never_moves_a_bound_item_and_replaces_only_the_split(
    each: ArrivedItem, value_usd: float, half_life_s: int, points: int, mode: Mode
) -> None:
    splits = Splits([Split("letters", None, points)])
    rules = {"urgent_when": 'consumer == "desk"', "batch_when": 'consumer == "night"', "mode": mode}
    without = decide(each, version(**rules), splits, now=NOON)
    valued = decide(
        each, version(value_usd=value_usd, half_life_s=half_life_s, **rules), splits, now=NOON
    )
    assert (valued.realtime_usd, valued.batch_usd) == (without.realtime_usd, without.batch_usd)
    if without.reason is not Reason.SPLIT:
        assert valued == without
    else:
        assert valued.reason in (Reason.VALUE, Reason.SPLIT)
        assert valued.binds is None
        assert valued.explanation


@given(arrived(), st.tuples(values, values), half_lives)
def test_a_higher_value_moves_items_only_to_real_time(
    each: ArrivedItem, two: tuple[float, float], half_life_s: int
) -> None:
    low, high = (
        decide(each, version(value_usd=v, half_life_s=half_life_s), ALL_BATCH, now=NOON)
        for v in sorted(two)
    )
    assert (low.lane, high.lane) != (Lane.REALTIME, Lane.BATCH)


@given(arrived(), half_lives)
def test_without_a_value_the_half_life_changes_nothing(each: ArrivedItem, half_life_s: int) -> None:
    assert decide(each, version(half_life_s=half_life_s), ALL_REALTIME, now=NOON) == decide(
        each, version(), ALL_REALTIME, now=NOON
    )
