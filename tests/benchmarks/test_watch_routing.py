"""The benchmark of the promises about the mix of routes runs at a small size, and sees a test that alarms always or never."""

import pytest

from lanes.promises import decisions
from tests.benchmarks import watch_routing

pytestmark = pytest.mark.slow


def test_a_quiet_month_has_no_incident_and_shifts_are_told() -> None:
    found = watch_routing.measure(quick=True)
    assert found["routing_false"] == 0
    assert found["shift_told"] > 0.5
    assert found["guard_told"] > 0.5


def test_a_test_without_bounds_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decisions, "is_larger", lambda *_, **__: True)
    monkeypatch.setattr(decisions, "MOVED", -1.0)
    assert watch_routing.measure(quick=True)["routing_false"] > 0


def test_a_test_that_never_alarms_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decisions, "is_larger", lambda *_, **__: False)
    found = watch_routing.measure(quick=True)
    assert (found["shift_told"], found["guard_told"]) == (0, 0)
