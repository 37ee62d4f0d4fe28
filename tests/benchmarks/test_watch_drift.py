"""The part of the watch bench about drift finds what changes, and can fail."""

import pytest

from tests.benchmarks import watch_drift


@pytest.mark.slow
def test_changes_are_found_and_chance_is_not_told() -> None:
    found = watch_drift.measure(quick=True)
    assert found["drift_detected"] == 1
    assert 0 < found["drift_items"] < 5_000
    assert found["drift_false_per_month"] == 0
    assert watch_drift.quiet_month(workloads=1) == 0


@pytest.mark.slow
def test_without_a_change_nothing_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    same = tuple((measure, usual, usual) for measure, usual, _ in watch_drift.CHANGES)
    monkeypatch.setattr(watch_drift, "CHANGES", same)
    assert watch_drift.measure(quick=True)["drift_detected"] == 0
