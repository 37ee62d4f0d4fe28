"""The bench of late batches holds what is wanted, and would show it if the rule were another."""

import pytest

from lanes.promises import batches
from lanes.routing import turnaround
from tests.benchmarks import watch_late

pytestmark = pytest.mark.slow


def test_all_late_batches_are_told_and_hardly_a_healthy_one() -> None:
    found = watch_late.measure(quick=True)
    assert found["late_told_share"] == 1
    assert 0 < found["late_false_per_1000"] <= 12


def test_a_hasty_rule_shows_in_the_false_alarms_and_a_ceiling_alone_in_what_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(turnaround, "LATE", 0.6)
    assert watch_late.measure(quick=True)["late_false_per_1000"] > 12
    monkeypatch.setattr(batches, "ENOUGH_BACK", 10_000)
    assert watch_late.measure(quick=True)["late_told_share"] < 0.1
