"""When a drain is called for that nobody sees: a chosen clock."""

import pytest

from lanes.realtime.waking import CALL_EVERY, Calls, Unserved
from tests.conftest import NOON, later

AGAIN_S = CALL_EVERY.total_seconds()


@pytest.mark.parametrize(
    ("unserved", "needs"),
    [
        (Unserved(0, received=False, keep_warm=False), False),
        (Unserved(1, received=False, keep_warm=False), True),
        (Unserved(0, received=True, keep_warm=False), True),
        (Unserved(0, received=False, keep_warm=True), True),
    ],
)
def test_a_drain_is_needed_by_what_waits_or_by_being_kept_warm(unserved: Unserved, needs: bool) -> None:
    assert unserved.needs_a_drain is needs


def test_the_first_call_is_due_at_once_and_the_next_after_half_the_throttle() -> None:
    calls = Calls()
    assert calls.due(NOON)
    assert not calls.call(NOON)
    assert not calls.due(later(seconds=AGAIN_S - 0.1))
    assert calls.due(later(seconds=AGAIN_S))


def test_a_call_that_nobody_answered_was_in_vain() -> None:
    calls = Calls()
    calls.call(NOON)
    assert calls.call(later(seconds=AGAIN_S))
    assert calls.call(later(seconds=2 * AGAIN_S))


def test_a_drain_that_came_and_left_is_called_for_at_once_and_not_in_vain() -> None:
    calls = Calls()
    calls.call(NOON)
    calls.served()
    assert calls.due(later(seconds=1))
    assert not calls.call(later(seconds=1))
