"""Retention: rows are deleted when their period has passed, and no other rows are."""

from datetime import timedelta

import pytest
from prefect.logging import disable_run_logger
from sqlalchemy import Connection, text

from lanes.doors.item import Amendment
from lanes.store.database import Database
from lanes.store.doors import emptying, items
from lanes.store.figures import folding
from lanes.store.settling import results
from lanes.words import Lane
from tasks.tidy import sweep_out
from tests.conftest import NOON, later
from tests.examples import admit, publish, route, submission
from tests.passing_time import PassingTime
from tests.store.tries import claim, rows, save, tried


def lived_in(connection: Connection) -> None:
    """Create a settled item with reads, amendments and a label, an input refused at noon and another a week later."""
    publish(connection, now=NOON)
    admit(connection, "a", now=NOON, lane=Lane.REALTIME)
    route(connection, now=NOON)
    save(connection, *(tried(each) for each in claim(connection)))
    for _ in range(2):
        results.read(connection, "letters", "a", reader="desk")
    items.admit(connection, [submission("g", "ghosts")], door="client", now=NOON)
    items.admit(connection, [submission("h", "ghosts")], door="client", now=later(days=7))
    for key in ("a", "never comes"):
        items.amend(
            connection, Amendment("letters", key, {"text": "better"}), door="client", now=NOON
        )
    items.label(connection, "letters", {"a": {"category": "bill"}}, source="desk")


@pytest.mark.slow
def test_only_refused_inputs_older_than_the_limit_are_deleted(connection: Connection) -> None:
    lived_in(connection)
    assert emptying.delete_refused(connection, before=later(days=1)) == 1
    assert emptying.delete_refused(connection, before=later(days=1)) == 0
    assert [each.position for each in rows(connection, "rejected_log")] == ["h"]
    assert emptying.delete_reads(connection, before=NOON).rows == 0
    assert len(rows(connection, "spend")) == len(rows(connection, "item_status")) == 1


@pytest.mark.slow
async def test_everything_past_its_retention_period_is_deleted_and_counted(
    db: Database, passing_time: PassingTime
) -> None:
    await db.run(lived_in)
    kept = {"refused_days": 90, "amendments_days": 90, "labels_days": 400, "reads_days": 400}
    kept |= {"webhooks_days": 7}
    of_each = {"refused inputs": 2, "amendments": 2, "labels": 0, "reads": 0}
    of_each |= {"events of webhooks": 0, "minutes of figures": 0}
    with disable_run_logger():
        passing_time.passes(days=399)
        assert await sweep_out.fn(db, **kept) == of_each
        passing_time.passes(days=2)
        # The first read is kept.
        assert await sweep_out.fn(db, **kept) == dict.fromkeys(of_each, 0) | {
            "labels": 1,
            "reads": 1,
        }
        assert await sweep_out.fn(db, **kept) == dict.fromkeys(of_each, 0)
    assert len(await db.run(lambda connection: rows(connection, "revision"))) == 2


def test_a_read_after_the_deletion_of_old_reads_does_not_count_as_a_first_read(
    connection: Connection,
) -> None:
    publish(connection, now=NOON)
    admit(connection, "a", "b", now=NOON, lane=Lane.REALTIME)
    read_at(connection, "a", seconds=-60)  # before there is an answer
    route(connection, now=NOON)
    save(connection, *(tried(each) for each in claim(connection)))
    for key, seconds in (("a", 40), ("a", 20), ("b", 30), ("a", 50)):
        read_at(connection, key, seconds=seconds)
    assert counted_reads(connection) == 2
    after, gone = 0, 0
    while True:
        some = emptying.delete_reads(connection, before=later(days=1), after=after, most=2)
        gone += some.rows
        if some.onwards is None:
            break
        after = some.onwards
    assert gone == 3
    assert {each.read_at for each in rows(connection, "read")} == {
        later(seconds=20),
        later(seconds=30),
    }
    read_at(connection, "a", seconds=90_000)
    assert counted_reads(connection) == 2
    folding.fold(connection)
    folding.rebuild_here(connection, until=later(days=30))
    assert counted_reads(connection) == 2


MINUTES = "select distinct workload, at from lanes.figure where grain = 'minute' order by 1, 2"
WHOLE = "select workload, kind, word, sum(n) as n from lanes.figure where grain = :grain group by 1, 2, 3 order by 1, 2, 3"


def test_old_minutes_of_figures_are_deleted_except_those_of_a_silent_feed(
    connection: Connection,
) -> None:
    for name in ("letters", "bills"):
        publish(connection, name, now=NOON)
        admit(connection, "old", now=NOON, workload=name, lane=Lane.REALTIME)
    admit(connection, "new", now=later(days=40), lane=Lane.REALTIME)
    route(connection, now=later(days=40))
    save(connection, *(tried(each) for each in claim(connection)), now=later(days=40))
    folding.fold(connection)
    kept = [tuple(connection.execute(text(WHOLE), {"grain": g}).all()) for g in ("hour", "day")]
    old = {"before": later(days=5), "learned": timedelta(days=29)}
    gone = folding.delete_minutes(connection, **old)
    assert gone > 0
    assert [tuple(row) for row in connection.execute(text(MINUTES))] == [
        ("bills", NOON),
        ("bills", later(days=40)),
        ("letters", later(days=40)),
    ]
    assert kept == [
        tuple(connection.execute(text(WHOLE), {"grain": g}).all()) for g in ("hour", "day")
    ]
    assert folding.delete_minutes(connection, **old) == 0


def read_at(connection: Connection, key: str, *, seconds: int) -> None:
    taken = text("select * from lanes.read_result('letters', :key, 'desk', :at)")
    connection.execute(taken, {"key": key, "at": later(seconds=seconds)})


def counted_reads(connection: Connection) -> int:
    """Return the number of read items according to the figures."""
    counted = text("select coalesce(sum(n), 0)::int from lanes.figures_since('{read}', :since)")
    return connection.execute(counted, {"since": NOON}).scalar_one()
