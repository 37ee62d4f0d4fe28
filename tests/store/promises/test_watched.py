"""Measurements of `watch`: late batches, departures, feeds and collection, read directly from the tables."""

from datetime import datetime

import pytest
from sqlalchemy import Connection, text

from lanes.ids import BatchId
from lanes.promises.assessment import Assessment
from lanes.promises.breaches import ForeignHolder, role_taken
from lanes.promises.incident import Promise
from lanes.promises.judge import assess
from lanes.standing.roles import Role
from lanes.store import incidents
from lanes.store.batch.ready_work import check_in, put_off
from lanes.store.doors import items
from lanes.store.figures import arrivals, measurements
from lanes.store.routing import turnarounds
from lanes.store.workload import workloads
from lanes.words import Lane, Verdict
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.arrivals import arrived
from tests.store.promises.test_endings import look, told
from tests.store.tries import home, row, rows, submit


def judged(connection: Connection, promise: Promise, *, now: datetime) -> Assessment:
    measured = measurements.measure(connection, now=now)
    found = assess(workloads.read_versions(connection), measured, now)
    return next(each for each in found if each.promise is promise and each.workload == "letters")


def leaves(connection: Connection, key: str, *, at: datetime) -> BatchId:
    admit(connection, key, now=at, lane=Lane.BATCH)
    route(connection, now=at)
    return submit(connection, workloads.read_versions(connection)["letters"], now=at)[0]


@pytest.fixture
def known(connection: Connection) -> None:
    """Publish a workload whose thirty earlier batches took between 30 and 60 minutes."""
    publish(connection, now=later(days=-9), promises={"batch_max_minutes": 1440})
    for number in range(30):
        left = later(hours=-3 * number - 9)
        batch = leaves(connection, f"k{number}", at=left)
        home(connection, batch, now=left + (later(minutes=30 + 7 * number % 30) - NOON))


@pytest.mark.slow
@pytest.mark.usefixtures("known")
def test_a_batch_late_for_its_size_is_reported_long_before_its_limit_and_until_it_ends(
    connection: Connection,
) -> None:
    batch = leaves(connection, "late", at=NOON)
    slow = ("batch_slow", "open")
    assert slow not in look(connection, minutes=70)
    assert slow in look(connection, hours=5)
    told = row(connection, "incident_log", promise="batch_slow")
    assert "by 30 earlier batches of its size" in told.sentence
    assert told.limit_value < 300
    connection.execute(
        text("update lanes.batch set state = 'released' where id <> :id"), {"id": batch}
    )
    # The distribution of its turnaround is no longer known.
    assert slow in look(connection, hours=13)
    home(connection, batch, now=later(hours=14))
    assert slow not in look(connection, hours=14)


@pytest.mark.slow
@pytest.mark.usefixtures("known")
def test_the_expected_end_follows_earlier_batches_and_moves_with_the_age_of_the_batch(
    connection: Connection,
) -> None:
    batch = leaves(connection, "new", at=NOON)

    def expected() -> float:
        (found,) = rows(connection, "batch_status", batch_id=batch)
        return (found.expected_end_at - NOON).total_seconds() / 60

    turnarounds.expect(connection, now=later(seconds=1))
    assert 40 < expected() < 50
    assert (
        turnarounds.estimate_end(connection, batch, now=later(seconds=1))
        == row(connection, "batch_status", batch_id=batch).expected_end_at
    )
    turnarounds.expect(connection, now=later(minutes=55))
    assert 55 < expected() < 65
    turnarounds.expect(connection, now=later(hours=10))
    assert expected() > 600
    home(connection, batch, now=later(hours=11))
    before = expected()
    turnarounds.expect(connection, now=later(hours=12))
    assert expected() == before


