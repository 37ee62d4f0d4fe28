"""Versions that the provider refuses as such: they are stopped, and the next version continues with their items."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection

from lanes.packing import ClaimedWork
from lanes.settling.attempts import LASTING, LEAST_REFUSED, MOST_REFUSED, Refusals, judge_refusal
from lanes.settling.outcome import Attempt, Judgment
from lanes.settling.story import next_step
from lanes.store.settling import refusals, story
from lanes.store.workload import workloads
from lanes.words import Lane, Mode, Outcome
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.tries import claim, row, rows, save, submit, tried

SCHEMA_400 = "invalid_request_error: output_config.format.schema: $ref is not supported"
KEYS = ("a", "b", "c", "d", "e")


def refused(
    work: ClaimedWork, *, at: datetime = NOON, error: str = SCHEMA_400, call: str | None = None
) -> Attempt:
    """Return an attempt whose call the provider refused because of its content."""
    attempt = tried(work, Outcome.POISON, at=at, error=error)
    return attempt._replace(
        judged=attempt.judged._replace(refused_call=call or str(work.claim.work_id))
    )


def waiting(connection: Connection, *keys: str, lane: Lane = Lane.REALTIME, **spec: Any) -> None:
    publish(connection, now=NOON, **spec)
    admit(connection, *keys, now=NOON, lane=lane)
    route(connection, now=NOON)


def stands(connection: Connection) -> dict[str, tuple[str, int]]:
    """Return each item's state and the spent part of its retry budget."""
    spent = "select s.key, s.state, w.failures from lanes.work w join lanes.item_status s using (item_id)"
    return {each.key: (each.state, each.failures) for each in connection.exec_driver_sql(spent)}


def incident(connection: Connection) -> list[tuple[str, str]]:
    return [(each.subject, each.state) for each in rows(connection, "incident")]


def is_paused(connection: Connection) -> bool:
    return row(connection, "workload", name="letters").paused_at is not None


def test_a_few_identical_refusals_stop_the_version_and_fail_no_item(
    connection: Connection,
) -> None:
    waiting(connection, *KEYS)
    taken = claim(connection, places=5)
    for number, each in enumerate(taken):
        saved = save(connection, refused(each, at=later(seconds=number)), now=later(seconds=number))
        assert is_paused(connection) == (number + 1 >= LEAST_REFUSED)
        assert saved.stopped == (
            frozenset({"letters"}) if number + 1 >= LEAST_REFUSED else frozenset()
        )
    assert stands(connection) == dict.fromkeys(KEYS, ("routed", 0))
    assert incident(connection) == [("version 1", "open")]
    assert "3 different calls failed alike" in row(connection, "incident").sentence
    told = next_step(
        story.records(connection, "letters", "a", now=later(minutes=1)), later(minutes=1)
    )
    assert "the provider has refused version 1 since" in told
    assert claim(connection, now=later(hours=1)) == []


def test_identical_refusals_in_one_save_stop_the_version(connection: Connection) -> None:
    waiting(connection, *KEYS)
    save(connection, *map(refused, claim(connection)))
    assert (stands(connection), is_paused(connection)) == (dict.fromkeys(KEYS, ("routed", 0)), True)


def test_a_corrected_version_resumes_by_itself_with_all_waiting_items(
    connection: Connection,
) -> None:
    waiting(connection, *KEYS)
    late, *others = claim(connection)
    save(connection, *map(refused, others))
    assert refusals.go_on(connection, now=later(minutes=1)) == 0
    better = publish(connection, now=later(minutes=2), instructions="Sort it better.")
    assert is_paused(connection)
    assert refusals.go_on(connection, now=later(minutes=2)) == 4
    assert (is_paused(connection), incident(connection)) == (False, [("version 1", "resolved")])
    again = claim(connection, now=later(minutes=2))
    assert {(each.version_id, each.failures, each.travels_alone) for each in again} == {
        (better.id, 0, False)
    }
    save(connection, *(tried(each, at=later(minutes=3)) for each in again), now=later(minutes=3))
    save(
        connection, refused(late, at=later(minutes=3)), now=later(minutes=3)
    )  # its call began with the previous version
    assert refusals.go_on(connection, now=later(minutes=3)) == 1
    (last,) = claim(connection, now=later(minutes=4))
    assert (last.version_id, is_paused(connection)) == (better.id, False)


def test_a_workload_that_a_person_paused_stays_paused_when_a_stop_ends(
    connection: Connection,
) -> None:
    waiting(connection, *KEYS)
    taken = claim(connection)
    workloads.pause(connection, "letters", since=later(minutes=1))
    save(connection, *map(refused, taken), now=later(minutes=2))
    publish(connection, now=later(minutes=3), instructions="Sort it better.")
    assert refusals.go_on(connection, now=later(minutes=3)) == 5
    assert is_paused(connection)
    assert incident(connection) == [("version 1", "resolved")]


