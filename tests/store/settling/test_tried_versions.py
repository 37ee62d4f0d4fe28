"""The version of an attempt, which is the version of its call even after its work has another version."""

from sqlalchemy import Connection

from lanes.settling.attempts import CallTimes, build_poisoned
from lanes.store.settling import decisions
from lanes.words import Lane, Outcome
from lanes.workload.version import Version
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.tries import claim, claimed_item, rows, said, save, submit, tried


def published_anew(connection: Connection) -> Version:
    return publish(connection, now=later(minutes=1), instructions="Sort it otherwise.")


def versions(connection: Connection) -> list[tuple[int, str]]:
    return [(each.version, each.outcome) for each in rows(connection, "attempt_log", "attempt")]


def test_a_retry_with_another_version_does_not_change_the_version_of_past_attempts(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    save(connection, tried(claimed_item(connection, "k"), Outcome.POISON))
    published_anew(connection)
    assert decisions.retry(connection, "letters", None, now=later(minutes=2)) == ["k"]
    (again,) = claim(connection, now=later(minutes=2))
    save(connection, tried(again))
    assert versions(connection) == [(1, "poison"), (2, "valid")]


def test_a_call_answered_after_a_retry_names_the_version_of_its_request(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    first = claimed_item(connection, "k")
    save(connection, tried(first, Outcome.POISON))
    published_anew(connection)
    decisions.retry(connection, "letters", None, now=later(minutes=2))
    (late,) = build_poisoned([first], "too late", CallTimes(NOON, NOON))
    save(connection, late._replace(response=said()), now=later(minutes=3))
    assert versions(connection) == [(1, "poison"), (1, "poison")]


def test_a_late_result_of_a_batch_names_the_version_of_the_batch(connection: Connection) -> None:
    letters = publish(connection, now=NOON)
    admit(connection, "k", now=NOON, lane=Lane.BATCH)
    route(connection, now=NOON)
    batch_id, (sent,) = submit(connection, letters)
    save(connection, tried(sent, Outcome.POISON), batch_id=batch_id)
    published_anew(connection)
    decisions.retry(connection, "letters", None, now=later(minutes=2))
    save(connection, tried(sent, response=said()), batch_id=batch_id, now=later(minutes=3))
    assert versions(connection) == [(1, "poison"), (1, "valid")]
