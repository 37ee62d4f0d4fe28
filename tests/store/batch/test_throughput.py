"""View `batch_status` says how many items a minute a batch brought back: until it ended, and until it was collected."""

import pytest
from sqlalchemy import Connection, text

from lanes.ids import BatchId
from lanes.store.batch import collection
from lanes.store.report import snapshot
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.tries import row, submit


@pytest.fixture
def batch_id(connection: Connection) -> BatchId:
    """Thirty items left at noon."""
    letters = publish(connection, now=NOON)
    admit(connection, *(f"k{n}" for n in range(30)), now=NOON)
    route(connection, now=NOON)
    return submit(connection, letters)[0]


def told(connection: Connection) -> tuple[float | None, float | None]:
    status = row(connection, "batch_status")
    return status.items_per_minute_until_ended, status.items_per_minute_until_collected


def test_throughput_is_known_once_a_batch_ended_and_the_other_one_once_it_is_collected(
    connection: Connection, batch_id: BatchId
) -> None:
    assert told(connection) == (None, None)
    collection.ended(connection, batch_id, at=later(minutes=10), now=later(minutes=12))
    assert told(connection) == (3, None)
    collection.collected(connection, batch_id, now=later(minutes=15))
    assert told(connection) == (3, 2)
    (seen,) = snapshot.take(connection, since=NOON, now=later(hours=1)).batches
    assert (seen.items_per_minute_until_ended, seen.items_per_minute_until_collected) == (3, 2)


def test_a_batch_whose_work_went_elsewhere_has_none(
    connection: Connection, batch_id: BatchId
) -> None:
    connection.execute(text("update lanes.batch set state = 'superseded'"))
    collection.ended(connection, batch_id, at=later(minutes=10), now=later(minutes=10))
    collection.collected(connection, batch_id, now=later(minutes=15))
    assert row(connection, "batch_status").state == "released"
    assert told(connection) == (None, None)


def test_where_the_provider_s_clock_is_behind_ours_nothing_is_told(
    connection: Connection, batch_id: BatchId
) -> None:
    collection.ended(connection, batch_id, at=later(seconds=-1), now=later(seconds=5))
    assert told(connection) == (None, None)
