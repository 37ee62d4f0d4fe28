"""A create that is answered after its batch was released: its work is taken back, or went elsewhere, never both."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Connection, Engine

from lanes.batch.batch import Answer, Kind
from lanes.store.batch import creates, ready_work, releases
from lanes.store.doors import items
from lanes.words import Lane
from lanes.workload.version import Version
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.tries import backend, events, intend, intent, row, rows, until_blocked


def released(connection: Connection, *names: str) -> tuple[int, Version]:
    """A batch of those items that was thought never to have been created."""
    letters = publish(connection, now=NOON)
    admit(connection, *names, now=NOON, lane=Lane.BATCH)
    route(connection, now=NOON)
    batch_id, _ = intend(connection, letters)
    releases.release(connection, batch_id, note="never created", now=later(minutes=5))
    return batch_id, letters


def answer(connection: Connection, batch_id: int) -> Answer:
    return creates.submitted(connection, batch_id, "msgbatch_1", expected_end_at=later(hours=1), now=later(minutes=6))


def test_work_that_waits_as_it_was_left_is_taken_back(connection: Connection) -> None:
    batch_id, _ = released(connection, "a", "b")
    assert answer(connection, batch_id) is Answer.TAKEN_BACK
    assert [(each.state, each.batch_id, each.claim_no) for each in rows(connection, "work")] == [("submitted", batch_id, 1)] * 2
    kept = row(connection, "batch")
    assert (kept.state, kept.provider_batch_id, kept.ended_at, kept.cancel_at) == ("submitted", "msgbatch_1", None, None)
    assert len(events(connection, "lanes.batch.submitted")) == 1


def test_an_item_that_was_canceled_meanwhile_is_nobodys_and_keeps_no_batch(connection: Connection) -> None:
    batch_id, _ = released(connection, "a", "b")
    items.cancel(connection, "letters", "a")
    assert answer(connection, batch_id) is Answer.TAKEN_BACK
    assert [each.state for each in rows(connection, "work", "item_id")] == ["canceled", "submitted"]


def test_work_that_went_elsewhere_stays_there_and_the_rest_is_taken_back_of_a_batch_that_is_cancelled(
    connection: Connection,
) -> None:
    batch_id, letters = released(connection, "a", "b")
    (first, *_) = ready_work.lock_for_batch(connection, Kind("letters", letters.id), limit=1, now=later(minutes=5))
    other = creates.intend(connection, intent(letters), [[first.claim]], now=later(minutes=5))
    assert answer(connection, batch_id) is Answer.SUPERSEDED
    assert {each.batch_id for each in rows(connection, "work")} == {batch_id, other}
    kept = row(connection, "batch", id=batch_id)
    assert (kept.state, kept.cancel_at) == ("submitted", later(minutes=6))


def test_all_of_it_elsewhere_leaves_a_batch_without_work_to_be_cancelled_and_booked(connection: Connection) -> None:
    batch_id, letters = released(connection, "a", "b")
    intend(connection, letters, now=later(minutes=5))
    assert answer(connection, batch_id) is Answer.SUPERSEDED
    kept = row(connection, "batch", id=batch_id)
    assert (kept.state, kept.cancel_at) == ("superseded", later(minutes=6))
    assert answer(connection, batch_id) is Answer.SUBMITTED  # told twice, it changes nothing
    assert row(connection, "batch", id=batch_id).state == "superseded"


@pytest.mark.parametrize("commits", [True, False])
def test_a_submitter_and_a_late_answer_never_both_own_the_work(pool: Engine, commits: bool) -> None:
    with pool.begin() as setup:
        batch_id, letters = released(setup, "a", "b")
    with pool.connect() as submitter, pool.connect() as late, ThreadPoolExecutor(1) as thread:
        other, _ = intend(submitter, letters, now=later(minutes=5))
        pid = backend(late)
        answered = thread.submit(answer, late, batch_id)
        until_blocked(pool, pid)
        submitter.commit() if commits else submitter.rollback()
        assert answered.result(timeout=20) is (Answer.SUPERSEDED if commits else Answer.TAKEN_BACK)
        late.commit()
    with pool.begin() as connection:
        assert {each.batch_id for each in rows(connection, "work")} == {other if commits else batch_id}