def test_resuming_the_workload_retries_the_same_version(connection: Connection) -> None:
    waiting(connection, *KEYS)
    save(connection, *map(refused, claim(connection)))
    workloads.pause(connection, "letters", since=None)
    refusals.go_on(connection, now=later(minutes=1))
    assert incident(connection) == [("version 1", "resolved")]
    taken = claim(connection, now=later(minutes=1))
    save(connection, *(tried(each, at=later(minutes=1)) for each in taken), now=later(minutes=1))
    assert stands(connection) == dict.fromkeys(KEYS, ("settled", 0))


def test_a_refusal_in_a_save_with_answers_of_its_version_fails_only_its_item(
    connection: Connection,
) -> None:
    waiting(connection, *KEYS)
    bad, *others = claim(connection)
    save(connection, refused(bad), *(tried(each) for each in others))
    assert stands(connection) == {"a": ("failed", 1)} | dict.fromkeys(KEYS[1:], ("settled", 0))
    assert (is_paused(connection), incident(connection)) == (False, [])


def test_a_burst_of_refused_items_does_not_stop_a_version_that_answered_before(
    connection: Connection,
) -> None:
    waiting(connection, "good", *KEYS)
    good, *bad = claim(connection)
    save(connection, tried(good))
    for second in (1, 6, 11):
        bad = bad or claim(connection, now=later(seconds=second))
        save(
            connection,
            *(refused(each, at=later(seconds=second)) for each in bad),
            now=later(seconds=second),
        )
        assert not is_paused(connection)
        bad = []
    assert stands(connection) == {"good": ("settled", 0)} | dict.fromkeys(KEYS, ("failed", 1))


def test_a_version_that_answered_before_stops_once_its_refusals_last(
    connection: Connection,
) -> None:
    keys = [f"k{number}" for number in range(MOST_REFUSED)]
    waiting(connection, "good", *keys)
    good, *bad = claim(connection, places=100)
    save(connection, tried(good))
    long = int(LASTING.total_seconds())
    for second in (1, 6, 11):
        bad = bad or claim(connection, places=100, now=later(seconds=second))
        save(
            connection,
            *(refused(each, at=later(seconds=second)) for each in bad),
            now=later(seconds=second),
        )
        bad = []
    admit(connection, "last", now=later(seconds=long), lane=Lane.REALTIME)
    route(connection, now=later(seconds=long))
    (last,) = claim(connection, now=later(seconds=long))
    save(connection, refused(last, at=later(seconds=long)), now=later(seconds=long + 1))
    assert stands(connection) == {"good": ("settled", 0)} | dict.fromkeys(
        (*keys, "last"), ("routed", 0)
    )
    assert is_paused(connection)
    assert refusals.go_on(connection, now=later(seconds=long + 2)) == 0
    assert is_paused(connection)


def test_an_answer_that_is_saved_after_a_stop_ends_the_stop(connection: Connection) -> None:
    waiting(connection, *KEYS)
    good, *bad = claim(connection)
    save(connection, *(refused(each, at=later(seconds=1)) for each in bad), now=later(seconds=3))
    assert is_paused(connection)
    save(connection, tried(good, at=later(seconds=2)), now=later(seconds=4))
    refusals.go_on(connection, now=later(seconds=5))
    assert (is_paused(connection), incident(connection)) == (False, [("version 1", "resolved")])


def test_a_refused_item_fails_once_its_version_has_answered_another_item(
    connection: Connection,
) -> None:
    waiting(connection, "a", "b")
    bad, good = claim(connection)
    save(connection, refused(bad))
    assert stands(connection)["a"] == ("routed", 0)
    save(connection, tried(good, at=later(seconds=5)), now=later(seconds=5))
    (bad,) = claim(connection, now=later(seconds=6))
    save(connection, refused(bad, at=later(seconds=7)), now=later(seconds=7))
    assert stands(connection) == {"a": ("failed", 1), "b": ("settled", 0)}


def test_a_single_refused_item_fails_after_three_attempts(connection: Connection) -> None:
    waiting(connection, "a")
    for second in (0, 5):
        (bad,) = claim(connection, now=later(seconds=second))
        save(connection, refused(bad, at=later(seconds=second)), now=later(seconds=second))
        assert stands(connection) == {"a": ("routed", 0)}
    (bad,) = claim(connection, now=later(seconds=10))
    save(connection, refused(bad, at=later(seconds=10)), now=later(seconds=10))
    assert stands(connection) == {"a": ("failed", 1)}


