"""How many calls may be in flight: within bounds whatever the provider says, and never again before it says."""

import math
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanes.realtime.pace import CALLS_PER_S, DEFAULT_WAIT, FREEZE, LEAST, LONGEST_WAIT, Pace
from tests.conftest import NOON, later

steps = st.lists(
    st.tuples(st.just("reserve"), st.integers(1, 5))
    | st.tuples(st.just("release"), st.integers(1, 5))
    | st.tuples(st.just("succeeded"), st.floats(0, 600))
    | st.tuples(st.just("slow_down"), st.none() | st.floats() | st.integers(0, 10**9))
    | st.tuples(st.just("freeze"), st.just(0)),
    max_size=60,
)


def slowed(times: int, most: int = 16) -> Pace:
    pace = Pace(most)
    for _ in range(times):
        pace.slow_down("haiku", retry_after_s=0, now=NOON)
    return pace


def begin(pace: Pace, calls: int) -> None:
    for _ in range(calls):
        pace.began("letters", "haiku")


def end(pace: Pace, calls: int) -> None:
    for _ in range(calls):
        pace.ended("letters", "haiku")


@given(st.integers(1, 64), steps)
def test_the_places_stay_within_their_bounds_whatever_happens(
    most: int, happens: list[tuple[str, float | None]]
) -> None:
    pace = Pace(most)
    for minute, (what, value) in enumerate(happens):
        now = later(minutes=minute)
        match what:
            case "reserve":
                begin(pace, min(int(value or 0), pace.places(now)))
            case "release":
                end(pace, min(int(value or 0), pace.of_model("haiku")))
            case "succeeded":
                pace.succeeded("haiku", value or 0)
            case "slow_down":
                pace.slow_down("haiku", retry_after_s=value, now=now)
            case _:
                pace.freeze(now)
        assert (
            pace.is_model_resting("haiku", now)
            or pace.room("haiku", now) is None
            or most >= (pace.room("haiku", now) or 0)
        )
        assert pace.in_flight.get("letters", 0) == pace.of_model("haiku")
        assert 0 <= pace.of_model("haiku") <= most
        assert 0 <= pace.places(now) <= most - pace.of_model("haiku")
        assert all(now < each <= now + LONGEST_WAIT for each in pace.rests(now))
        assert pace.room("opus", now) in ((0,) if pace.is_resting(now) else (None,))


def test_a_pace_begins_with_all_its_places() -> None:
    pace = Pace(16)
    assert pace.places(NOON) == 16
    begin(pace, 10)
    assert pace.places(NOON) == 6
    end(pace, 10)
    assert pace.places(NOON) == 16


def test_a_limit_halves_the_places_of_its_model_and_one_always_remains() -> None:
    assert [slowed(times).room("haiku", later(seconds=1)) for times in (1, 2, 3, 4, 5, 50)] == [
        8,
        4,
        2,
        1,
        1,
        1,
    ]


def test_nothing_is_asked_before_the_provider_says() -> None:
    pace = Pace(16)
    pace.slow_down("haiku", retry_after_s=12, now=NOON)
    assert (pace.room("haiku", later(seconds=11.9)), pace.room("haiku", later(seconds=12))) == (
        0,
        8,
    )


def test_a_limit_or_a_refusal_of_one_model_leaves_every_place_to_the_others() -> None:
    pace = Pace(16)
    pace.slow_down("haiku", retry_after_s=12, now=NOON)
    pace.freeze_model("sonnet", NOON)
    now = later(seconds=1)
    assert (
        pace.room("haiku", now),
        pace.room("sonnet", now),
        pace.room("opus", now),
        pace.places(now),
    ) == (0, 0, None, 16)
    assert pace.next_try("letters", "opus", now) == now
    assert pace.next_try("letters", "haiku", now) == later(seconds=12)


@pytest.mark.parametrize(
    ("retry_after_s", "wait"),
    [
        (None, DEFAULT_WAIT),
        (0, timedelta(0)),
        (-5, timedelta(0)),
        (10_000, LONGEST_WAIT),
        (4_233_600, LONGEST_WAIT),
        (1e30, LONGEST_WAIT),
        (math.inf, LONGEST_WAIT),
    ],
)
def test_a_wait_is_obeyed_up_to_five_minutes(retry_after_s: float | None, wait: timedelta) -> None:
    pace = Pace()
    pace.slow_down("haiku", retry_after_s=retry_after_s, now=NOON)
    assert pace.next_try("letters", "haiku", NOON) == NOON + wait


def test_a_shorter_wait_never_ends_a_longer_one() -> None:
    pace = Pace()
    pace.freeze_model("haiku", NOON)
    pace.slow_down("haiku", retry_after_s=1, now=NOON)
    assert pace.next_try("letters", "haiku", NOON) == NOON + FREEZE


def test_the_places_come_back_by_about_one_a_round_of_calls() -> None:
    pace = slowed(2)
    for _ in range(4):
        pace.succeeded("haiku", 0.1)
    assert pace.room("haiku", later(seconds=1)) == 4
    pace.succeeded("haiku", 0.1)
    assert pace.room("haiku", later(seconds=1)) == 5
    for _ in range(1_000):
        pace.succeeded("haiku", 0.1)
    assert pace.room("haiku", later(seconds=1)) is None


def test_longer_calls_get_more_places_up_to_the_bound() -> None:
    pace = Pace(64)
    assert pace.places(NOON) == LEAST
    pace.succeeded("haiku", 0.1)
    assert pace.places(NOON) == 0.1 * CALLS_PER_S
    for _ in range(200):
        pace.succeeded("haiku", 60)
    assert pace.places(NOON) == 64
    for _ in range(200):
        pace.succeeded("haiku", 0.01)
    assert pace.places(NOON) == LEAST


@pytest.mark.parametrize(("call_s", "ahead"), [(0.1, 32), (0.2, 64), (0.4, 32), (1, 12), (30, 0)])
def test_what_ends_within_a_fifth_of_a_second_is_claimed_ahead_and_at_most_once_for_each_place(
    call_s: float, ahead: int
) -> None:
    pace = Pace(64)
    assert pace.ahead == 0
    pace.succeeded("haiku", call_s)
    assert pace.ahead == ahead


def test_a_limit_that_many_calls_in_flight_meet_halves_the_places_once() -> None:
    pace = Pace(16)
    for _ in range(16):
        pace.slow_down("haiku", retry_after_s=5, now=NOON)
    assert pace.room("haiku", later(seconds=5)) == 8


def test_a_bound_that_somebody_set_stands_and_without_one_the_calls_length_says_how_many_places() -> (
    None
):
    bound, free = Pace(most=64), Pace(most=64, bounded=False)
    for each in (bound, free):
        each.limits_are_told()
        each.succeeded("haiku", 1.0)
    assert (bound.all_places, free.all_places) == (64, 320)
