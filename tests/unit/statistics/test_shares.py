"""Bounds of shares and of means that hold at every look."""

import random
from itertools import chain
from math import comb, log

import numpy
import pytest
import ville
from hypothesis import given
from hypothesis import strategies as st

from lanes.statistics.shares import (
    NOTHING,
    MeanSequence,
    SampleShare,
    bounds,
    clean_samples,
    excess_bounds,
    excludes,
    is_above,
    is_below,
)

shares = (
    st.integers(1, 400)
    .flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
    .map(lambda of: SampleShare(*of))
)
values = st.lists(st.floats(2, 5), min_size=1, max_size=200)


@given(shares, st.sampled_from([0.01, 0.025, 0.2]))
def test_bounds_contain_the_observed_share_and_are_where_the_formula_puts_them(
    of: SampleShare, alpha: float
) -> None:
    low, high = bounds(of, alpha=alpha)
    assert of.value is not None
    assert 0 <= low <= of.value <= high <= 1

    def evidence(share: float) -> float:
        """Return the logarithm of Beta(1 + x, 1 + n - x) / (p^x (1 - p)^(n - x)) for integers x and n."""
        likely = of.hits * log(share) + (of.samples - of.hits) * log(1 - share)
        return -log((of.samples + 1) * comb(of.samples, of.hits)) - likely

    for edge in (low, high):
        if 0 < edge < 1:
            assert evidence(edge) == pytest.approx(-log(alpha), abs=0.01)


def test_without_samples_the_bounds_of_a_share_are_the_whole_range() -> None:
    assert bounds(NOTHING, alpha=0.05) == (0.0, 1.0)
    assert NOTHING.value is None


@given(shares)
def test_the_bounds_of_misses_mirror_those_of_hits(of: SampleShare) -> None:
    low, high = bounds(of, alpha=0.05)
    other = bounds(SampleShare(of.samples - of.hits, of.samples), alpha=0.05)
    assert other == (pytest.approx(1 - high, abs=1e-6), pytest.approx(1 - low, abs=1e-6))


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_many_looks_at_a_growing_sample_never_exclude_the_truth_in_19_of_20_cases(
    share: float,
) -> None:
    """A bound that holds at a single look would exclude the truth in about 3 of 10 cases."""
    drawn, wrong, cases = random.Random(3), 0, 100
    for _ in range(cases):
        hits = 0
        for samples in range(1, 1_001):
            hits += drawn.random() < share
            low, high = (
                bounds(SampleShare(hits, samples), alpha=0.05) if samples % 20 == 0 else (0.0, 1.0)
            )
            if not low <= share <= high:
                wrong += 1
                break
    assert wrong / cases <= 0.05


@given(st.lists(st.booleans(), min_size=1, max_size=200), st.sampled_from([0.2, 0.05, 0.001]))
def test_the_bounds_are_those_of_the_oracle_at_every_look(hits: list[bool], alpha: float) -> None:
    oracle = ville.BernoulliCS(alpha=alpha, intersect=False).fit(hits)
    for look in range(len(hits)):
        low, high = bounds(SampleShare(sum(hits[: look + 1]), look + 1), alpha=alpha)
        assert low == pytest.approx(oracle.lower_[look], abs=1e-6)
        assert high == pytest.approx(oracle.upper_[look], abs=1e-6)


@given(shares, st.floats(0, 1))
def test_a_limit_is_certainly_exceeded_or_kept_exactly_if_it_lies_outside_the_bounds(
    of: SampleShare, limit: float
) -> None:
    low, high = bounds(of, alpha=0.05)
    if min(abs(limit - low), abs(limit - high)) > 1e-6:
        assert is_above(of, limit, alpha=0.05) == (limit < low)
        assert is_below(of, limit, alpha=0.05) == (limit > high)


def test_a_share_of_zero_or_one_is_excluded_by_one_sample_of_the_other_kind() -> None:
    assert excludes(SampleShare(1, 9), 0, alpha=0.05)
    assert excludes(SampleShare(8, 9), 1, alpha=0.05)
    assert not excludes(SampleShare(0, 10**6), 0, alpha=0.05)
    assert not excludes(SampleShare(10**6, 10**6), 1, alpha=0.05)


