"""Whose turn it is: a chosen clock."""

from datetime import timedelta

from lanes.standing.duty import Duty
from tests.conftest import NOON, later


def test_the_first_turn_is_due_at_once_and_the_next_when_its_time_has_come() -> None:
    duty = Duty("what waits for ever", every=timedelta(minutes=5))
    assert duty.is_due(None, NOON)
    assert not duty.is_due(NOON, later(seconds=299.9))
    assert duty.is_due(NOON, later(minutes=5))


def test_a_duty_that_names_no_time_is_due_at_every_tick() -> None:
    assert Duty("lost claims").is_due(NOON, NOON)
