"""Comparisons of two lanes that hold at every look: with different items on each lane, and with the same items on both."""

import random
from math import lgamma, log

import numpy
import pytest
import ville
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

from lanes.statistics.differences import (
    PairedShares,
    Strata,
    compute_mean_difference,
    difference_bounds,
    is_larger,
    is_smaller,
)
from lanes.statistics.shares import NOTHING, SampleShare, log_likelihood

shares = (
    st.integers(1, 300)
    .flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
    .map(lambda of: SampleShare(*of))
)
pairs = st.builds(PairedShares, st.integers(0, 50), st.integers(0, 50), st.integers(0, 300))
GRID = numpy.linspace(0, 1, 20_001)[1:-1]


@given(shares, shares)
def test_bounds_contain_the_observed_difference_and_mirror_each_other(
    of: SampleShare, than: SampleShare
) -> None:
    low, high = difference_bounds(of, than, alpha=0.05)
    assert of.value is not None
    assert than.value is not None
    assert -1 <= low <= of.value - than.value <= high <= 1
    assert difference_bounds(than, of, alpha=0.05) == pytest.approx((-high, -low), abs=1e-6)


@given(shares, shares, st.floats(-0.9, 0.9))
def test_a_limit_of_the_difference_is_judged_by_the_bounds(
    of: SampleShare, than: SampleShare, limit: float
) -> None:
    low, high = difference_bounds(of, than, alpha=0.05)
    if min(abs(limit - low), abs(limit - high)) > 1e-6:
        assert is_larger(of, than, by=limit, alpha=0.05) == (limit < low)
        assert is_smaller(of, than, by=limit, alpha=0.05) == (limit > high)


def test_without_samples_the_bounds_of_a_difference_are_the_whole_range() -> None:
    assert difference_bounds(NOTHING, SampleShare(3, 9), alpha=0.05) == (-1, 1)
    assert PairedShares(0, 0, 0).bounds(alpha=0.05) == (-1, 1)
    assert PairedShares(0, 0, 0).difference is None
    assert not PairedShares(0, 0, 9).is_worse(alpha=0.05)


def marginal(*counts: int) -> float:
    """Return the logarithm of the mean likelihood of these counts over all shares of their kinds."""
    kinds, total = len(counts), sum(counts)
    return lgamma(kinds) + sum(lgamma(each + 1) for each in counts) - lgamma(total + kinds)


@pytest.mark.parametrize(
    ("of", "than"), [((30, 100), (50, 900)), ((0, 40), (9, 60)), ((15, 15), (3, 15))]
)
def test_the_edges_of_a_difference_are_where_the_formula_puts_them(
    of: tuple[int, int], than: tuple[int, int]
) -> None:
    (x, n), (y, m) = of, than
    for edge in difference_bounds(SampleShare(x, n), SampleShare(y, m), alpha=0.05):
        if -1 < edge < 1:
            second = GRID[(edge + GRID > 0) & (edge + GRID < 1)]
            first = second + edge
            likely = x * numpy.log(first) + (n - x) * numpy.log(1 - first)
            likely += y * numpy.log(second) + (m - y) * numpy.log(1 - second)
            evidence = marginal(x, n - x) + marginal(y, m - y) - likely.max()
            assert evidence == pytest.approx(-log(0.05), abs=0.02)


@pytest.mark.parametrize("counts", [(7, 2, 91), (30, 0, 70), (12, 12, 400)])
def test_the_edges_of_a_paired_difference_are_where_the_formula_puts_them(
    counts: tuple[int, int, int],
) -> None:
    one, other, alike = counts
    for edge in PairedShares(*counts).bounds(alpha=0.05):
        share = GRID[(GRID + edge > 0) & (1 - 2 * GRID - edge > 0)]
        likely = one * numpy.log(share + edge) + other * numpy.log(share)
        likely += alike * numpy.log(1 - 2 * share - edge)
        assert marginal(*counts) - likely.max() == pytest.approx(-log(0.05), abs=0.02)


@pytest.mark.slow
@given(st.lists(st.tuples(shares, shares), min_size=1, max_size=4))
def test_the_bounds_of_several_steps_contain_the_mean_of_their_differences(strata: Strata) -> None:
    *before, (of, than) = strata
    low, high = difference_bounds(of, than, alpha=0.05, before=before)
    assert -1 <= low <= compute_mean_difference(strata) <= high <= 1
    for edge, is_beyond in ((low, is_larger), (high, is_smaller)):
        inside = edge + (1e-6 if edge == low else -1e-6)
        if -1 < inside < 1:
            assert not is_beyond(of, than, by=inside, alpha=0.05, before=before)


@pytest.mark.parametrize(
    "strata",
    [
        [((9, 100), (76, 1_900)), ((45, 500), (20, 500))],
        [((30, 60), (2, 90)), ((1, 300), (9, 40)), ((0, 20), (3, 15))],
    ],
)
def test_the_edges_of_several_steps_are_where_the_formula_puts_them(
    strata: list[tuple[tuple[int, int], tuple[int, int]]],
) -> None:
    """Find the likeliest shares with a given mean difference with another optimizer."""
    seen = [(SampleShare(*of), SampleShare(*than)) for of, than in strata]
    sides = [each for pair in seen for each in pair]
    weights = numpy.array([of.samples for of, _ in seen]) / sum(of.samples for of, _ in seen)
    *before, (of, than) = seen

    def unlikely(of_sides: numpy.ndarray) -> float:
        return -sum(map(log_likelihood, sides, of_sides))

    for edge in difference_bounds(of, than, alpha=0.05, before=before):
        is_so = {"type": "eq", "fun": lambda p, edge=edge: weights @ (p[::2] - p[1::2]) - edge}
        start = [(each.hits + 1) / (each.samples + 2) for each in sides]
        found = optimize.minimize(
            unlikely, start, bounds=[(1e-9, 1 - 1e-9)] * len(sides), constraints=is_so, tol=1e-9
        )
        assert found.success
        apart = sum(marginal(each.hits, each.samples - each.hits) for each in sides)
        alike = sum(
            marginal(hits, number - hits)
            for hits, number in (
                [sum(each) for each in zip(*lane, strict=True)] for lane in zip(*seen, strict=True)
            )
        )
        evidence = numpy.logaddexp(apart, alike) - log(2) + found.fun
        assert evidence == pytest.approx(-log(0.05), abs=0.01)


