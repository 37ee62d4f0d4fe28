"""Evidence that shares have changed: its mean is 1 while nothing changes, and real changes are found."""

from itertools import pairwise, product
from math import exp, inf, log
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanes.statistics.differences import detect, find_merge, log_e_value
from lanes.statistics.shares import SampleShare

Counts = list[int]


def drawn(random: Random, shares: list[float], items: int) -> Counts:
    """Return the counts by class of `items` random answers."""
    found = random.choices(range(len(shares)), shares, k=items)
    return [found.count(place) for place in range(len(shares))]


@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 12), st.integers(2, 6))
def test_the_mean_of_an_e_value_is_one_under_the_prediction_from_earlier_answers(
    hits: int, misses: int, items: int, classes: int
) -> None:
    before = SampleShare(hits, hits + misses)
    mean = 0.0
    for outcome in product((0, 1), repeat=items):
        at = (hits + 1, hits + misses + classes)
        chance = 1.0
        for hit in outcome:
            chance *= at[0] / at[1] if hit else 1 - at[0] / at[1]
            at = (at[0] + hit, at[1] + 1)
        since = SampleShare(sum(outcome), items)
        mean += chance * exp(log_e_value(before, since, classes=classes))
    assert mean == pytest.approx(1)


@given(
    st.lists(st.lists(st.integers(0, 50), min_size=3, max_size=3), min_size=1, max_size=8),
    st.booleans(),
)
def test_any_counts_give_a_valid_shift_or_none(portions: list[Counts], rises: bool) -> None:
    portions[0][0] += 1
    evidence, shift = detect(portions, range(3), rises=rises)
    assert (shift is None) == (evidence == -inf)
    if shift is not None:
        assert 1 <= shift.portion < len(portions)
        assert not rises or shift.since.hits * shift.before.samples >= (
            shift.before.hits * shift.since.samples - shift.since.samples * shift.before.samples / 3
        )


def test_a_change_is_found_with_its_class_its_moment_and_both_shares() -> None:
    usual, changed = [40, 40, 20], [20, 40, 40]
    evidence, shift = detect([[200, 200, 100], *[usual] * 10, *[changed] * 10], range(3))
    assert evidence > log(1e7)
    assert shift is not None
    assert (shift.portion, shift.place) in {(11, 0), (11, 2)}
    assert (shift.before.samples, shift.since.samples) == (1_500, 1_000)


def test_a_falling_share_is_no_evidence_where_only_a_rise_counts() -> None:
    portions = [[400, 100], *[[100, 0]] * 20]
    assert detect(portions, [1])[0] > log(1e7)
    assert detect(portions, [1], rises=True) == (-inf, None)


def test_a_new_class_is_found_at_once() -> None:
    evidence, shift = detect([[50, 0], [0, 20]], [0, 1])
    assert evidence > log(1e9)
    assert shift is not None
    assert shift.since == SampleShare(0, 20)


@given(st.lists(st.integers(1, 1_000), min_size=1, max_size=60))
def test_thinning_keeps_the_reference_and_the_newest_portions(sizes: list[int]) -> None:
    merged = find_merge(sizes, most=32)
    assert (merged is None) == (len(sizes) <= 32)
    if merged is not None:
        assert 1 <= merged < len(sizes) - 2


def test_thinned_portions_become_finer_towards_the_newest() -> None:
    sizes = [500]
    for _ in range(2_000):
        sizes.append(20)
        if (merged := find_merge(sizes, most=32)) is not None:
            sizes[merged : merged + 2] = [sum(sizes[merged : merged + 2])]
    assert len(sizes) == 32
    assert sizes[-3:] == [20, 20, 20]
    since = [sum(sizes[place:]) for place in range(1, 32)]
    assert all(one < 2.2 * next_one for one, next_one in pairwise(since))


@pytest.mark.slow
@pytest.mark.parametrize("shares", [[0.5, 0.5], [0.9, 0.1], [0.98, 0.02], [0.5, 0.3, 0.1, 0.1]])
def test_false_alarms_are_rarer_than_one_in_as_many_looks_as_the_threshold(
    shares: list[float],
) -> None:
    threshold, looks, alarms = 200, 0, 0
    random = Random(7)
    for _ in range(40):
        portions = [drawn(random, shares, 100)]
        for _ in range(100):
            looks += 1
            portions.append(drawn(random, shares, 20))
            if (merged := find_merge([sum(each) for each in portions], most=12)) is not None:
                both = portions[merged : merged + 2]
                portions[merged : merged + 2] = [list(map(sum, zip(*both, strict=True)))]
            if detect(portions, range(len(shares)))[0] >= log(threshold):
                alarms += 1
                break
    assert alarms <= looks / threshold
