"""One outage of the provider is one incident: it explains what waits and fails meanwhile, and ends when all is served."""

from datetime import datetime

from sqlalchemy import Connection

from lanes.promises.judge import assess
from lanes.store import incidents
from lanes.store.figures import measurements
from lanes.store.realtime import outages
from lanes.store.workload import workloads
from lanes.words import Outcome
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.tries import claim, claimed_item, rows, save, tried

MODEL = "claude-haiku-5-5"


def down(connection: Connection, *, now: datetime, calls: int = 3, model: str = MODEL) -> None:
    outages.faulted(connection, "acme", model, faults=calls, why="529", now=now)


def judged(connection: Connection, *, now: datetime) -> set[tuple[str, str]]:
    """What `watch` opens and ends; promise and state of every incident."""
    seen = measurements.measure(connection, now=now)
    incidents.record(connection, assess(workloads.in_force(connection), seen, now), now=now)
    outages.end(connection, now=now)
    return {(each.promise, each.state) for each in rows(connection, "incident_log")}


def asked(connection: Connection, outcome: Outcome, *, at: datetime) -> None:
    for each in claim(connection, now=at):
        save(connection, tried(each, outcome, at=at), now=at)


def test_what_waits_and_fails_in_an_outage_is_one_incident(connection: Connection) -> None:
    publish(connection, now=NOON, promises={"realtime_p95_s": 1})
    admit(connection, *(f"k{n}" for n in range(30)), now=NOON, lane="realtime")
    route(connection, now=NOON)
    down(connection, now=later(seconds=5))
    asked(connection, Outcome.UNSERVED, at=later(seconds=60))
    assert judged(connection, now=later(seconds=90)) == {("provider_down", "open")}


def test_faults_that_no_answer_followed_are_no_failures_yet_an_outage_or_an_answer_decides(connection: Connection) -> None:
    publish(connection, now=NOON, promises={"realtime_p95_s": 60})
    admit(connection, *(f"k{n}" for n in range(30)), now=NOON, lane="realtime")
    route(connection, now=NOON)
    *served, one, two, last = claim(connection, now=later(seconds=1))
    save(connection, *(tried(each, at=later(seconds=2)) for each in served), now=later(seconds=2))
    for each in (one, two):
        save(connection, tried(each, Outcome.UNSERVED, at=later(seconds=3)), now=later(seconds=3))
    assert judged(connection, now=later(seconds=4)) == set()
    save(connection, tried(last, at=later(seconds=5)), now=later(seconds=5))
    assert judged(connection, now=later(seconds=6)) == {("realtime_failing", "open")}


def test_it_is_over_when_what_it_made_wait_was_asked_and_answers_that_came_late_of_it_break_no_promise(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    admit(connection, *(f"k{n}" for n in range(30)), now=NOON, lane="realtime")
    route(connection, now=NOON)
    down(connection, now=later(seconds=5))
    first, *others = claim(connection, now=later(seconds=200))
    save(connection, tried(first, at=later(seconds=202)), now=later(seconds=202))
    assert judged(connection, now=later(seconds=203)) == {("provider_down", "open")}
    save(connection, *(tried(each, at=later(seconds=204)) for each in others), now=later(seconds=204))
    assert judged(connection, now=later(seconds=205)) == {("provider_down", "resolved")}
    assert judged(connection, now=later(seconds=206)) == {("provider_down", "resolved")}


def test_a_lane_that_is_slow_after_the_outage_breaks_its_promise_again(connection: Connection) -> None:
    publish(connection, now=NOON)
    down(connection, now=NOON)
    save(connection, tried(claimed_item(connection, "first"), at=later(seconds=9)), now=later(seconds=9))
    assert judged(connection, now=later(seconds=10)) == {("provider_down", "resolved")}
    admit(connection, *(f"k{n}" for n in range(30)), now=later(seconds=20), lane="realtime")
    route(connection, now=later(seconds=20))
    asked(connection, Outcome.VALID, at=later(seconds=100))
    assert ("realtime_slow", "open") in judged(connection, now=later(seconds=101))


def test_an_answer_before_the_last_fault_ends_nothing(connection: Connection) -> None:
    publish(connection, now=NOON)
    down(connection, now=NOON)
    save(connection, tried(claimed_item(connection, "one"), at=later(seconds=5)), now=later(seconds=5))
    down(connection, now=later(seconds=9), calls=4)
    assert judged(connection, now=later(seconds=10)) == {("provider_down", "open")}


def test_an_outage_is_opened_once_whoever_sees_it(connection: Connection) -> None:
    for seconds in range(20):
        down(connection, now=later(seconds=seconds), calls=seconds)
    (only,) = rows(connection, "incident_log")
    assert (only.workload, only.subject, only.value) == ("*", "acme", 19)


def test_an_outage_of_two_models_is_one_incident_that_ends_when_both_answer(connection: Connection) -> None:
    publish(connection, now=NOON)
    publish(connection, "others", now=NOON, realtime_model="claude-sonnet-5-5")
    down(connection, now=NOON)
    down(connection, now=NOON, model="claude-sonnet-5-5")
    (only,) = rows(connection, "incident_log")
    assert only.sentence.startswith("claude-haiku-5-5 and claude-sonnet-5-5 answered none of the last 6 real-time calls")
    save(connection, tried(claimed_item(connection, "one"), at=later(seconds=9)), now=later(seconds=9))
    assert judged(connection, now=later(seconds=10)) == {("provider_down", "open")}
    other = claimed_item(connection, "two", workload="others")
    save(connection, tried(other, at=later(seconds=19)), now=later(seconds=19))
    assert judged(connection, now=later(seconds=20)) == {("provider_down", "resolved")}