def test_different_refusals_fail_their_items_and_do_not_stop_the_version(
    connection: Connection,
) -> None:
    waiting(connection, *KEYS)
    for second in (0, 5, 10):
        taken = claim(connection, now=later(seconds=second))
        attempts = [
            refused(each, at=later(seconds=second), error=f"too long: {each.key}") for each in taken
        ]
        save(connection, *attempts, now=later(seconds=second))
    assert stands(connection) == dict.fromkeys(KEYS, ("failed", 1))
    assert not is_paused(connection)


def test_items_that_failed_one_by_one_before_a_stop_are_restored(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    for minute, key in enumerate(KEYS[:2]):
        admit(connection, key, now=later(minutes=minute), lane=Lane.REALTIME)
        route(connection, now=later(minutes=minute))
        for second in (0, 5, 10):
            at = later(minutes=minute, seconds=second)
            (bad,) = claim(connection, now=at)
            save(connection, refused(bad, at=at), now=at)
    assert stands(connection) == dict.fromkeys(KEYS[:2], ("failed", 1))
    admit(connection, "c", now=later(minutes=2), lane=Lane.REALTIME)
    route(connection, now=later(minutes=2))
    (third,) = claim(connection, now=later(minutes=2))
    save(connection, refused(third, at=later(minutes=2)), now=later(minutes=2))
    assert stands(connection) == dict.fromkeys(KEYS[:3], ("routed", 0))
    assert is_paused(connection)


@pytest.mark.parametrize("mode", list(Mode))
def test_a_batch_of_a_refused_version_spends_no_retry_budget_and_its_packs_stay_packs(
    connection: Connection, mode: Mode
) -> None:
    waiting(connection, *KEYS, lane=Lane.BATCH, mode=mode)
    letters = workloads.read_versions(connection)["letters"]
    batch_id, taken = submit(connection, letters)
    said = [
        Judgment(Outcome.PACK_REFUSED, error=SCHEMA_400, refused_call=str(number // 2))
        for number in range(len(taken))
    ]
    packs = [
        refused(each)._replace(judged=judged) for each, judged in zip(taken, said, strict=True)
    ]
    save(connection, *packs, batch_id=batch_id)
    assert (stands(connection), is_paused(connection)) == (dict.fromkeys(KEYS, ("routed", 0)), True)
    assert {each.alone for each in rows(connection, "work")} == {False}


def test_a_refused_version_does_not_stop_another_workload(connection: Connection) -> None:
    waiting(connection, *KEYS)
    publish(connection, "bills", now=NOON)
    admit(connection, "x", "y", "z", "bad", now=NOON, workload="bills", lane=Lane.REALTIME)
    route(connection, now=NOON)
    taken = claim(connection)
    save(
        connection,
        *(refused(each) for each in taken if each.workload == "letters" or each.key == "bad"),
    )
    assert stands(connection)["bad"] == ("routed", 0)
    save(
        connection,
        *(tried(each) for each in taken if each.workload == "bills" and each.key != "bad"),
    )
    (bad,) = claim(connection, now=later(minutes=1))
    assert bad.key == "bad"
    save(connection, refused(bad, at=later(minutes=1)), now=later(minutes=1))
    assert stands(connection)["bad"] == ("failed", 1)
    assert {each.subject for each in rows(connection, "incident", workload="bills")} == set()


def test_a_stop_ends_when_all_its_items_are_canceled(connection: Connection) -> None:
    waiting(connection, *KEYS)
    save(connection, *map(refused, claim(connection)))
    connection.exec_driver_sql("select lanes.cancel('letters', key) from lanes.item")
    refusals.go_on(connection, now=later(minutes=1))
    assert (is_paused(connection), incident(connection)) == (False, [("version 1", "resolved")])


@given(
    st.booleans(),
    st.booleans(),
    st.integers(1, 9),
    st.integers(1, 99),
    st.timedeltas(timedelta(0), 2 * LASTING),
    st.booleans(),
)
def test_no_item_fails_for_its_version_and_no_version_stops_while_it_answers(
    before: bool, since: bool, times: int, calls: int, lasted: timedelta, known: bool
) -> None:
    found = Refusals(before or since, since, times, calls, lasted, known)
    then = judge_refusal(Judgment(Outcome.POISON, error="no", refused_call="1"), found)
    if since:
        assert (then.outcome, found.of_version) == (Outcome.POISON, False)
    if found.of_version:
        assert (then.outcome, then.spends) == (Outcome.UNSERVED, False)
