"""What is kept for a while only goes when its time is over, and nothing else does."""

from prefect.logging import disable_run_logger
from sqlalchemy import Connection

from lanes.store import retention
from lanes.store.database import Database
from lanes.store.doors import items
from lanes.store.settling import results
from lanes.words import Lane
from tasks.tidy import sweep_out
from tests.conftest import NOON, later
from tests.examples import admit, publish, route, submission
from tests.passing_time import PassingTime
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


async def test_everything_that_is_over_goes_and_is_counted(db: Database, passing_time: PassingTime) -> None:
    await db.run(lived_in)
    kept = {"refused_days": 90, "reads_days": 400}
    with disable_run_logger():
        passing_time.passes(days=399)
        assert await sweep_out.fn(db, **kept) == {"refused inputs": 2, "reads": 0}
        passing_time.passes(days=2)
        assert await sweep_out.fn(db, **kept) == {"refused inputs": 0, "reads": 1}
        assert await sweep_out.fn(db, **kept) == {"refused inputs": 0, "reads": 0}
