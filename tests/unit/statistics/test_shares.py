"""Bounds of a share that hold at every look."""

import random
from math import comb, log

import pytest
import ville
from hypothesis import given
from hypothesis import strategies as st

from lanes.statistics.shares import (
    NOTHING,
    SampleShare,
    bounds,
    clean_samples,
    excludes,
    is_above,
    is_below,
)

shares = (
    st.integers(1, 400)
    .flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
    .map(lambda of: SampleShare(*of))
)


@given(shares, st.sampled_from([0.01, 0.025, 0.2]))
def test_what_was_seen_lies_within_its_bounds_which_exclude_what_the_formula_does(
    of: SampleShare, alpha: float
) -> None:
    low, high = bounds(of, alpha=alpha)
    assert of.value is not None
    assert 0 <= low <= of.value <= high <= 1

    def evidence(share: float) -> float:
        """The logarithm of Beta(1 + x, 1 + n - x) / (p^x (1 - p)^(n - x)), where both are integers."""
        likely = of.hits * log(share) + (of.samples - of.hits) * log(1 - share)
        return -log((of.samples + 1) * comb(of.samples, of.hits)) - likely

    for edge in (low, high):
        if 0 < edge < 1:
            assert evidence(edge) == pytest.approx(-log(alpha), abs=0.01)


def test_nothing_is_known_of_nothing() -> None:
    assert bounds(NOTHING, alpha=0.05) == (0.0, 1.0)
    assert NOTHING.value is None


@given(shares)
def test_misses_mirror_hits(of: SampleShare) -> None:
    low, high = bounds(of, alpha=0.05)
    other = bounds(SampleShare(of.samples - of.hits, of.samples), alpha=0.05)
    assert other == (pytest.approx(1 - high, abs=1e-6), pytest.approx(1 - low, abs=1e-6))


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_of_a_thousand_looks_at_a_growing_sample_none_excludes_the_truth_in_19_cases_of_20(
    share: float,
) -> None:
    """A bound that holds at one look would exclude it in about 3 cases of 10."""
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
def test_a_limit_is_surely_kept_or_broken_exactly_where_the_bounds_say_so(
    of: SampleShare, limit: float
) -> None:
    low, high = bounds(of, alpha=0.05)
    if min(abs(limit - low), abs(limit - high)) > 1e-6:
        assert is_above(of, limit, alpha=0.05) == (limit < low)
        assert is_below(of, limit, alpha=0.05) == (limit > high)


def test_a_share_of_none_and_of_all_is_excluded_by_one_sample_of_the_other_kind() -> None:
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
