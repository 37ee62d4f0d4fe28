"""A create that is answered after its batch was released: its work is taken back, or went elsewhere, never both."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Connection, Engine

from lanes.batch.batch import Answer, Kind
from lanes.ids import BatchId
from lanes.store.batch import creates, homecoming, ready_work, releases, unwanted
from lanes.store.doors import items
from lanes.words import Lane
from lanes.workload.version import Version
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.tries import backend, events, home, intend, intent, row, rows, said, save, tried, until_blocked


def released(connection: Connection, *names: str) -> tuple[BatchId, Version]:
    """A batch of those items that was thought never to have been created."""
    letters = publish(connection, now=NOON)
    admit(connection, *names, now=NOON, lane=Lane.BATCH)
    route(connection, now=NOON)
    batch_id, _ = intend(connection, letters)
    releases.release(connection, batch_id, note="never created", now=later(minutes=5))
    return batch_id, letters


def answer(connection: Connection, batch_id: BatchId) -> Answer:
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


def elsewhere(connection: Connection, letters: Version, *, limit: int = 1, sent: bool = True) -> BatchId:
    """Some of what waits is in another batch, which the provider has unless it was not `sent` yet."""
    waiting = ready_work.lock_for_batch(connection, Kind("letters", letters.id), limit=limit, now=later(minutes=5))
    other = creates.intend(connection, intent(letters), [[each.claim] for each in waiting], now=later(minutes=5))
    if sent:
        creates.submitted(connection, other, "msgbatch_2", expected_end_at=later(hours=1), now=later(minutes=5))
    return other


def test_a_younger_batch_of_nothing_else_is_cancelled_in_place_of_one_that_holds_what_waits(connection: Connection) -> None:
    batch_id, letters = released(connection, "a", "b", "c")
    other = elsewhere(connection, letters, limit=2)
    assert answer(connection, batch_id) is Answer.TAKEN_BACK
    assert [(each.state, each.batch_id, each.claim_no) for each in rows(connection, "work", "id")] == [
        ("submitted", batch_id, 3), ("submitted", batch_id, 3), ("submitted", batch_id, 1)
    ]  # fmt: skip
    kept, given_up = row(connection, "batch", id=batch_id), row(connection, "batch", id=other)
    assert (kept.state, kept.cancel_at) == ("submitted", None)
    assert (given_up.state, given_up.cancel_at) == ("superseded", later(minutes=6))
    claims = [each for found in homecoming.outstanding(connection, batch_id).values() for each in found]
    save(connection, *(tried(each, response=said()) for each in claims), batch_id=batch_id)
    late = [each for found in homecoming.members(connection, other, [0, 1]).values() for each in found]
    save(connection, *(tried(each, response=said()) for each in late), batch_id=other)
    assert {each.state for each in rows(connection, "item_status")} == {"settled"}
    assert [each.shown for each in rows(connection, "attempt", "id")] == [True] * 3 + [False] * 2
    assert len(rows(connection, "spend")) == 5
    home(connection, batch_id, now=later(minutes=9))
    home(connection, other, now=later(minutes=9))
    assert {each.id: each.state for each in rows(connection, "batch")} == {batch_id: "collected", other: "released"}


@pytest.mark.parametrize("sent", [True, False])
def test_what_another_batch_answers_beside_others_stays_there_and_what_waits_keeps_its_batch(
    connection: Connection, sent: bool
) -> None:
    batch_id, letters = released(connection, "a", "b")
    if sent:
        admit(connection, "another", now=later(minutes=-9), lane=Lane.BATCH)
        route(connection, now=later(minutes=-9))
    other = elsewhere(connection, letters, limit=2 if sent else 1, sent=sent)
    assert answer(connection, batch_id) is Answer.TAKEN_BACK
    assert {each.batch_id for each in rows(connection, "work")} == {batch_id, other}
    kept, beside = row(connection, "batch", id=batch_id), row(connection, "batch", id=other)
    assert (kept.state, kept.cancel_at) == ("submitted", None)
    assert (beside.state, beside.cancel_at) == ("submitted" if sent else "intended", None)
    assert unwanted.recall(connection, now=later(minutes=7)) == []


def test_what_came_back_from_elsewhere_is_taken_back_under_a_claim_of_its_own(connection: Connection) -> None:
    batch_id, letters = released(connection, "a", "b")
    other = elsewhere(connection, letters)
    releases.supersede(connection, other, note="given up", now=later(minutes=5))
    assert answer(connection, batch_id) is Answer.TAKEN_BACK
    assert [(each.batch_id, each.claim_no) for each in rows(connection, "work", "id")] == [(batch_id, 3), (batch_id, 1)]
    assert len(homecoming.outstanding(connection, batch_id)) == 2


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
