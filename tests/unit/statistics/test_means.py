"""Bounds of a mean that hold at every look."""

import random
from itertools import chain

import numpy
import pytest
import ville
from hypothesis import given
from hypothesis import strategies as st

from lanes.statistics.means import MeanSequence, excess_bounds

values = st.lists(st.floats(2, 5), min_size=1, max_size=200)


def test_without_values_nothing_is_known_but_the_ends() -> None:
    nothing = MeanSequence(2, 5, alpha=0.05)
    assert (nothing.value, nothing.samples, nothing.bounds) == (None, 0, (2, 5))


@given(values, st.sampled_from([0.2, 0.05, 0.001]))
def test_the_bounds_are_those_of_the_oracle_at_every_look(given: list[float], alpha: float) -> None:
    oracle = ville.EmpiricalBernsteinCS((2, 5), alpha=alpha, intersect=False).fit(given)
    ours = MeanSequence(2, 5, alpha=alpha)
    for look, value in enumerate(given):
        low, high = ours.add([value]).bounds
        assert low == pytest.approx(oracle.lower_[look], abs=1e-9)
        assert high == pytest.approx(oracle.upper_[look], abs=1e-9)
    assert ours.value == pytest.approx(oracle.estimate_[-1])


def test_a_value_beyond_the_ends_is_refused() -> None:
    with pytest.raises(ValueError, match=r"5\.1 lies outside"):
        MeanSequence(2, 5, alpha=0.05).add([3, 5.1])
    with pytest.raises(ValueError, match="room"):
        MeanSequence(2, 2, alpha=0.05)


@pytest.mark.slow
def test_of_a_thousand_looks_none_excludes_the_true_mean_in_19_cases_of_20() -> None:
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
def test_steps_whose_costs_differ_make_no_lane_look_dearer_in_19_cases_of_20() -> None:
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


def test_a_saving_that_each_step_alone_is_too_short_to_miss_is_missed_by_all_of_them() -> None:
    drawn = random.Random(31)
    steps = [(spent(drawn, 400, 0.8), spent(drawn, 400, 1.0)) for _ in range(3)]
    assert [excess_bounds([each], 0.7, 5, alpha=0.01)[0] > 0 for each in steps] == [False] * 3
    assert excess_bounds(steps, 0.7, 5, alpha=0.01)[0] > 0