@pytest.mark.parametrize("share", [0.5, 0.05, 0.01])
@pytest.mark.parametrize("alpha", [0.05, 0.001])
def test_the_fewest_samples_without_a_hit_are_enough_and_one_less_is_not(
    share: float, alpha: float
) -> None:
    fewest = clean_samples(share, alpha=alpha)
    assert is_below(SampleShare(0, fewest), share, alpha=alpha)
    assert not is_below(SampleShare(0, fewest - 1), share, alpha=alpha)


def test_without_values_the_bounds_of_a_mean_are_the_ends_of_its_range() -> None:
    nothing = MeanSequence(2, 5, alpha=0.05)
    assert (nothing.value, nothing.samples, nothing.bounds) == (None, 0, (2, 5))


@given(values, st.sampled_from([0.2, 0.05, 0.001]))
def test_the_bounds_of_a_mean_are_those_of_the_oracle_at_every_look(
    given: list[float], alpha: float
) -> None:
    oracle = ville.EmpiricalBernsteinCS((2, 5), alpha=alpha, intersect=False).fit(given)
    ours = MeanSequence(2, 5, alpha=alpha)
    for look, value in enumerate(given):
        low, high = ours.add([value]).bounds
        assert low == pytest.approx(oracle.lower_[look], abs=1e-9)
        assert high == pytest.approx(oracle.upper_[look], abs=1e-9)
    assert ours.value == pytest.approx(oracle.estimate_[-1])


def test_a_value_outside_the_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"5\.1 lies outside"):
        MeanSequence(2, 5, alpha=0.05).add([3, 5.1])
    with pytest.raises(ValueError, match="room"):
        MeanSequence(2, 2, alpha=0.05)


@pytest.mark.slow
def test_a_thousand_looks_never_exclude_the_true_mean_in_19_of_20_cases() -> None:
    drawn, wrong, cases = random.Random(5), 0, 100
    for _ in range(cases):
        sequence = MeanSequence(0, 1, alpha=0.05)
        for _ in range(1_000):
            low, high = sequence.add([drawn.betavariate(2, 5)]).bounds
            if not low <= 2 / 7 <= high:
                wrong += 1
                break
    assert wrong / cases <= 0.05


def test_values_that_vary_little_have_narrow_bounds() -> None:
    drawn = numpy.random.default_rng(1)
    widths = []
    for spread in (0.4, 0.02):
        seen = MeanSequence(0, 1, alpha=0.05).add(drawn.uniform(0.5 - spread, 0.5 + spread, 2_000))
        low, high = seen.bounds
        widths.append(high - low)
    assert widths[1] < widths[0] / 4


def spent(drawn: random.Random, items: int, mean: float) -> list[float]:
    return [mean * drawn.uniform(0.5, 1.5) for _ in range(items)]


@pytest.mark.slow
def test_steps_with_different_costs_make_no_lane_look_dearer_in_19_of_20_cases() -> None:
    drawn, wrong, cases = random.Random(29), 0, 60
    steps = list[tuple[list[float], list[float]]]()
    for _ in range(cases):
        steps.clear()
        for moved, stays, mean in ((20, 380, 0.5), (80, 320, 1.0), (200, 200, 3.0)):
            steps.append(([], []))
            for _ in range(4):
                steps[-1][0].extend(spent(drawn, moved // 4, mean))
                steps[-1][1].extend(spent(drawn, stays // 4, mean))
                low, high = excess_bounds(steps, 1, 5, alpha=0.05)
                wrong += not low <= 0 <= high
    assert wrong / cases <= 0.05
    moved, stays = ([*chain.from_iterable(lane)] for lane in zip(*steps, strict=True))
    assert excess_bounds([(moved, stays)], 1, 5, alpha=0.05)[0] > 0


def test_a_missed_saving_too_small_to_prove_in_one_step_is_proved_by_all_steps_together() -> None:
    drawn = random.Random(31)
    steps = [(spent(drawn, 400, 0.8), spent(drawn, 400, 1.0)) for _ in range(3)]
    assert [excess_bounds([each], 0.7, 5, alpha=0.01)[0] > 0 for each in steps] == [False] * 3
    assert excess_bounds(steps, 0.7, 5, alpha=0.01)[0] > 0
