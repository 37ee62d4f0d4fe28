"""A create that is answered after its work was released: its batch is cancelled and booked, the work stays where it went."""

from collections.abc import Callable

import pytest
from sqlalchemy import Connection

from lanes.batch.batch import BatchKind, CreateAnswer
from lanes.ids import BatchId
from lanes.packing import Claim
from lanes.store.batch import collection, creates, doubts
from lanes.store.doors import items
from lanes.words import Lane
from lanes.workload.version import Version
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.tries import (
    events,
    home,
    intend,
    intent,
    lock_for_batch,
    row,
    rows,
    said,
    save,
    tried,
)


def released(connection: Connection, *names: str) -> tuple[BatchId, Version]:
    """Release a batch of these items, as if it had never been created."""
    letters = publish(connection, now=NOON)
    admit(connection, *names, now=NOON, lane=Lane.BATCH)
    route(connection, now=NOON)
    batch_id, _ = intend(connection, letters)
    doubts.release(connection, batch_id, note="never created", now=later(minutes=5))
    return batch_id, letters


def answer(connection: Connection, batch_id: BatchId) -> CreateAnswer:
    return creates.mark_submitted(
        connection, batch_id, "msgbatch_1", expected_end_at=later(hours=1), now=later(minutes=6)
    )


def claims(connection: Connection, batch_id: BatchId) -> list[Claim]:
    return [
        each
        for found in collection.members(connection, batch_id, range(9)).values()
        for each in found
    ]


def stays_ready(connection: Connection, letters: Version) -> None:
    """Leave the work as it is."""


def is_canceled(connection: Connection, letters: Version) -> None:
    items.cancel(connection, "letters", "a")


def is_intended_elsewhere(connection: Connection, letters: Version) -> None:
    intend(connection, letters, now=later(minutes=5))


def is_elsewhere(connection: Connection, letters: Version, *, limit: int = 2) -> BatchId:
    waiting = lock_for_batch(
        connection, BatchKind("letters", letters.id), limit=limit, now=later(minutes=5)
    )
    other = creates.intend(
        connection, intent(letters), [[each.claim] for each in waiting], now=later(minutes=5)
    )
    creates.mark_submitted(
        connection, other, "msgbatch_2", expected_end_at=later(hours=1), now=later(minutes=5)
    )
    return other


def is_partly_elsewhere(connection: Connection, letters: Version) -> None:
    is_elsewhere(connection, letters, limit=1)


@pytest.mark.parametrize(
    "meanwhile",
    [stays_ready, is_canceled, is_intended_elsewhere, is_elsewhere, is_partly_elsewhere],
)
def test_released_work_stays_where_it_went_and_the_late_batch_is_cancelled_and_booked(
    connection: Connection, meanwhile: Callable[[Connection, Version], object]
) -> None:
    batch_id, letters = released(connection, "a", "b")
    meanwhile(connection, letters)
    before, others = (
        rows(connection, "work", "id"),
        [each for each in rows(connection, "batch") if each.id != batch_id],
    )
    assert answer(connection, batch_id) is CreateAnswer.UNWANTED
    kept = row(connection, "batch", id=batch_id)
    assert (kept.state, kept.provider_batch_id, kept.cancel_at) == (
        "superseded",
        "msgbatch_1",
        later(minutes=6),
    )
    assert kept.note == "never created; its create was answered after that, so it is cancelled"
    saved = save(
        connection,
        *(tried(each, response=said()) for each in claims(connection, batch_id)),
        batch_id=batch_id,
    )
    assert saved.late == 2
    home(connection, batch_id, now=later(minutes=9))
    assert row(connection, "batch", id=batch_id).state == "released"
    assert rows(connection, "work", "id") == before
    assert [each for each in rows(connection, "batch") if each.id != batch_id] == others
    assert [each.shown for each in rows(connection, "attempt")] == [False, False]
    assert len(rows(connection, "spend")) == 2
    assert rows(connection, "result") == []
    assert doubts.recall(connection, now=later(minutes=9)) == []


@pytest.mark.slow
def test_the_next_batch_gives_the_shown_answers_although_the_late_batch_returns_first(
    connection: Connection,
) -> None:
    batch_id, letters = released(connection, "a", "b")
    answer(connection, batch_id)
    other = is_elsewhere(connection, letters)
    for each in (batch_id, other):
        save(
            connection,
            *(tried(claim, response=said()) for claim in claims(connection, each)),
            batch_id=each,
        )
    assert {each.state for each in rows(connection, "item_status")} == {"settled"}
    shown = {(each.batch_id, each.shown) for each in rows(connection, "attempt")}
    assert shown == {(batch_id, False), (other, True)}
    assert len(rows(connection, "spend")) == 4


def test_a_repeated_late_create_answer_changes_nothing(connection: Connection) -> None:
    batch_id, _ = released(connection, "a", "b")
    assert [answer(connection, batch_id) for _ in range(2)] == [CreateAnswer.UNWANTED] * 2
    assert row(connection, "batch", id=batch_id).state == "superseded"
    assert len(events(connection, "lanes.batch.submitted")) == 1
    home(connection, batch_id, now=later(minutes=9))
    assert answer(connection, batch_id) is CreateAnswer.UNWANTED
    assert row(connection, "batch", id=batch_id).state == "released"
