"""When a drain stays, and when another one is called."""

from datetime import timedelta

import pytest

from lanes.realtime.warmth import LATE, MOST_DRAINS, Sight, needs_more, stays
from tests.conftest import NOON, later


def sees(
    idle_s: float = 0,
    *,
    keeps: bool = False,
    wanted: bool = False,
    keeper: bool = False,
    busy: bool = False,
    drains: int = 1,
) -> Sight:
    return Sight(keeps, wanted, keeper, later(seconds=-idle_s), busy, drains)


@pytest.mark.parametrize(
    ("sight", "goes_on"),
    [
        (sees(9_999, keeps=True, keeper=True), True),
        (sees(9_999, keeps=True, keeper=True, wanted=True), False),
        (sees(0, keeps=True, keeper=True, wanted=True), False),
        (sees(0, keeps=True, keeper=True, wanted=True, busy=True), True),
        (sees(9, keeper=True), True),
        (sees(10, keeper=True), False),
        (sees(9_999, keeper=True, busy=True), True),
        (sees(89), True),
        (sees(90), False),
        (sees(9_999, busy=True), True),
    ],
)
def test_a_keeper_stays_until_its_successor_waits_and_the_others_until_they_have_been_idle(
    sight: Sight, goes_on: bool
) -> None:
    assert stays(sight, NOON) is goes_on


def test_a_drain_too_many_leaves_before_it_claims_anything_and_the_keeper_never_does() -> None:
    assert stays(sees(keeper=True, drains=MOST_DRAINS), NOON)
    assert not stays(sees(keeper=True, drains=MOST_DRAINS + 1), NOON)
    assert stays(sees(keeper=True, drains=MOST_DRAINS + 1, busy=True), NOON)
    assert stays(sees(keeps=True, keeper=True, drains=MOST_DRAINS + 1), NOON)


@pytest.mark.parametrize(
    ("waited", "more"),
    [
        (timedelta(0), False),
        (LATE, False),
        (LATE + timedelta(milliseconds=1), True),
        (10 * LATE, True),
    ],
)
def test_another_drain_is_called_by_the_age_of_what_waits_however_little_it_is(
    waited: timedelta, more: bool
) -> None:
    assert needs_more(NOON - waited, NOON, drains=1) is more


def test_no_drain_is_called_when_nothing_waits() -> None:
    assert not needs_more(None, NOON, drains=1)


def test_no_drain_is_called_that_would_leave_at_once() -> None:
    assert [
        needs_more(NOON - 10 * LATE, NOON, drains=drains)
        for drains in (MOST_DRAINS - 1, MOST_DRAINS)
    ] == [True, False]
