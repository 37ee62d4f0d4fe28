"""The polling of a follower, on a clock that the test sets."""

from types import SimpleNamespace

import pytest

from lanes.client import following
from lanes.client.following import AGAIN_S, OUTAGE_S, Rhythm
from lanes.errors import DatabaseAway


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Replace the host's clock."""
    time = SimpleNamespace(at_s=0.0, monotonic=lambda: time.at_s)
    monkeypatch.setattr(following, "time", time)
    return time


def test_the_time_spent_on_reading_answers_does_not_count_as_an_outage(
    host: SimpleNamespace,
) -> None:
    rhythm, away = Rhythm(None), DatabaseAway("gone")
    rhythm.begin()
    rhythm.pause_s()
    host.at_s = 2 * OUTAGE_S
    rhythm.record_arrival()
    rhythm.begin()
    assert rhythm.retry_pause_s(away) == AGAIN_S
    host.at_s += OUTAGE_S + 1
    with pytest.raises(DatabaseAway):
        rhythm.retry_pause_s(away)


def test_the_time_spent_on_processing_answers_does_not_count_as_quiet(
    host: SimpleNamespace,
) -> None:
    rhythm = Rhythm(5)
    rhythm.begin()
    host.at_s = 20
    rhythm.record_arrival()
    rhythm.begin()
    assert not rhythm.is_over()
    assert rhythm.wait_s() == following.RELOOK_S
    host.at_s = 25
    rhythm.begin()
    assert rhythm.is_over()
