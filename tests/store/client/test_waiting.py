"""Waiting callers are notified of committed answers: they do not poll, delay no other call, and miss no answer."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from time import monotonic

import pytest
from sqlalchemy import Engine, text

from lanes import client
from lanes.client import AsyncLanes, Lanes, Result, lookout
from lanes.errors import DatabaseAway, ItemCanceled, ItemFailed, LanesError, Refused, SetupError
from lanes.stand.postgres import Running
from tests.conftest import NOON
from tests.examples import admit, publish
from tests.store.client.ends import WITHIN_S, Looks, answer, fails, is_canceled, is_canceled_unheard
from tests.store.tries import A, Outcome, row, rows, save, submit, tried

NEVER_S = 3_600.0
LISTENS = "from pg_stat_activity where datname = current_database() and query like 'listen%'"


@pytest.fixture
def unpolled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Switch off the periodic look for all callers, so that only a notification causes one."""
    monkeypatch.setattr(lookout, "RELOOK_S", NEVER_S)


@pytest.fixture(autouse=True)
def item(address: None, pool: Engine) -> None:
    with pool.begin() as connection:
        admit(connection, "k", now=NOON, urgent=True)


@pytest.fixture
def programs() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(8)


def waits(
    programs: ThreadPoolExecutor, reader: str = "desk", *, settled: bool = False
) -> Future[Result | None]:
    """Start a program that waits for `k`."""
    return programs.submit(
        client.wait, "letters", "k", reader=reader, timeout_s=60, settled=settled
    )


@asynccontextmanager
async def awaits(*readers: str, key: str = "k") -> AsyncIterator[list[asyncio.Task[Result | None]]]:
    """Run tasks that wait for an item."""
    waiting = [
        asyncio.create_task(client.await_result("letters", key, reader=each, timeout_s=60))
        for each in readers
    ]
    yield waiting
    for each in waiting:
        each.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


def hang_up(pool: Engine) -> None:
    """End the session that listens."""
    with pool.begin() as connection:
        assert connection.execute(
            text(f"select pg_terminate_backend(pid, 5000) {LISTENS}")
        ).scalars().all() == [True]


@pytest.mark.usefixtures("unpolled")
def test_an_answer_arrives_by_notification_without_polling(
    pool: Engine, programs: ThreadPoolExecutor, looks: Looks
) -> None:
    waiting = waits(programs)
    looks.until_all("desk")
    answer(pool)
    found = waiting.result(WITHIN_S)
    assert found is not None
    assert found.output == A
    with pool.begin() as connection:
        assert row(connection, "read").reader == "desk"


@pytest.mark.usefixtures("unpolled")
async def test_an_answer_reaches_asynchronous_programs_by_notification(
    pool: Engine, looks: Looks
) -> None:
    async with awaits("desk") as (waiting,):
        await asyncio.to_thread(looks.until_all, "desk")
        await asyncio.to_thread(answer, pool)
        found = await asyncio.wait_for(waiting, WITHIN_S)
    assert found is not None
    assert found.output == A


@pytest.mark.usefixtures("unpolled")
@pytest.mark.parametrize(("happens", "error"), [(fails, ItemFailed), (is_canceled, ItemCanceled)])
def test_a_failure_or_cancellation_arrives_by_notification(
    pool: Engine,
    programs: ThreadPoolExecutor,
    looks: Looks,
    happens: Callable[[Engine], None],
    error: type[LanesError],
) -> None:
    waiting = waits(programs)
    looks.until_all("desk")
    happens(pool)
    with pytest.raises(error):
        waiting.result(WITHIN_S)


@pytest.mark.slow
@pytest.mark.usefixtures("unpolled")
def test_a_provisional_answer_that_becomes_final_arrives_by_notification(
    pool: Engine, programs: ThreadPoolExecutor, looks: Looks
) -> None:
    with pool.begin() as connection:
        version = publish(connection, now=NOON, mode="lambda", max_failures=1)
    answer(pool)
    with pool.begin() as connection:
        batch_id, (work,) = submit(connection, version)
    waiting = waits(programs, settled=True)
    looks.until_all("desk")
    with pool.begin() as connection:
        save(connection, tried(work, Outcome.INVALID), batch_id=batch_id)
    found = waiting.result(WITHIN_S)
    assert found is not None
    assert (found.output, found.is_settled) == (A, True)