def test_a_loss_too_small_to_find_in_any_single_step_is_found_in_all_steps_together() -> None:
    steps = [(SampleShare(part // 8, part), SampleShare(35, 700)) for part in (350, 700, 700)]
    found = [is_larger(*each, by=0, alpha=0.001) for each in steps]
    assert found == [False, False, False]
    *before, last = steps
    assert is_larger(*last, by=0, alpha=0.001, before=before)


# In each step both lanes have the same error rate, but it differs between steps: (share moved, share wrong).
SIMPSON = [(0.05, 0.02), (0.2, 0.1), (0.5, 0.3)]


@pytest.mark.slow
def test_two_equal_lanes_do_not_differ_by_steps_although_the_pooled_steps_differ() -> None:
    drawn, wrong, misled, cases = random.Random(23), 0, 0, 100
    for _ in range(cases):
        steps, failed = list[tuple[SampleShare, SampleShare]](), False
        for portion, share in SIMPSON:
            hits, samples = [0, 0], [0, 0]
            before = [*steps]
            for item in range(1, 1_001):
                lane = drawn.random() < portion
                samples[lane] += 1
                hits[lane] += drawn.random() < share
                if item % 100 == 0:
                    of, than = (SampleShare(hits[each], samples[each]) for each in (1, 0))
                    steps = [*before, (of, than)]
                    failed |= is_larger(of, than, by=0, alpha=0.05, before=before)
        of, than = (
            [sum(each) for each in zip(*lane, strict=True)] for lane in zip(*steps, strict=True)
        )
        misled += is_larger(SampleShare(*of), SampleShare(*than), by=0, alpha=0.05)
        wrong += failed
    assert wrong / cases <= 0.05
    assert misled == cases


@pytest.mark.slow
def test_the_bounds_of_many_items_are_near_those_of_the_oracle() -> None:
    drawn, number = numpy.random.default_rng(11), 10_000
    moved = drawn.random(number) < 0.5
    wrong = drawn.random(number) < numpy.where(moved, 0.15, 0.1)
    ours = difference_bounds(
        SampleShare(int(wrong[moved].sum()), int(moved.sum())),
        SampleShare(int(wrong[~moved].sum()), int((~moved).sum())),
        alpha=0.05,
    )
    oracle = ville.BettingABTest(alpha=0.05, grid=2_000).fit(wrong, moved)
    assert ours == pytest.approx(oracle.interval(), abs=0.02)


@pytest.mark.slow
def test_the_bounds_of_many_pairs_are_near_those_of_the_oracle() -> None:
    kinds = numpy.random.default_rng(12).choice([1, -1, 0], 4_000, p=[0.07, 0.02, 0.91])
    ours = PairedShares(*(int((kinds == kind).sum()) for kind in (1, -1, 0)))
    oracle = ville.BettingCS((-1, 1), alpha=0.05, grid=1_000, intersect=False).fit(kinds)
    assert ours.bounds(alpha=0.05) == pytest.approx(oracle.interval(), abs=0.02)


@given(pairs)
def test_is_worse_agrees_with_the_oracle_for_the_discordant_pairs(
    of: PairedShares,
) -> None:
    if of.one + of.other:
        discordant = [1] * of.one + [0] * of.other
        test = ville.BernoulliTest(0.5, alpha=0.05).fit(discordant)
        evidence = test.log_e_values_[-1]
        assert of.is_worse(alpha=0.05) == (of.one > of.other and evidence >= -log(0.05))


@pytest.mark.slow
@given(pairs)
def test_the_bounds_of_exchanged_pairs_mirror_each_other(of: PairedShares) -> None:
    low, high = of.bounds(alpha=0.05)
    mirrored = PairedShares(of.other, of.one, of.alike).bounds(alpha=0.05)
    assert mirrored == pytest.approx((-high, -low), abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("moved", [0.05, 0.5])
def test_many_looks_at_two_equal_lanes_find_no_difference_in_19_of_20_cases(
    moved: float,
) -> None:
    drawn, wrong, cases = random.Random(13), 0, 100
    for _ in range(cases):
        hits, samples = [0, 0], [0, 0]
        for look in range(1, 2_001):
            lane = drawn.random() < moved
            samples[lane] += 1
            hits[lane] += drawn.random() < 0.1
            if look % 100 == 0:
                of, than = (SampleShare(hits[lane], samples[lane]) for lane in (1, 0))
                if is_larger(of, than, by=0, alpha=0.05) or is_smaller(of, than, by=0, alpha=0.05):
                    wrong += 1
                    break
    assert wrong / cases <= 0.05


@pytest.mark.slow
def test_many_looks_at_pairs_of_equal_lanes_call_no_lane_worse_in_19_of_20_cases() -> None:
    drawn, wrong, cases = random.Random(17), 0, 200
    for _ in range(cases):
        one = other = 0
        for _ in range(1_000):
            kind = drawn.random()
            one, other = one + (kind < 0.05), other + (0.05 <= kind < 0.1)
            if PairedShares(one, other, 0).is_worse(alpha=0.05):
                wrong += 1
                break
    assert wrong / cases <= 0.05
