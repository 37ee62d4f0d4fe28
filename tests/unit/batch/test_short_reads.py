"""When results that end early are believed: three times alike, and never in one breath."""

from datetime import timedelta

import pytest

from lanes.batch.short_reads import APART, BELIEVED, ShortReads, counted
from tests.conftest import NOON


def after(*reads: tuple[timedelta, set[int]]) -> ShortReads:
    """What is known after short reads at these times past noon, each without those requests."""
    known = None
    for moment, lacking in reads:
        known = counted(known, lacking, now=NOON + moment)
    assert known is not None
    return known


def test_three_short_reads_without_the_same_requests_a_minute_apart_are_believed() -> None:
    read = [(APART * times, {3, 7}) for times in range(BELIEVED)]
    assert [after(*read[: times + 1]).believed for times in range(BELIEVED)] == [False, False, True]


@pytest.mark.parametrize("apart", [timedelta(0), timedelta(seconds=1), APART - timedelta(microseconds=1)])
def test_short_reads_in_one_breath_count_once(apart: timedelta) -> None:
    known = after((timedelta(0), {3}), (apart, {3}), (apart, {3}))
    assert (known.times, known.counted_at) == (1, NOON)


def test_a_read_that_comes_too_soon_does_not_put_off_the_next() -> None:
    assert after((timedelta(0), {3}), (APART / 2, {3}), (APART, {3})).times == 2


def test_a_short_read_without_other_requests_begins_anew() -> None:
    assert after((timedelta(0), {3}), (APART, {3}), (APART * 2, {3, 4}), (APART * 3, {3})).times == 1


def test_the_order_of_the_requests_says_nothing() -> None:
    assert counted(None, [7, 3, 11], now=NOON) == counted(None, [11, 7, 3], now=NOON)


def test_requests_are_told_apart_by_their_whole_number() -> None:
    assert counted(None, [1, 11], now=NOON).lacking != counted(None, [11, 1, 1], now=NOON).lacking
    assert counted(None, [1, 23], now=NOON).lacking != counted(None, [12, 3], now=NOON).lacking