@pytest.mark.usefixtures("unpolled")
def test_a_lost_listener_loses_no_answer(
    pool: Engine, programs: ThreadPoolExecutor, looks: Looks
) -> None:
    waiting = waits(programs)
    looks.until_all("desk")
    hang_up(pool)
    answer(pool)
    assert waiting.result(WITHIN_S) is not None


@pytest.mark.usefixtures("unpolled")
async def test_a_lost_listener_loses_no_answer_of_asynchronous_programs(
    pool: Engine, looks: Looks
) -> None:
    async with awaits("desk") as (waiting,):
        await asyncio.to_thread(looks.until_all, "desk")
        await asyncio.to_thread(hang_up, pool)
        await asyncio.to_thread(answer, pool)
        assert await asyncio.wait_for(waiting, WITHIN_S) is not None


@pytest.mark.usefixtures("unpolled")
def test_no_answer_is_lost_when_all_sessions_end_at_once(
    pool: Engine, database_url: str, programs: ThreadPoolExecutor, looks: Looks
) -> None:
    waiting = waits(programs)
    looks.until_all("desk")
    with pool.begin() as connection:
        others = (
            "from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
        )
        assert all(
            connection.execute(text(f"select pg_terminate_backend(pid, 5000) {others}")).scalars()
        )
    pool.dispose()
    answer(pool)
    assert waiting.result(WITHIN_S) is not None


def test_a_periodic_look_finds_an_end_whose_notification_was_lost(
    pool: Engine, programs: ThreadPoolExecutor, looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookout, "RELOOK_S", 0.05)
    waiting = waits(programs)
    looks.until_all("desk")
    is_canceled_unheard(pool)
    with pytest.raises(ItemCanceled):
        waiting.result(WITHIN_S)


@pytest.mark.slow
@pytest.mark.usefixtures("unpolled")
def test_a_caller_that_times_out_looks_a_last_time(
    pool: Engine, programs: ThreadPoolExecutor, looks: Looks
) -> None:
    waiting = programs.submit(client.wait, "letters", "k", reader="desk", timeout_s=0.5)
    looks.until_all("desk")
    is_canceled_unheard(pool)
    with pytest.raises(ItemCanceled):
        waiting.result(WITHIN_S)


@pytest.mark.slow
@pytest.mark.usefixtures("unpolled")
async def test_one_look_serves_all_waiting_callers(pool: Engine, looks: Looks) -> None:
    readers = [f"reader {n}" for n in range(200)]
    async with awaits(*readers) as waiting:
        await asyncio.to_thread(looks.until_all, *readers)
        looks.sizes.clear()
        await asyncio.to_thread(answer, pool)
        for found in await asyncio.wait_for(asyncio.gather(*waiting), WITHIN_S):
            assert found is not None
    assert looks.sizes == [200]
    with pool.begin() as connection:
        assert sorted(each.reader for each in rows(connection, "read")) == sorted(readers)


@pytest.mark.usefixtures("unpolled")
async def test_a_busy_channel_causes_few_looks(
    pool: Engine, looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookout, "APART_S", NEVER_S)
    async with awaits("desk"):
        await asyncio.to_thread(looks.until_all, "desk")
        for number in range(50):
            with pool.begin() as connection:
                admit(connection, f"k{number}", now=NOON)
        async with awaits("late"):  # there is still a look for a new caller
            await asyncio.to_thread(looks.until_all, "late")
    assert len(looks.sizes) <= 3


