"""When a drain is called for that nobody sees: a chosen clock."""

from datetime import timedelta

import pytest

from lanes.realtime.waking import CALLS_THROTTLE, IN_VAIN_AFTER, Calls, Unserved
from tests.conftest import NOON

A_MOMENT = timedelta(seconds=0.1)


@pytest.mark.parametrize(
    ("unserved", "needs"),
    [
        (Unserved(0, received=False, keep_warm=False), False),
        (Unserved(1, received=False, keep_warm=False), True),
        (Unserved(0, received=True, keep_warm=False), True),
        (Unserved(0, received=False, keep_warm=True), True),
        (Unserved(0, received=False, keep_warm=False, unread=True), True),
    ],
)
def test_a_drain_is_needed_by_what_waits_or_by_being_kept_warm(
    unserved: Unserved, needs: bool
) -> None:
    assert unserved.needs_a_drain is needs


def test_the_first_call_is_due_at_once_the_next_soon_and_the_others_as_often_as_the_trigger_may_hear_them() -> (
    None
):
    calls, now = Calls(), NOON
    assert calls.due(now)
    for pause in (IN_VAIN_AFTER, CALLS_THROTTLE, CALLS_THROTTLE):
        calls.call(now)
        assert not calls.due(now + pause - A_MOMENT)
        now += pause
        assert calls.due(now)


def test_a_call_that_nobody_answered_was_in_vain() -> None:
    calls = Calls()
    assert [calls.call(NOON + number * CALLS_THROTTLE) for number in range(3)] == [
        False,
        True,
        True,
    ]


def test_a_drain_that_came_and_left_is_called_for_at_once_and_not_in_vain() -> None:
    calls = Calls()
    calls.call(NOON)
    calls.served()
    assert calls.due(NOON + A_MOMENT)
    assert not calls.call(NOON + A_MOMENT)
