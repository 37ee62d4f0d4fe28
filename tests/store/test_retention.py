"""What is kept for a while only goes when its time is over, and nothing else does."""

from prefect.logging import disable_run_logger
from sqlalchemy import Connection, Engine

from lanes.store import retention
from lanes.store.database import Database
from lanes.store.doors import items
from lanes.store.settling import results
from lanes.words import Lane
from tasks.tidy import sweep_out
from tests.conftest import NOON, later
from tests.examples import admit, publish, route, submission
from tests.store.tries import claim, rows, save, tried


def lived_in(connection: Connection) -> None:
    """A settled item that was read, and an input refused at noon and another a week later."""
    publish(connection, now=NOON)
    admit(connection, "a", now=NOON, lane=Lane.REALTIME)
    route(connection, now=NOON)
    save(connection, *(tried(each) for each in claim(connection)))
    results.read(connection, "letters", "a", reader="desk")
    items.admit(connection, [submission("g", "ghosts")], door="client", now=NOON)
    items.admit(connection, [submission("h", "ghosts")], door="client", now=later(days=7))


def test_only_what_is_older_goes(connection: Connection) -> None:
    lived_in(connection)
    assert retention.delete_refused(connection, before=later(days=1)) == 1
    assert retention.delete_refused(connection, before=later(days=1)) == 0
    assert [each.position for each in rows(connection, "rejected_log")] == ["h"]
    assert retention.delete_reads(connection, before=NOON) == 0
    assert len(rows(connection, "spend")) == len(rows(connection, "item_status")) == 1


async def test_everything_that_is_over_goes_and_is_counted(pool: Engine, database_url: str) -> None:
    with pool.begin() as connection:
        lived_in(connection)
        for table, column in (("rejected", "rejected_at"), ("read", "read_at")):
            connection.exec_driver_sql(f"update lanes.{table} set {column} = clock_timestamp() - interval '500 days'")
    with disable_run_logger():
        async with Database(database_url) as db:
            kept = {"refused_days": 90, "reads_days": 400}
            assert await sweep_out.fn(db, **kept) == {"refused inputs": 2, "reads": 1}
            assert await sweep_out.fn(db, **kept) == {"refused inputs": 0, "reads": 0}
