"""Concurrent access, on two connections, to an item that is being archived: it is seen whole, before or after."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from prefect.logging import disable_run_logger
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError

from lanes.doors.item import Amendment
from lanes.errors import SpecInvalid, StillLocked
from lanes.packing import ClaimedWork
from lanes.settling.outcome import SaveResult
from lanes.store.database import Database
from lanes.store.doors import archives, emptying, items
from lanes.store.doors.archives import OldItems
from lanes.store.settling import outcomes, results
from lanes.words import Lane
from lanes.workload import definition
from tasks.tidy import archive_out, empty_out
from tests.conftest import NOON, later
from tests.examples import admit, publish, route, spec, submission
from tests.passing_time import PassingTime
from tests.store.tries import (
    A,
    backend,
    claim,
    home,
    rows,
    said,
    save,
    submit,
    tried,
    until_blocked,
)

LATER = later(days=40)


def archive(connection: Connection) -> int:
    moments = {"letters": LATER}
    return archives.archive_some(connection, moments, after=0, now=LATER).items


@pytest.fixture
def work(pool: Engine) -> ClaimedWork:
    """Return the work of item k, which a batch has answered."""
    with pool.begin() as connection:
        version = publish(connection, now=NOON)
        admit(connection, "k", now=NOON, lane=Lane.BATCH)
        route(connection, now=NOON)
        batch_id, (work,) = submit(connection, version, now=NOON)
        save(connection, tried(work), batch_id=batch_id)
        home(connection, batch_id)
    return work


def late(connection: Connection) -> str:
    said = Amendment("letters", "k", {"text": "late"})
    return items.amend(connection, said, door="client", now=LATER).outcome


@pytest.fixture
def beside() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as one:
        yield one


@pytest.mark.usefixtures("work")
def test_an_amendment_waits_while_its_item_is_archived_and_is_then_refused(
    pool: Engine, beside: ThreadPoolExecutor
) -> None:
    with pool.connect() as archiver, pool.connect() as sender:
        assert archive(archiver) == 1
        pid = backend(sender)
        answered = beside.submit(late, sender)
        until_blocked(pool, pid)
        archiver.commit()
        assert answered.result(timeout=20) == "archived"
        sender.commit()
    with pool.begin() as connection:
        assert rows(connection, "revision") == rows(connection, "work") == []


@pytest.mark.usefixtures("work")
def test_an_item_that_is_being_amended_is_not_archived(pool: Engine) -> None:
    with pool.connect() as sender, pool.begin() as archiver:
        assert late(sender) == "amended"
        assert archive(archiver) == 0
        sender.commit()
        assert archive(archiver) == 0


def test_a_late_answer_is_postponed_while_its_item_is_archived_and_billed_afterwards(
    pool: Engine, work: ClaimedWork
) -> None:
    again = tried(work, response=said("msg_late"))

    def saved(connection: Connection) -> SaveResult:
        of = rows(connection, "batch")[0].id
        return outcomes.save(connection, [again], batch_id=of, now=LATER)

    with pool.connect() as archiver:
        assert archive(archiver) == 1
        with pool.begin() as saver:
            assert saved(saver).passed_over == [again]
        archiver.commit()
    with pool.begin() as saver:
        done = saved(saver)
        assert (done.passed_over, done.archived) == ([], 1)
        assert len([each for each in rows(saver, "spend") if each.message_id == "msg_late"]) == 1
        assert rows(saver, "attempt") == []


@pytest.mark.usefixtures("work")
def test_a_reader_waits_while_its_item_is_archived_and_then_gets_the_answer(
    pool: Engine, beside: ThreadPoolExecutor
) -> None:
    with pool.connect() as archiver, pool.connect() as reader:
        assert archive(archiver) == 1
        pid = backend(reader)
        answered = beside.submit(results.read, reader, "letters", "k", reader="desk")
        until_blocked(pool, pid)
        archiver.commit()
        found = answered.result(timeout=20)
        reader.commit()
        assert found is not None
        assert found.output == A
    with pool.begin() as connection, archives.restore_archived(connection, "letters", "k"):
        assert len(rows(connection, "read")) == 1
        assert len(rows(connection, "result")) == 1


@pytest.mark.usefixtures("work")
def test_a_sender_with_an_older_snapshot_does_not_admit_an_archived_key_again(pool: Engine) -> None:
    whole = pool.execution_options(isolation_level="REPEATABLE READ")
    with whole.connect() as sender:
        assert len(rows(sender, "item")) == 1
        with pool.begin() as archiver:
            assert archive(archiver) == 1
        with pytest.raises(OperationalError, match="could not serialize access"):
            items.admit(sender, [submission("k")], door="client", now=LATER)
        sender.rollback()
        (sent,) = items.admit(sender, [submission("k")], door="client", now=LATER)
        assert sent.outcome == "duplicate"
        sender.commit()
    with pool.begin() as connection:
        assert len(rows(connection, "item")) == 1


@pytest.mark.slow
@pytest.mark.usefixtures("work")
def test_a_locked_archived_item_is_waited_for_with_a_limit(pool: Engine) -> None:
    with pool.begin() as archiver:
        assert archive(archiver) == 1
    with pool.connect() as holder, pool.connect() as reader:
        holder.execute(text("select from lanes.item for update")).all()
        with pytest.raises(StillLocked), archives.restore_archived(reader, "letters", "k"):
            pass
        assert emptying.empty_archive(reader, {"letters": LATER}, after=0, now=LATER)[0] == 0
        holder.rollback()
        assert emptying.empty_archive(reader, {"letters": LATER}, after=0, now=LATER)[0] == 1


@pytest.mark.usefixtures("work")
def test_an_archiver_that_dies_moves_nothing_and_the_next_one_moves_everything_once(
    pool: Engine,
) -> None:
    with pool.connect() as archiver:
        assert archive(archiver) == 1
        with pool.begin() as other:
            other.execute(text("select pg_terminate_backend(:pid)"), {"pid": backend(archiver)})
        with pytest.raises(OperationalError):
            archiver.execute(text("select 1"))
        archiver.invalidate()
    with pool.begin() as connection:
        assert len(rows(connection, "result")) == len(rows(connection, "attempt")) == 1
        assert rows(connection, "archive") == []
        assert archive(connection) == 1
        assert archives.archive_some(connection, {"letters": LATER}, after=0, now=LATER) == (
            OldItems(0, rows(connection, "item")[0].id)
        )
        assert len(rows(connection, "archive")) == 1


async def test_each_workload_archives_its_items_after_its_own_number_of_days(
    db: Database, passing_time: PassingTime
) -> None:
    def settled(connection: Connection) -> None:
        now = connection.execute(text("select now()")).scalar_one()
        publish(connection, now=now, archive_after_days=40, keep_payload_days=60)
        publish(connection, "ads", now=now)
        for workload in ("letters", "ads"):
            admit(connection, "k", now=now, workload=workload, lane=Lane.REALTIME)
        route(connection, now=now)
        save(connection, *(tried(each, at=now) for each in claim(connection, now=now)), now=now)
        connection.execute(text("delete from lanes.event_outbox"))

    def answer(connection: Connection) -> Any:
        return connection.execute(
            text("select output from lanes.read_result('letters', 'k', 'x')")
        ).all()

    await db.run(settled)
    with disable_run_logger():
        assert await archive_out.fn(db) == 0
        passing_time.passes(days=41)
        assert await archive_out.fn(db) == 1
        assert await archive_out.fn(db) == 0
        assert await empty_out.fn(db) == 0
        assert await db.run(answer) == [(A,)]
        passing_time.passes(days=20)
        assert await empty_out.fn(db) == 1
        assert await db.run(answer) == [(None,)]
    left = await db.run(lambda connection: rows(connection, "work"))
    assert [each.workload for each in left] == ["ads"]


async def test_an_item_is_not_archived_while_its_events_are_unsent(
    db: Database, passing_time: PassingTime
) -> None:
    def settled(connection: Connection) -> None:
        now = connection.execute(text("select now()")).scalar_one()
        publish(connection, now=now, archive_after_days=32)
        admit(connection, "k", now=now, lane=Lane.REALTIME)
        route(connection, now=now)
        save(connection, *(tried(each, at=now) for each in claim(connection, now=now)), now=now)

    await db.run(settled)
    passing_time.passes(days=33)
    assert await archive_out.fn(db) == 0
    await db.run(lambda connection: connection.execute(text("delete from lanes.event_outbox")))
    assert await archive_out.fn(db) == 1


def test_archive_after_days_must_cover_the_days_that_context_reads() -> None:
    assert spec(archive_after_days=32).archive_after_days == 32
    reads = {"entity": {"items": 3, "days": 90}}
    assert spec(archive_after_days=90, context=reads).archive_after_days == 90
    for fields in (
        {"archive_after_days": 31},
        {"archive_after_days": 89, "context": reads},
        {"archive_after_days": 3650, "context": {"entity": {"items": 3}}},
    ):
        with pytest.raises(SpecInvalid, match="archive_after_days is"):
            spec(**fields)
    assert definition.LATER["archive_after_days"] == spec().archive_after_days
