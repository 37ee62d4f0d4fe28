"""Durations in buckets: counts, sums and percentiles."""

from datetime import timedelta

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanes.statistics.figures import Durations, bucket_of, seconds_of

BUCKETS = st.dictionaries(st.integers(-1, 600), st.integers(1, 50), min_size=1, max_size=30)


def of(*rows: dict[int, int]) -> Durations:
    durations = Durations()
    for row in rows:
        durations.add(row.keys(), row.values())
    return durations


@given(BUCKETS, st.floats(0, 1))
def test_a_percentile_is_interpolated_as_numpy_does_for_the_single_durations(
    counts: dict[int, int], share: float
) -> None:
    each = [seconds_of(bucket) for bucket, n in counts.items() for _ in range(n)]
    assert of(counts).percentile_s(share) == pytest.approx(
        float(numpy.quantile(each, share)), rel=1e-9
    )
    assert of(counts).count == len(each)
    assert of(counts).total_s == pytest.approx(sum(each))


@given(BUCKETS, BUCKETS)
def test_durations_added_in_parts_equal_the_whole(
    one: dict[int, int], other: dict[int, int]
) -> None:
    whole = {bucket: one.get(bucket, 0) + other.get(bucket, 0) for bucket in one | other}
    assert of(one, other).list_counts() == of(whole).list_counts()


def test_subtracted_durations_are_not_counted() -> None:
    durations = of({100: 2, 200: 1})
    assert durations.count == 3
    durations.add([200, 300], [-1, -4])
    assert (durations.count, durations.percentile_s(1.0)) == (2, seconds_of(100))
    durations.add([100], [-2])
    assert (durations.count, durations.total_s, durations.list_counts()) == (0, 0.0, [])


@given(st.lists(st.timedeltas(timedelta(milliseconds=2), timedelta(days=30)), min_size=1))
def test_a_median_is_right_within_two_per_cent(spans: list[timedelta]) -> None:
    durations = Durations()
    durations.add([bucket_of(each) for each in spans], [1] * len(spans))
    right = float(numpy.quantile([each.total_seconds() for each in spans], 0.5))
    assert durations.percentile_s(0.5) == pytest.approx(right, rel=0.02)
