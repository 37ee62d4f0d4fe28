"""The floors leave what Lanes leaves, or they say that they do not."""

from datetime import datetime

import psycopg
import pytest
from sqlalchemy import Engine

from lanes.store.addresses import plain_url
from tests.benchmarks.letters import realtime
from tests.benchmarks.pattern import RowPattern
from tests.benchmarks.realtime_floor import RealtimeFloor
from tests.benchmarks.realtime_life import RealtimeLife
from tests.benchmarks.stored_rows import differences
from tests.databases import Databases

ITEMS = 30


def test_a_column_with_other_values_is_a_difference_and_so_is_a_row_too_many() -> None:
    ours = {"attempt": {"rows": "2", "outcome": "x 2"}, "read": {"rows": "0"}}
    assert (
        differences(ours, {"attempt": {"rows": "2", "outcome": "x 2"}, "read": {"rows": "0"}}) == []
    )
    assert differences(
        ours, {"attempt": {"rows": "2", "outcome": "y 2"}, "read": {"rows": "1"}}
    ) == [
        "attempt.outcome: x 2 in Lanes, y 2 in the floor",
        "read.rows: 0 in Lanes, 1 in the floor",
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    "spoiled",
    [
        "update lanes.attempt set output_tokens = 7 where id = (select min(id) from lanes.attempt)",
        "update lanes.work set finished_at = null where id = (select min(id) from lanes.work)",
        "delete from lanes.event_outbox where id = (select id from lanes.event_outbox limit 1)",
        "update lanes.item set payload = '{}' where id = (select min(id) from lanes.item)",
    ],
)
def test_the_floor_leaves_the_same_rows_and_a_floor_that_does_not_is_told(
    databases: Databases, pool: Engine, database_url: str, noon: datetime, spoiled: str
) -> None:
    ours = databases.make()
    RealtimeLife(ours).lead(ITEMS)
    with pool.begin() as connection:
        realtime(connection, now=noon)
    pattern = RowPattern(plain_url(ours))
    RealtimeFloor(plain_url(database_url), pattern).lead()
    pattern.check(plain_url(database_url))
    with psycopg.connect(plain_url(database_url)) as connection:
        assert connection.execute(spoiled.encode()).rowcount == 1
    with pytest.raises(AssertionError, match="the floor did not write the same rows"):
        pattern.check(plain_url(database_url))
    databases.drop(ours)
