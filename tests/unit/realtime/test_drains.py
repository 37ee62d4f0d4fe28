"""The rules for when a drain stays and when another drain is called."""

from datetime import timedelta

import pytest

from lanes.realtime.drains import (
    CALLS_THROTTLE,
    IN_VAIN_AFTER,
    LATE,
    POOL_LIMIT,
    Calls,
    Sight,
    Unserved,
    find_reason_to_end,
    limit_for_one_machine,
    most_drains,
    needs_more,
)
from tests.conftest import NOON, later


def sees(
    idle_s: float = 0,
    *,
    keeps: bool = False,
    wanted: bool = False,
    keeper: bool = False,
    busy: bool = False,
    drains: int = 1,
    younger: int = 0,
    most: int | None = 4,
) -> Sight:
    return Sight(keeps, wanted, keeper, later(seconds=-idle_s), busy, drains, younger, most)


@pytest.mark.parametrize(
    ("sight", "goes_on"),
    [
        (sees(9_999, keeps=True, keeper=True), True),
        (sees(9_999, keeps=True, keeper=True, wanted=True), False),
        (sees(0, keeps=True, keeper=True, wanted=True), False),
        (sees(0, keeps=True, keeper=True, wanted=True, busy=True), False),
        (sees(9, keeper=True), True),
        (sees(10, keeper=True), False),
        (sees(9_999, keeper=True, busy=True), True),
        (sees(89), True),
        (sees(90), False),
        (sees(9_999, busy=True), True),
    ],
)
def test_a_keeper_stays_until_its_successor_waits_and_other_drains_until_their_idle_time_ends(
    sight: Sight, goes_on: bool
) -> None:
    assert (find_reason_to_end(sight, NOON) is None) is goes_on


@pytest.mark.parametrize(
    ("sight", "goes_on"),
    [
        (sees(keeper=True, drains=4), True),
        (sees(keeper=True, drains=5), False),
        (sees(keeper=True, drains=5, younger=1), True),
        (sees(keeper=True, drains=6, younger=1), False),
        (sees(keeper=True, drains=5, busy=True), True),
        (sees(keeps=True, keeper=True, drains=5), True),
        (sees(keeper=True, drains=99, most=None), True),
    ],
)
def test_the_youngest_drains_above_the_limit_end_if_they_are_idle_and_do_not_keep_warm(
    sight: Sight, goes_on: bool
) -> None:
    assert (find_reason_to_end(sight, NOON) is None) is goes_on


@pytest.mark.parametrize(("limit", "most"), [(None, 4), (POOL_LIMIT, 4), (17, 8), (2, 1), (1, 1)])
def test_the_pool_limit_reserves_a_second_run_per_drain_for_its_replacement(
    limit: int | None, most: int
) -> None:
    assert most_drains(limit) == most


@pytest.mark.parametrize(("processors", "most"), [(1, 1), (2, 2), (4, 4), (64, 4)])
def test_a_new_pool_of_one_machine_admits_a_drain_for_each_processor(
    processors: int, most: int
) -> None:
    assert most_drains(limit_for_one_machine(processors)) == most


def test_an_unknown_pool_limit_calls_no_drain() -> None:
    assert not needs_more(NOON - 10 * LATE, NOON, drains=1, most=None)


@pytest.mark.parametrize(
    ("waited", "more"),
    [
        (timedelta(0), False),
        (LATE, False),
        (LATE + timedelta(milliseconds=1), True),
        (10 * LATE, True),
    ],
)
def test_another_drain_is_called_once_the_oldest_waiting_work_is_late(
    waited: timedelta, more: bool
) -> None:
    assert needs_more(NOON - waited, NOON, drains=1, most=4) is more


def test_no_drain_is_called_while_no_work_waits() -> None:
    assert not needs_more(None, NOON, drains=1, most=4)


def test_no_drain_is_called_beyond_the_largest_number_of_drains() -> None:
    assert [needs_more(NOON - 10 * LATE, NOON, drains=drains, most=4) for drains in (3, 4)] == [
        True,
        False,
    ]


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
def test_a_drain_is_needed_for_waiting_received_or_unread_work_or_to_keep_the_lane_warm(
    unserved: Unserved, needs: bool
) -> None:
    assert unserved.needs_a_drain is needs


def test_the_first_call_is_due_at_once_the_second_soon_and_later_ones_at_the_trigger_throttle() -> (
    None
):
    calls, now = Calls(), NOON
    assert calls.is_due(now)
    for pause in (IN_VAIN_AFTER, CALLS_THROTTLE, CALLS_THROTTLE):
        calls.call(now)
        assert not calls.is_due(now + pause - A_MOMENT)
        now += pause
        assert calls.is_due(now)


def test_a_starting_drain_delays_the_next_call_as_long_as_a_call_does() -> None:
    calls = Calls()
    calls.record_coming_drain(NOON)
    assert not calls.is_due(NOON + IN_VAIN_AFTER - A_MOMENT)
    assert calls.is_due(NOON + IN_VAIN_AFTER)


def test_a_call_is_due_at_once_after_a_drain_has_run() -> None:
    calls = Calls()
    calls.call(NOON)
    calls.record_drain()
    assert calls.is_due(NOON + A_MOMENT)
