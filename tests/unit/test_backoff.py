"""Back-off: rests double up to a limit, and an error is reported once until it changes."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanes.backoff import Backoff, Backoffs

WORK = Backoff(timedelta(seconds=2), timedelta(minutes=5))


def test_rests_double_up_to_the_longest() -> None:
    rests = [WORK.seconds_after(failures) for failures in (-1, 0, 1, 2, 3, 8, 9, 2_000_000)]
    assert rests == [0, 0, 2, 4, 8, 256, 300, 300]


@given(failures=st.integers(1, 100), draw=st.floats(0, 1))
def test_a_draw_shortens_a_rest_by_at_most_half(failures: int, draw: float) -> None:
    whole = WORK.rest_after(failures)
    assert whole / 2 <= WORK.rest_after(failures, draw=draw) <= whole


def test_each_id_has_its_own_back_off() -> None:
    rests, now = Backoffs(WORK), 100.0
    for pause in (2, 4, 8, 16):
        rests.fail(1, "down", now)
        assert (rests.is_due(1, now + pause - 0.1), rests.is_due(1, now + pause)) == (False, True)
        assert rests.is_due(2, now)
        now += pause


def test_an_error_is_new_until_it_repeats_and_again_after_a_recovery() -> None:
    rests = Backoffs(WORK)
    errors = ("down", "down", "cut", "cut", "down")
    assert [rests.fail(1, each, 0.0) for each in errors] == [True, False, True, False, True]
    assert (rests.recover(1), rests.is_due(1, 0.0), rests.recover(1)) == (True, True, False)
    assert rests.fail(1, "down", 0.0)
    assert rests.is_due(1, 2.0)  # the shortest rest again


@pytest.mark.parametrize("asked_s", [1, 60])
def test_a_rest_is_at_least_as_long_as_asked_for(asked_s: int) -> None:
    rests = Backoffs(WORK)
    rests.fail(1, "limited", 0.0, at_least=timedelta(seconds=asked_s))
    assert rests.is_due(1, max(asked_s, 2.0))
    assert not rests.is_due(1, max(asked_s, 2.0) - 0.1)
