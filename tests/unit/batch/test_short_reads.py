"""Short reads of results: accepted after three equal reads a minute apart, and only if the provider's counts allow it."""

from datetime import timedelta

import pytest

from lanes.batch.batch import APART, REPEATED, ShortReads, count_short_read, doubt
from tests.conftest import NOON


def after(*reads: tuple[timedelta, set[int]]) -> ShortReads:
    """Return the record of short reads at these times past noon, each without those requests."""
    known = None
    for moment, lacking in reads:
        known = count_short_read(known, lacking, now=NOON + moment)
    assert known is not None
    return known


def test_three_short_reads_that_miss_the_same_requests_a_minute_apart_are_repeated() -> None:
    read = [(APART * times, {3, 7}) for times in range(REPEATED)]
    assert [after(*read[: times + 1]).is_repeated for times in range(REPEATED)] == [
        False,
        False,
        True,
    ]


@pytest.mark.parametrize(
    "apart", [timedelta(0), timedelta(seconds=1), APART - timedelta(microseconds=1)]
)
def test_short_reads_less_than_a_minute_apart_count_once(apart: timedelta) -> None:
    known = after((timedelta(0), {3}), (apart, {3}), (apart, {3}))
    assert (known.times, known.counted_at) == (1, NOON)


def test_a_short_read_that_comes_too_soon_does_not_delay_the_next_count() -> None:
    assert after((timedelta(0), {3}), (APART / 2, {3}), (APART, {3})).times == 2


def test_a_short_read_that_misses_other_requests_restarts_the_count() -> None:
    assert (
        after((timedelta(0), {3}), (APART, {3}), (APART * 2, {3, 4}), (APART * 3, {3})).times == 1
    )


def test_the_order_of_the_missing_requests_does_not_matter() -> None:
    assert count_short_read(None, [7, 3, 11], now=NOON) == count_short_read(
        None, [11, 7, 3], now=NOON
    )


def test_missing_requests_are_distinguished_by_their_whole_number() -> None:
    assert (
        count_short_read(None, [1, 11], now=NOON).lacking
        != count_short_read(None, [11, 1, 1], now=NOON).lacking
    )
    assert (
        count_short_read(None, [1, 23], now=NOON).lacking
        != count_short_read(None, [12, 3], now=NOON).lacking
    )


@pytest.mark.parametrize(
    ("answered", "succeeded", "is_ours", "why"),
    [
        (10, 10, True, None),  # the counts leave room for two that have no answer
        (10, 0, True, None),
        (0, 12, True, "counts 12 answers, but its results hold 0"),
        (
            10,
            11,
            True,
            "1 of them, which are paid, cannot be read",
        ),  # one of the two is paid; which one is unknown
        (10, 12, True, "2 of them"),
        (0, 0, False, "do not prove that it is ours"),
        (0, 12, False, "do not prove that it is ours"),
        (10, None, True, "own count of answers cannot be read"),
    ],
)
def test_requests_count_as_missing_only_if_every_answer_the_provider_counts_was_read(
    answered: int, succeeded: int | None, is_ours: bool, why: str | None
) -> None:
    said = doubt(
        12 - answered, requests=12, answered=answered, succeeded=succeeded, is_ours=is_ours
    )
    assert said is None if why is None else said and why in said
