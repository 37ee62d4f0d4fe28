"""When results that end early are believed: read three times alike, a minute apart, and only as the counts leave room."""

from datetime import timedelta

import pytest

from lanes.batch.batch import APART, REPEATED, ShortReads, count_short_read, doubt
from tests.conftest import NOON


def after(*reads: tuple[timedelta, set[int]]) -> ShortReads:
    """What is known after short reads at these times past noon, each without those requests."""
    known = None
    for moment, lacking in reads:
        known = count_short_read(known, lacking, now=NOON + moment)
    assert known is not None
    return known


def test_three_short_reads_without_the_same_requests_a_minute_apart_are_repeated() -> None:
    read = [(APART * times, {3, 7}) for times in range(REPEATED)]
    assert [after(*read[: times + 1]).is_repeated for times in range(REPEATED)] == [
        False,
        False,
        True,
    ]


@pytest.mark.parametrize(
    "apart", [timedelta(0), timedelta(seconds=1), APART - timedelta(microseconds=1)]
)
def test_short_reads_in_one_breath_count_once(apart: timedelta) -> None:
    known = after((timedelta(0), {3}), (apart, {3}), (apart, {3}))
    assert (known.times, known.counted_at) == (1, NOON)


def test_a_read_that_comes_too_soon_does_not_put_off_the_next() -> None:
    assert after((timedelta(0), {3}), (APART / 2, {3}), (APART, {3})).times == 2


def test_a_short_read_without_other_requests_begins_anew() -> None:
    assert (
        after((timedelta(0), {3}), (APART, {3}), (APART * 2, {3, 4}), (APART * 3, {3})).times == 1
    )


def test_the_order_of_the_requests_says_nothing() -> None:
    assert count_short_read(None, [7, 3, 11], now=NOON) == count_short_read(
        None, [11, 7, 3], now=NOON
    )


def test_requests_are_told_apart_by_their_whole_number() -> None:
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
        ),  # one of two is paid: which of them is not known
        (10, 12, True, "2 of them"),
        (0, 0, False, "do not prove that it is ours"),
        (0, 12, False, "do not prove that it is ours"),
        (10, None, True, "own count of answers cannot be read"),
    ],
)
def test_what_lacks_is_missing_only_where_every_answer_that_the_provider_counts_was_read(
    answered: int, succeeded: int | None, is_ours: bool, why: str | None
) -> None:
    said = doubt(
        12 - answered, requests=12, answered=answered, succeeded=succeeded, is_ours=is_ours
    )
    assert said is None if why is None else said and why in said
