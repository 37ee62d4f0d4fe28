"""The half-life of waits of which some go on: the estimate and its bounds, against scipy and by simulation."""

from math import inf, log

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lanes.statistics.decay import Waits

ALPHA = 0.05


@pytest.mark.slow
@given(st.lists(st.floats(0.01, 1e6), min_size=1), st.lists(st.floats(0.01, 1e6)))
def test_the_half_life_is_that_of_scipys_fit_of_censored_waits(
    ended: list[float], going_on: list[float]
) -> None:
    seen = stats.CensoredData(uncensored=ended, right=going_on)
    _, scale = stats.expon.fit(seen, floc=0)
    found = Waits(len(ended), sum(ended) + sum(going_on))
    assert found.half_life_s == pytest.approx(log(2) * scale, rel=1e-3)


@given(st.integers(20, 1_000_000), st.floats(1, 1e9), st.sampled_from([0.2, 0.1, 0.05]))
def test_the_bounds_are_those_of_scipys_chi_square(
    ended: int, total_s: float, alpha: float
) -> None:
    low, high = Waits(ended, total_s).bounds_s(alpha=alpha)
    rates = stats.chi2.ppf([alpha / 2, 1 - alpha / 2], [2 * ended, 2 * ended + 2]) / 2 / total_s
    assert high == pytest.approx(log(2) / rates[0], rel=1e-3)
    assert low == pytest.approx(log(2) / rates[1], rel=1e-3)
    assert low < Waits(ended, total_s).half_life_s < high


@given(st.integers(1, 19), st.floats(1, 1e9))
def test_the_bounds_of_few_waits_are_hardly_narrower_than_scipys(
    ended: int, total_s: float
) -> None:
    low, high = Waits(ended, total_s).bounds_s(alpha=ALPHA)
    rates = stats.chi2.ppf([ALPHA / 2, 1 - ALPHA / 2], [2 * ended, 2 * ended + 2]) / 2 / total_s
    assert high >= log(2) / rates[0] * 0.999
    assert low <= log(2) / rates[1] * 1.01


def test_waits_of_which_none_ended_bound_the_half_life_from_below_alone() -> None:
    found = Waits(0, 1_000.0)
    low, high = found.bounds_s(alpha=ALPHA)
    assert (found.half_life_s, high) == (inf, inf)
    exact = 1_000 * log(2) / -log(ALPHA / 2)  # exp(-rate * 1,000) = alpha / 2
    assert low == pytest.approx(exact, rel=0.02)


@pytest.mark.parametrize("looked_after", [0.3, 1.0, 5.0])
def test_the_bounds_hold_the_true_half_life_as_often_as_they_say(looked_after: float) -> None:
    random = numpy.random.default_rng(7)
    waits = random.exponential(1 / log(2), size=(2_000, 40))  # a half-life of 1
    ended = (waits <= looked_after).sum(axis=1)
    total = numpy.minimum(waits, looked_after).sum(axis=1)
    bounds = [
        Waits(int(n), float(s)).bounds_s(alpha=ALPHA) for n, s in zip(ended, total, strict=True)
    ]
    assert numpy.mean([low <= 1 <= high for low, high in bounds]) >= 0.945
