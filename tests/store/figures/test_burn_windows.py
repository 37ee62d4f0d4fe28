"""Burn-rate windows: recent minutes come from the facts, older ones from the figures; each sample is in one minute."""

from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, text

from lanes.promises import assessment
from lanes.promises.answers import RealtimeFigures
from lanes.store.figures import folding, measurements
from lanes.store.realtime import outages
from lanes.words import Lane, Outcome
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.promises.test_briefings import answered, failed
from tests.store.realtime.test_outages import down
from tests.store.tries import claim, claimed_item, row, rows, save, tried

ERRORS = ["down"] * 7
MINUTE, FIVE, HALF_HOUR, HOUR, SIX_HOURS, DAYS = range(len(assessment.WINDOWS))


def look(connection: Connection, now: datetime) -> RealtimeFigures:
    """Measure as `watch` does, count the aged minutes for later looks, and return the real-time figures."""
    seen = measurements.measure(connection, now=now)
    measurements.count(connection, seen)
    (found,) = seen.realtime
    return found


def held(seen: RealtimeFigures, *of: tuple[int, int]) -> bool:
    """Assert that the windows of attempts hold these hits and samples, the shortest window first."""
    assert [tuple(each) for each in seen.tried] == [*of]
    return True


@pytest.fixture
def broken(connection: Connection) -> None:
    """Let seven of ten attempts fail at noon, and count them in three looks in the 16th minute."""
    publish(connection, now=later(hours=-1), max_failures=9)
    answered(connection, "good", 3, at=NOON)
    failed(connection, "bad", ERRORS)
    connection.execute(text("update lanes.work set state = 'canceled' where state = 'ready'"))
    for seconds in (0, 10, 20):
        look(connection, later(minutes=16, seconds=seconds))


@pytest.mark.usefixtures("broken")
def test_a_minute_is_counted_once_when_it_is_a_quarter_of_an_hour_old(
    connection: Connection,
) -> None:
    assert held(look(connection, later(minutes=17)), (0, 0), (0, 0), *[(7, 10)] * 4)
    counted = row(connection, "figure_delta", kind="tried")
    assert (counted.at, counted.n, counted.items) == (NOON, 10, 7)
    assert folding.fold(connection)
    look(connection, later(minutes=17, seconds=10))
    assert rows(connection, "figure_delta", kind="tried") == []
    assert held(look(connection, later(minutes=40)), *[(0, 0)] * 3, *[(7, 10)] * 3)
    assert held(look(connection, later(hours=5)), *[(0, 0)] * 4, *[(7, 10)] * 2)
    assert held(look(connection, later(days=2)), *[(0, 0)] * 5, (7, 10))
    assert held(look(connection, later(days=3, hours=1)), *[(0, 0)] * 6)


@pytest.mark.usefixtures("broken")
def test_a_window_adds_uncounted_minutes_to_counted_ones(connection: Connection) -> None:
    folding.fold(connection)
    failed(connection, "more", ERRORS[:2], at=later(minutes=30))
    seen = look(connection, later(minutes=31))
    assert held(seen, (2, 2), (2, 2), (2, 2), *[(9, 12)] * 3)


@pytest.mark.usefixtures("broken")
def test_a_rebuild_of_the_figures_keeps_the_counts_of_watch(connection: Connection) -> None:
    failed(connection, "more", ERRORS[:2], at=later(minutes=1))
    look(connection, later(minutes=17))
    before = look(connection, later(hours=2)).tried
    folding.rebuild_here(connection, until=later(days=1))
    assert look(connection, later(hours=2)).tried == before
    folding.fold(connection)
    folding.rebuild_here(connection, until=later(days=1))
    assert look(connection, later(hours=2)).tried == before
    assert before[DAYS] == (9, 12)


@pytest.mark.usefixtures("broken")
def test_the_end_of_an_outage_resets_the_hits_of_the_longest_window(connection: Connection) -> None:
    folding.fold(connection)
    down(connection, now=later(minutes=20))
    save(
        connection,
        tried(claimed_item(connection, "back", now=later(minutes=90)), at=later(minutes=91)),
        now=later(minutes=91),
    )
    outages.end(connection, now=later(minutes=91, seconds=1))
    assert look(connection, later(minutes=92)).tried[DAYS].hits == 0


def test_a_late_item_counts_only_in_the_minute_in_which_its_promised_time_passed(
    connection: Connection,
) -> None:
    publish(connection, now=NOON, promises={"realtime_p95_s": 5})
    answered(connection, "soon", 2, at=later(seconds=1))
    admit(connection, "waits", now=NOON, lane=Lane.REALTIME)
    route(connection, now=NOON)
    assert look(connection, later(seconds=4)).timely[MINUTE] == (0, 2)
    assert look(connection, later(seconds=6)).timely[MINUTE] == (1, 3)
    assert look(connection, later(minutes=16)).timely[HOUR] == (1, 3)
    (late,) = claim(connection, now=later(minutes=17))
    save(connection, tried(late, at=later(minutes=18)), now=later(minutes=18))
    seen = look(connection, later(minutes=18, seconds=10))
    assert [tuple(each) for each in seen.timely] == [(0, 0), (0, 0), *[(1, 3)] * 4]
    assert (seen.answered, seen.p95_s) == (1, 18 * 60)


def test_only_a_part_of_a_busy_workloads_attempts_is_read(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(connection, now=NOON, promises={"realtime_p95_s": 5})
    for call in range(12):  # two items every tenth of a second; every third call is slow
        took_s = 9 if call % 3 == 0 else 1
        at = later(seconds=10 + call / 10)
        answered(connection, f"call {call}", 2, at=at, took_s=took_s)
    folding.fold(connection)
    monkeypatch.setattr(measurements, "SAMPLE", 8)
    for minutes in (1, 2):  # both read every fourth tenth of a second, the same ones
        read = look(connection, later(minutes=minutes))
        assert (read.answered, read.p95_s) == (24, 9)
        assert (read.timely[FIVE], read.tried[FIVE]) == ((2, 6), (0, 6))
    monkeypatch.setattr(measurements, "SAMPLE", 24)
    assert look(connection, later(minutes=1)).timely[FIVE] == (8, 24)


def test_a_failed_item_counts_as_late_when_its_promised_time_has_passed(
    connection: Connection,
) -> None:
    publish(connection, now=NOON, max_failures=1, promises={"realtime_p95_s": 5})
    save(connection, tried(claimed_item(connection), Outcome.ERRORED, error="down"), now=NOON)
    assert look(connection, later(seconds=20)).timely[MINUTE] == (1, 1)


def test_a_workload_without_a_promised_time_has_no_late_items(connection: Connection) -> None:
    publish(connection, now=NOON, promises={"realtime_p95_s": 0})
    answered(connection, "slow", 2, at=later(seconds=90), took_s=90)
    seen = look(connection, later(minutes=17))
    assert {tuple(each) for each in seen.timely} == {(0, 0)}
    assert {each.kind for each in seen.aged} == {"tried"}


def test_a_workload_published_during_a_measurement_is_measured_by_the_next_one(
    pool: Engine,
) -> None:
    def meanwhile(*of: Any) -> None:
        if "given_up as" in of[2] and unpublished:
            with pool.begin() as other:
                publish(other, unpublished.pop(), now=NOON)

    unpublished = ["bills"]
    with pool.begin() as connection:
        publish(connection, now=NOON)
    event.listen(pool, "before_cursor_execute", meanwhile)
    for known in ({"letters"}, {"letters", "bills"}):
        with pool.begin() as connection:
            seen = measurements.measure(connection, now=NOON)
        assert {each.workload for each in seen.realtime} == known
