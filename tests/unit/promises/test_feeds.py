"""Silent feeds: one that stops against its own pattern is reported soon, a healthy one almost never."""

from datetime import timedelta
from typing import Any

import numpy
import pytest
from numpy.typing import NDArray

from lanes.promises.assessment import Assessment
from lanes.promises.feeds import SOONEST, WEEK, WEEKS, ArrivalPattern, Feed, feed_silent
from lanes.words import Verdict
from tests.conftest import NOON, later

MINUTE = timedelta(minutes=1)
UNTIL = int(NOON.timestamp() // 60)
HOURS = numpy.arange((WEEKS + 4) * 168)
OFFICE = (HOURS % 24 >= 8) & (HOURS % 24 < 18) & (HOURS // 24 % 7 < 5)
BY_DAY = 1 + 0.9 * numpy.sin(2 * numpy.pi * HOURS / 24)
Minutes = NDArray[Any]


def poisson(rng: numpy.random.Generator, by_hour: Minutes, lasts: int = 1) -> Minutes:
    """Return the minutes of eight weeks that have arrivals; each arrival lasts for `lasts` minutes."""
    starts = numpy.repeat(HOURS * 60, rng.poisson(by_hour))
    at = starts + rng.integers(0, 60, len(starts))
    return numpy.unique(at[:, None] + numpy.arange(lasts)).astype(numpy.int64)


def steady(pause: int = 6, *, weeks: float = WEEKS, until: int = UNTIL) -> Minutes:
    return numpy.arange(until - int(weeks * WEEK), until + 1, pause)


def judged(at: Minutes, silent: timedelta) -> Assessment:
    return feed_silent(Feed("letters", NOON, ArrivalPattern(at, UNTIL)), NOON + silent)


def test_a_stopped_feed_is_reported_with_its_expected_items_and_ends_with_the_next_item() -> None:
    found = judged(steady(1), timedelta(minutes=40))
    assert (found.verdict, found.value, found.samples) == (Verdict.FAILED, 40, 40)
    assert (
        "Nothing has arrived for 40 min, since 12:00 UTC; by the same hours of the last 4 weeks"
        in found.sentence
    )
    assert "items were expected in 40 minutes of that time" in found.sentence
    again = Feed("letters", later(minutes=50), ArrivalPattern(steady(1), UNTIL))
    assert feed_silent(again, later(minutes=51)).ends


def test_a_silence_that_is_not_unusual_neither_breaks_the_promise_nor_ends_its_incident() -> None:
    for pattern in (ArrivalPattern(steady(60), UNTIL), None):
        found = feed_silent(Feed("letters", NOON, pattern), later(minutes=90))
        assert (found.verdict, found.ends) == (Verdict.INCONCLUSIVE, False)


def test_a_silence_of_a_few_minutes_is_not_reported() -> None:
    assert judged(steady(1), SOONEST).verdict is Verdict.PASSED


def test_a_week_of_silence_is_the_new_pattern_and_ends_the_incident() -> None:
    found = judged(steady(1), timedelta(days=7))
    assert (found.verdict, found.sentence[:34]) == (
        Verdict.PASSED,
        "Nothing has arrived for a week: th",
    )


@pytest.mark.parametrize(
    "at",
    [
        steady(weeks=1.9),
        steady(weeks=0),
        steady(weeks=0)[:0],
        steady(60 * 24, weeks=4),
        numpy.arange(UNTIL - 4 * WEEK, UNTIL, 1)[:: 7 * 60 * 24],
    ],
    ids=["new", "one item", "no item", "daily", "weekly"],
)
def test_new_and_rare_feeds_are_never_reported(at: Minutes) -> None:
    for days in (0.1, 1, 3, 6.9):
        assert judged(at, timedelta(days=days)).verdict is Verdict.INCONCLUSIVE


def test_an_hourly_feed_may_miss_one_hour_but_not_several() -> None:
    of_hour = steady(60)
    assert judged(of_hour, timedelta(hours=2)).verdict is Verdict.INCONCLUSIVE
    assert judged(of_hour, timedelta(hours=12)).verdict is Verdict.FAILED


def test_earlier_reported_outages_do_not_make_a_feed_less_sensitive() -> None:
    at = steady(1)
    for days in (3, 12):
        begun = UNTIL - days * 24 * 60
        at = at[(at < begun) | (at > begun + 300)]
    assert [ArrivalPattern(at, UNTIL, told).most for told in (2, 3)] == [10, 10]
    assert ArrivalPattern(at, UNTIL, 1).most > 300


@pytest.mark.parametrize("off", [3, 5, 20])
def test_a_feed_that_skips_days_is_inconclusive(off: int) -> None:
    rng, at = numpy.random.default_rng(3), steady(5)
    gone = rng.choice(28, off, replace=False)
    at = at[~numpy.isin((UNTIL - at) // 1440, gone)]
    assert judged(at, timedelta(days=6)).verdict is Verdict.INCONCLUSIVE


def test_a_feed_that_rests_at_night_is_reported_only_in_its_active_hours() -> None:
    rng = numpy.random.default_rng(5)
    at = poisson(rng, 100 * OFFICE)
    evening, noon = (4 * 168 + 24 + 18) * 60, (4 * 168 + 24 + 12) * 60
    for until, silent, told in ((evening, 840, False), (noon, 60, True)):
        known = ArrivalPattern(at[at <= until], until)
        since = NOON + (until - UNTIL) * MINUTE
        found = feed_silent(Feed("letters", since, known), since + silent * MINUTE)
        assert (found.verdict is Verdict.FAILED) == told


HEALTHY = {
    "steady": lambda rng: poisson(rng, 20 + 0 * HOURS),
    "daily": lambda rng: poisson(rng, 30 * BY_DAY),
    "office": lambda rng: poisson(rng, 100 * OFFICE),
    "overdispersed": lambda rng: poisson(rng, 100 * BY_DAY * rng.gamma(3, 1 / 3, len(HOURS))),
    "days that differ": lambda rng: poisson(
        rng, 100 * BY_DAY * numpy.repeat(rng.gamma(4, 1 / 4, len(HOURS) // 24), 24)
    ),
    "bursts": lambda rng: poisson(rng, 4 + 0 * HOURS, lasts=10),
    "irregular": lambda rng: poisson(rng, 200 * (rng.random(len(HOURS)) < 0.3)),
    "clocks change": lambda rng: _an_hour_later(poisson(rng, 300 * OFFICE)),
    "grows": lambda rng: poisson(rng, 50 * BY_DAY * (1 + HOURS / len(HOURS))),
}


def _an_hour_later(at: Minutes) -> Minutes:
    return numpy.where(at > 5 * WEEK, at + 60, at)


@pytest.mark.slow
@pytest.mark.parametrize("kind", HEALTHY)
def test_fifty_healthy_feeds_open_no_false_incident_in_four_weeks(kind: str) -> None:
    rng, told = numpy.random.default_rng(11), 0
    for _ in range(50):
        at = HEALTHY[kind](rng)
        for week in range(WEEKS, WEEKS + 4):
            until = week * WEEK
            pattern = ArrivalPattern(at[at < until], until)
            seen = at[(at >= until - 60) & (at < until + WEEK)]
            silent = numpy.diff(seen)
            lacking = numpy.diff(pattern.count_expected(seen))
            told += int(((lacking > pattern.most) & (silent > SOONEST / MINUTE)).sum())
    assert told == 0
