"""Cancellation of batches that no item needs, and of no others; the throughput of a batch in view `batch_status`."""

import pytest
from sqlalchemy import Connection, text

from lanes.ids import BatchId
from lanes.store.batch import collection, doubts
from lanes.store.report import snapshot
from lanes.words import Lane, Mode, Purpose
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.late import LATE, canceled, in_batch, rescue
from tests.store.tries import claim, home, row, said, save, submit, tried


def test_a_batch_is_cancelled_only_when_none_of_its_items_needs_it(
    connection: Connection,
) -> None:
    batch_id = in_batch(connection, "a", "b")
    assert doubts.recall(connection, now=LATE) == []
    rescue(connection)
    assert doubts.recall(connection, now=LATE) == []
    one, other = claim(connection, now=LATE)
    save(connection, tried(one, at=LATE), now=LATE)
    assert doubts.recall(connection, now=LATE) == []
    save(connection, tried(other, at=LATE), now=LATE)
    assert doubts.recall(connection, now=LATE) == [batch_id]
    kept = row(connection, "batch")
    assert (kept.state, kept.cancel_at) == ("submitted", LATE)
    assert doubts.recall(connection, now=LATE) == []


def test_a_batch_that_is_the_owed_pass_or_may_not_be_ours_is_not_cancelled(
    connection: Connection,
) -> None:
    in_batch(connection, "k", mode=Mode.LAMBDA)
    rescue(connection)
    (mine,) = claim(connection, now=LATE)
    save(connection, tried(mine, at=LATE), now=LATE)
    assert doubts.recall(connection, now=LATE) == []
    canceled(connection)
    connection.execute(text("update lanes.batch set unproved = true"))
    assert doubts.recall(connection, now=LATE) == []


@pytest.mark.slow
def test_a_shadow_batch_is_not_cancelled_although_its_items_are_settled(
    connection: Connection,
) -> None:
    letters = publish(connection, now=NOON, batch_pack=40, pack_check_share=0.2)
    admit(connection, *(f"k{n}" for n in range(40)), now=NOON, lane=Lane.BATCH)
    route(connection, now=NOON)
    batch_id, taken = submit(connection, letters, pack=40)
    response = said()
    save(connection, *(tried(each, response=response) for each in taken), batch_id=batch_id)
    home(connection, batch_id)
    _, again = submit(connection, letters, now=later(hours=1))
    assert {each.purpose for each in again} == {Purpose.SHADOW}
    assert doubts.recall(connection, now=later(hours=2)) == []


@pytest.fixture
def batch_id(connection: Connection) -> BatchId:
    """Submit thirty items in a batch at noon."""
    letters = publish(connection, now=NOON)
    admit(connection, *(f"k{n}" for n in range(30)), now=NOON)
    route(connection, now=NOON)
    return submit(connection, letters)[0]


def told(connection: Connection) -> tuple[float | None, float | None]:
    status = row(connection, "batch_status")
    return status.items_per_minute_until_ended, status.items_per_minute_until_collected


def test_throughput_is_shown_once_a_batch_has_ended_and_again_once_it_is_collected(
    connection: Connection, batch_id: BatchId
) -> None:
    assert told(connection) == (None, None)
    collection.mark_ended(connection, batch_id, at=later(minutes=10), now=later(minutes=12))
    assert told(connection) == (3, None)
    collection.mark_collected(connection, batch_id, now=later(minutes=15))
    assert told(connection) == (3, 2)
    (seen,) = snapshot.take(connection, since=NOON, now=later(hours=1)).batches
    assert (seen.items_per_minute_until_ended, seen.items_per_minute_until_collected) == (3, 2)


def test_a_superseded_batch_has_no_throughput(connection: Connection, batch_id: BatchId) -> None:
    connection.execute(text("update lanes.batch set state = 'superseded'"))
    collection.mark_ended(connection, batch_id, at=later(minutes=10), now=later(minutes=10))
    collection.mark_collected(connection, batch_id, now=later(minutes=15))
    assert row(connection, "batch_status").state == "released"
    assert told(connection) == (None, None)


def test_throughput_is_empty_when_the_provider_clock_is_behind_ours(
    connection: Connection, batch_id: BatchId
) -> None:
    collection.mark_ended(connection, batch_id, at=later(seconds=-1), now=later(seconds=5))
    assert told(connection) == (None, None)