@pytest.mark.usefixtures("unpolled")
async def test_a_locked_item_delays_no_other_caller(pool: Engine, looks: Looks) -> None:
    with pool.begin() as connection:
        admit(connection, "other", now=NOON, urgent=True)
    answer(pool)
    with pool.connect() as holder:
        holder.execute(text("select from lanes.item where key = 'k' for update")).all()
        async with awaits("held") as (held,), awaits("free", key="other") as (free,):
            found = await asyncio.wait_for(free, WITHIN_S)
            await asyncio.to_thread(looks.until_all, "held")
            assert found is not None
            assert not held.done()
            holder.rollback()
            with pool.begin() as connection:
                admit(connection, "news", now=NOON)
            assert await asyncio.wait_for(held, WITHIN_S) is not None


@pytest.mark.usefixtures("unpolled")
async def test_an_unusable_key_does_not_affect_other_callers(pool: Engine, looks: Looks) -> None:
    async with awaits("desk") as (waiting,):
        await asyncio.to_thread(looks.until_all, "desk")
        with pytest.raises(Refused, match="NUL"):
            await client.await_result("letters", "\0", reader="desk")
        await asyncio.to_thread(answer, pool)
        assert await asyncio.wait_for(waiting, WITHIN_S) is not None


async def test_a_cancelled_caller_does_not_affect_the_others(pool: Engine, looks: Looks) -> None:
    async with awaits("gone", "stays") as (gone, stays):
        await asyncio.to_thread(looks.until_all, "gone", "stays")
        gone.cancel()
        await asyncio.wait({gone})
        await asyncio.to_thread(answer, pool)
        assert await asyncio.wait_for(stays, WITHIN_S) is not None
    with pool.begin() as connection:
        assert row(connection, "read").reader == "stays"


@pytest.mark.slow
async def test_waiting_callers_delay_no_other_call(pool: Engine) -> None:
    """Let eight callers wait, each of which once occupied a thread for its whole wait, while a ninth submits."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    waiting = [
        asyncio.create_task(client.await_result("letters", "k", reader=f"{n}", timeout_s=60))
        for n in range(8)
    ]
    for number in range(20):
        await asyncio.wait_for(client.asubmit("letters", {"text": "x"}, key=f"k{number}"), 10)
    assert not any(each.done() for each in waiting)
    answer(pool)
    for result in await asyncio.wait_for(asyncio.gather(*waiting), 30):
        assert result is not None
        assert result.output == A


@pytest.mark.slow
def test_waiting_callers_share_two_connections_and_close_them(pool: Engine) -> None:
    sessions = text(
        "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    )
    with ThreadPoolExecutor(8) as programs, pool.connect() as observer:
        waiting = [
            programs.submit(client.wait, "letters", "k", reader=f"{n}", timeout_s=60)
            for n in range(8)
        ]
        seen = [observer.execute(sessions).scalar_one() for _ in range(200)]
        answer(pool)
        assert {each.result(30) is not None for each in waiting} == {True}
        assert max(seen) <= 3  # one of them is the test's own
        observer.rollback()
        pool.dispose()
        deadline = (
            monotonic() + WITHIN_S
        )  # Postgres ends a session a moment after its program has disconnected
        while observer.execute(sessions).scalar_one():
            assert monotonic() < deadline
            observer.rollback()


async def test_an_unavailable_database_raises_an_error_at_once() -> None:
    nowhere = "postgresql://nobody@127.0.0.1:9/nothing"
    with Lanes(nowhere) as lanes:
        for verb in (lanes.read_result, lanes.wait):
            with pytest.raises(DatabaseAway, match="refused"):
                verb("letters", "k", reader="desk")
    async with AsyncLanes(nowhere) as alanes:
        for averb in (alanes.read_result, alanes.wait):
            with pytest.raises(DatabaseAway, match="refused"):
                await averb("letters", "k", reader="desk")


async def test_a_database_without_the_lanes_schema_raises_a_setup_error(postgres: Running) -> None:
    bare = postgres.url("template1")
    with Lanes(bare) as lanes:
        for verb in (lanes.read_result, lanes.wait):
            with pytest.raises(SetupError, match="lanes up"):
                verb("letters", "k", reader="desk")
    async with AsyncLanes(bare) as alanes:
        for averb in (alanes.read_result, alanes.wait):
            with pytest.raises(SetupError, match="lanes up"):
                await averb("letters", "k", reader="desk")
