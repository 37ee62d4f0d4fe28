"""Bounds of a quantile that hold at every look, by shares."""

import random
from math import inf

import numpy
import pytest
import ville
from hypothesis import given
from hypothesis import strategies as st

from lanes.statistics.quantiles import beyond, bounds
from lanes.statistics.shares import is_above, is_below

seconds = st.lists(st.floats(0, 100), min_size=1, max_size=300).map(sorted)


@given(seconds, st.sampled_from([0.5, 0.95]), st.floats(0, 100))
def test_a_limit_lies_outside_of_the_bounds_exactly_where_the_share_beyond_it_says_so(
    values: list[float], quantile: float, limit: float
) -> None:
    low, high = bounds(values, quantile, alpha=0.05)
    share = beyond(values, limit)
    assert low <= high
    if limit not in values:
        assert is_above(share, 1 - quantile, alpha=0.05) == (limit < low)
        assert is_below(share, 1 - quantile, alpha=0.05) == (limit > high)


def test_few_values_bound_no_tail() -> None:
    assert bounds([], 0.95, alpha=0.05) == (-inf, inf)
    low, high = bounds(sorted(range(100)), 0.95, alpha=0.05)
    assert high == inf
    assert low == 86


def test_the_bounds_exclude_what_the_oracle_of_the_share_does() -> None:
    drawn = numpy.random.default_rng(3).lognormal(0, 1, 1_000)
    low, high = bounds(sorted(drawn.tolist()), 0.95, alpha=0.05)
    for limit, is_inside in (
        (low * 0.999, False),
        (low, True),
        (high * 0.999, True),
        (high, False),
    ):
        at_most = ville.BernoulliCS(alpha=0.05, intersect=False).fit(drawn <= limit)
        lowest, highest = at_most.interval()
        assert (lowest <= 0.95 <= highest) is is_inside


def test_the_bounds_are_near_those_of_the_oracle_of_quantiles_and_narrower_in_the_tail() -> None:
    drawn = numpy.random.default_rng(4).random(5_000)  # so that a value is its own rank
    for quantile in (0.5, 0.95):
        ours = bounds(sorted(drawn.tolist()), quantile, alpha=0.05)
        oracle = ville.QuantileCS(quantile, alpha=0.05, t_opt=2_000, intersect=False).fit(drawn)
        assert ours == pytest.approx(oracle.interval(), abs=0.02)
    assert ours[1] - ours[0] < oracle.interval()[1] - oracle.interval()[0]


@pytest.mark.slow
def test_of_a_thousand_values_no_look_excludes_the_true_quantile_in_19_cases_of_20() -> None:
    drawn, wrong, cases = random.Random(7), 0, 100
    for _ in range(cases):
        values = [drawn.random() for _ in range(1_000)]
        looks = (
            bounds(sorted(values[:number]), 0.9, alpha=0.05) for number in range(20, 1_001, 20)
        )
        wrong += any(not low <= 0.9 <= high for low, high in looks)
    assert wrong / cases <= 0.05