def test_each_run_of_depart_records_its_start_for_its_workload_or_for_all(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    publish(connection, "bills", now=NOON)
    check_in(connection, "letters", now=NOON)
    asked = "select name, departed_at, departed_items from lanes.workload order by name"
    assert [tuple(each) for each in connection.execute(text(asked))] == [
        ("bills", None, None),
        ("letters", NOON, None),
    ]
    put_off(connection, {}, of="letters", sent={"letters": 3})
    check_in(connection, None, now=later(hours=1))
    put_off(connection, {}, of=None, sent={"bills": 7})
    assert [tuple(each) for each in connection.execute(text(asked))] == [
        ("bills", later(hours=1), 7),
        ("letters", later(hours=1), 0),
    ]


def test_a_missed_departure_is_reported_with_the_start_of_the_newest_run(
    connection: Connection,
) -> None:
    publish(connection, now=later(days=-1), off_peak_start="11:00", off_peak_end="12:00")
    check_in(connection, "letters", now=later(hours=-2))
    put_off(connection, {}, of="letters")
    admit(connection, "k", now=later(minutes=-90), lane=Lane.BATCH)
    route(connection, now=later(minutes=-90))
    found = judged(connection, Promise.BATCH_NEVER_STARTED, now=later(minutes=-51))
    assert found.verdict is Verdict.FAILED
    assert "began at 10:00 UTC and sent 0 items. None has begun since" in found.sentence
    check_in(connection, "letters", now=later(minutes=-52))
    found = judged(connection, Promise.BATCH_NEVER_STARTED, now=later(minutes=-51))
    assert found.verdict is Verdict.PASSED


@pytest.mark.slow
def test_a_silent_feed_is_reported_once_and_its_incident_ends_when_an_item_arrives(
    connection: Connection,
) -> None:
    publish(connection, now=later(days=-1))
    arrived(connection, until=NOON)
    silent = ("feed_silent", "open")
    assert silent not in look(connection, minutes=50)
    assert silent in look(connection, minutes=130)
    assert silent in look(connection, hours=20)
    assert len(rows(connection, "incident_log")) == 1
    admit(connection, "k", now=later(hours=21))
    assert silent not in look(connection, hours=21)  # the item is not routed yet
    route(connection, now=later(hours=21))
    assert silent not in look(connection, hours=21, minutes=5)  # its figure is not folded yet
    (feed,) = arrivals.feeds(connection, now=later(hours=22))
    assert feed.last_at == later(hours=21)
    admit(connection, "ahead", now=later(days=9))  # by a wrong clock
    route(connection, now=later(days=9))
    (feed,) = arrivals.feeds(connection, now=later(hours=22))
    assert feed.last_at == later(hours=21)


@pytest.mark.slow
def test_a_workload_without_weeks_of_items_is_never_reported_as_silent(
    connection: Connection,
) -> None:
    publish(connection, now=later(days=-1))
    publish(connection, "bills", now=later(days=-1))
    arrived(connection, until=NOON, weeks=1.5, every_minutes=1)
    look(connection, hours=9)
    assert rows(connection, "incident_log") == []
    found = arrivals.feeds(connection, now=later(hours=9))
    assert [each.workload for each in found] == ["letters"]


def test_a_stopped_collect_is_one_incident_that_explains_late_batches_until_a_run_polls(
    connection: Connection,
) -> None:
    publish(connection, now=later(days=-1), promises={"batch_max_minutes": 15})
    leaves(connection, "k", at=NOON)
    items.advance_watermark(connection, items.COLLECT, NOON)
    stopped, slow = ("collect_stopped", "open"), ("batch_slow", "open")
    for minutes in range(0, 11, 2):
        assert stopped not in look(connection, minutes=minutes)
    for minutes in range(11, 20, 2):
        assert stopped in look(connection, minutes=minutes)
    assert slow in look(connection, minutes=20)
    cause = row(connection, "incident_log", promise="collect_stopped")
    assert (cause.workload, cause.limit_value, cause.severity) == ("*", 10, "warning")
    assert row(connection, "incident_log", promise="batch_slow").parent_id == cause.incident_id
    assert told(connection) == ["collect_stopped"]
    assert stopped in look(connection, hours=12)  # the stand was down meanwhile
    items.advance_watermark(connection, items.COLLECT, later(hours=12))
    found = look(connection, hours=12, seconds=5)
    assert stopped not in found
    assert slow in look(connection, hours=12, seconds=10)
    # The late batch outlasts its cause.
    assert told(connection) == ["collect_stopped", "batch_slow"]


def test_a_stand_started_after_a_night_gives_collect_ten_minutes_before_an_incident(
    connection: Connection,
) -> None:
    publish(connection, now=later(days=-1))
    leaves(connection, "k", at=later(hours=-9))
    items.advance_watermark(connection, items.COLLECT, later(hours=-8))
    look(connection, hours=-8)
    for minutes in range(0, 11, 2):
        assert ("collect_stopped", "open") not in look(connection, minutes=minutes)
    assert ("collect_stopped", "open") in look(connection, minutes=12)


def test_a_taken_collector_role_explains_stopped_collection_and_late_batches(
    connection: Connection,
) -> None:
    publish(connection, now=later(days=-1), promises={"batch_max_minutes": 15})
    leaves(connection, "k", at=NOON)
    holder = ForeignHolder(Role.COLLECTOR, 4711, "grafana", "psql", None)
    incidents.open(connection, role_taken(Role.COLLECTOR, [holder]), now=NOON)
    for minutes in range(0, 18, 2):
        look(connection, minutes=minutes)
    found = look(connection, minutes=18)
    assert found == {("role_taken", "open"), ("collect_stopped", "open"), ("batch_slow", "open")}
    assert told(connection) == ["role_taken"]
