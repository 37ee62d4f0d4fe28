"""When one who follows looks again, in a time that a test chooses."""

from types import SimpleNamespace

import pytest

from lanes.client import following
from lanes.client.following import AGAIN_S, OUTAGE_S, Rhythm
from lanes.errors import DatabaseAway


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The host's time."""
    time = SimpleNamespace(at_s=0.0, monotonic=lambda: time.at_s)
    monkeypatch.setattr(following, "time", time)
    return time


def test_how_long_answers_took_to_be_read_counts_to_no_outage(host: SimpleNamespace) -> None:
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


def test_what_is_done_with_answers_counts_to_no_quiet(host: SimpleNamespace) -> None:
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
