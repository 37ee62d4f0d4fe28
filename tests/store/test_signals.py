"""Roles that one process holds at a time, and notifications of commits."""

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest
from psycopg import OperationalError
from sqlalchemy import Connection, Engine, text

from lanes.store import outbox
from lanes.store.asking import plain_url
from lanes.store.database import Database
from lanes.store.doors import items
from lanes.store.signals import Role, RoleLock, holder_exists, holders, list_held_roles, listening
from tests.conftest import NOON
from tests.examples import admit, publish, route, submission

HEARD_WITHIN_S = 10


async def wanted(holder: RoleLock) -> None:
    """Wait until another process wants the role."""
    async with asyncio.timeout(HEARD_WITHIN_S):
        while not await holder.is_wanted_by_another():
            pass


async def test_only_one_process_holds_a_role(pool: Engine, database_url: str) -> None:
    async with (
        RoleLock(database_url, Role.ROUTER) as one,
        RoleLock(database_url, Role.ROUTER) as two,
    ):
        assert await one.try_take()
        assert await one.try_take()  # still ours
        assert not await two.try_take()
        with pool.connect() as connection:
            assert holder_exists(connection, Role.ROUTER)


async def test_roles_are_independent_of_each_other(pool: Engine, database_url: str) -> None:
    async with (
        RoleLock(database_url, Role.ROUTER) as one,
        RoleLock(database_url, Role.KEEPER) as two,
    ):
        assert await one.try_take()
        assert await two.try_take()
        with pool.connect() as connection:
            assert not holder_exists(connection, Role.WATCHER)


async def test_a_role_is_free_when_its_holder_is_gone(pool: Engine, database_url: str) -> None:
    async with RoleLock(database_url, Role.ROUTER) as one:
        await one.try_take()
    assert not one.held
    async with RoleLock(database_url, Role.ROUTER) as two:
        assert await two.take_over(within_s=HEARD_WITHIN_S)
    with pool.connect() as connection:
        assert not holder_exists(connection, Role.ROUTER)


async def test_a_killed_holder_frees_its_role(pool: Engine, database_url: str) -> None:
    async with (
        RoleLock(database_url, Role.COLLECTOR) as one,
        RoleLock(database_url, Role.COLLECTOR) as two,
    ):
        await one.try_take()
        with pool.begin() as connection:
            connection.execute(
                text("select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory'")
            )
        assert await two.take_over(within_s=HEARD_WITHIN_S)


def cut(pool: Engine, role: Role) -> None:
    """End the sessions of all processes that hold the role or wait for it; the processes live on."""
    ended = text(
        "select pg_terminate_backend(pid, 5000) from pg_locks where locktype = 'advisory' and objid = :role"
    )
    with pool.begin() as connection:
        assert connection.execute(ended, {"role": int(role)}).scalars().all()


async def test_a_holder_whose_connection_died_notices_that_another_has_taken_its_role(
    pool: Engine, database_url: str
) -> None:
    async with (
        RoleLock(database_url, Role.ROUTER) as one,
        RoleLock(database_url, Role.ROUTER) as two,
    ):
        assert await one.try_take()
        assert await one.holds()
        cut(pool, Role.ROUTER)
        assert await two.try_take()
        assert not await one.try_take()
        assert not one.held
        assert await two.holds()


async def test_a_holder_whose_connection_died_reports_the_loss_before_it_retakes_the_role(
    pool: Engine, database_url: str
) -> None:
    async with RoleLock(database_url, Role.COLLECTOR) as one:
        await one.take_over(within_s=HEARD_WITHIN_S)
        cut(pool, Role.COLLECTOR)
        assert not await one.holds()
        assert not one.held
        assert await one.keep()
        with pool.connect() as connection:
            assert holder_exists(connection, Role.COLLECTOR)


@pytest.mark.parametrize("look", ["is_wanted_by_another", "share"])
async def test_the_first_call_after_a_lost_session_corrects_whether_the_role_is_held(
    pool: Engine, database_url: str, look: str
) -> None:
    async with RoleLock(database_url, Role.DRAIN) as one:
        await one.share()
        cut(pool, Role.DRAIN)
        await getattr(one, look)()
        with pool.connect() as connection:
            assert one.held is holder_exists(connection, Role.DRAIN) is (look == "share")


async def test_a_wait_for_a_role_outlives_its_connection(pool: Engine, database_url: str) -> None:
    async with (
        RoleLock(database_url, Role.WATCHER) as next_one,
        RoleLock(database_url, Role.WATCHER) as holder,
    ):
        await holder.try_take()
        taking = asyncio.create_task(next_one.take_over(within_s=HEARD_WITHIN_S))
        await wanted(holder)
        cut(pool, Role.WATCHER)
        assert await taking
        assert not await holder.try_take()


async def test_keeping_a_role_without_a_database_raises_an_error_and_gives_up_the_role(
    pool: Engine, database_url: str
) -> None:
    async with RoleLock(database_url, Role.WATCHER) as one:
        await one.try_take()
        one._url = "postgresql://nobody@127.0.0.1:1/nowhere"
        cut(pool, Role.WATCHER)
        with pytest.raises(OperationalError):
            await one.keep(within_s=0)
        assert not one.held


async def test_canceling_the_opening_of_a_lock_leaves_no_session(
    pool: Engine, database_url: str
) -> None:
    async def open_and_close() -> None:
        async with RoleLock(database_url, Role.SUBMITTER):
            pass

    sessions = text(
        "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    )
    with pool.connect() as connection:
        before = connection.execute(sessions).scalar_one()
    for steps in range(12):
        opening = asyncio.create_task(open_and_close())
        for _ in range(steps):
            await asyncio.sleep(0)
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)
    async with asyncio.timeout(HEARD_WITHIN_S):
        with pool.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            while True:
                if connection.execute(sessions).scalar_one() == before:
                    break
                await asyncio.sleep(0.02)


async def test_list_held_roles_returns_the_given_roles_that_are_held(
    pool: Engine, database_url: str
) -> None:
    async with (
        RoleLock(database_url, Role.COLLECTOR) as one,
        RoleLock(database_url, Role.WATCHER) as two,
    ):
        await one.try_take()
        await two.try_take()
        with pool.connect() as connection:
            assert list_held_roles(connection, {Role.KEEPER, Role.COLLECTOR, Role.WATCHER}) == {
                Role.COLLECTOR,
                Role.WATCHER,
            }
            assert list_held_roles(connection, {Role.KEEPER, Role.COLLECTOR}) == {Role.COLLECTOR}


async def test_a_role_passes_to_the_process_that_waits_for_it(database_url: str) -> None:
    async with RoleLock(database_url, Role.COLLECTOR) as next_one:
        async with RoleLock(database_url, Role.COLLECTOR) as holder:
            assert await holder.try_take()
            assert not await holder.is_wanted_by_another()
            taking = asyncio.create_task(next_one.take_over(within_s=HEARD_WITHIN_S))
            await wanted(holder)
        assert await taking
        assert next_one.held


@pytest.mark.parametrize("within_s", [0.001, 0.0001, 0])
async def test_waiting_for_a_role_ends_at_its_time_limit(
    database_url: str, within_s: float
) -> None:
    async with (
        RoleLock(database_url, Role.WATCHER) as holder,
        RoleLock(database_url, Role.WATCHER) as other,
    ):
        await holder.try_take()
        async with asyncio.timeout(HEARD_WITHIN_S):
            assert not await other.take_over(within_s=within_s)
        assert not other.held


async def test_roles_of_two_databases_do_not_conflict(pool: Engine, database_url: str) -> None:
    other = database_url.rsplit("/", 1)[0] + "/lanes"
    async with (
        RoleLock(database_url, Role.SUBMITTER) as here,
        RoleLock(other, Role.SUBMITTER) as there,
    ):
        assert await here.try_take()
        assert await there.try_take()


def arrive(connection: Connection) -> None:
    items.admit(connection, [submission("k")], door="client", now=NOON)


def decide(connection: Connection) -> None:
    admit(connection, "k", now=NOON)
    route(connection, now=NOON)


@pytest.mark.parametrize("something", [arrive, decide])
async def test_a_commit_of_another_connection_notifies_the_listener(
    pool: Engine, database_url: str, something
) -> None:
    with pool.begin() as setup:
        publish(setup, now=NOON)
    async with listening(database_url) as heard:
        with pool.connect() as rolled_back:
            something(rolled_back)
            rolled_back.rollback()
        assert not heard.is_set()
        with pool.begin() as committed:
            something(committed)
        async with asyncio.timeout(HEARD_WITHIN_S):
            await heard.wait()


async def test_a_transaction_with_several_events_notifies_the_publisher_once(pool: Engine) -> None:
    with pool.connect() as hears, pool.begin() as writes:
        hears.execute(text("listen lanes"))
        hears.commit()
        for name in ("one", "two"):
            outbox.add(
                writes, [outbox.EventOut(name, "r", {}), outbox.EventOut(name, "r", {})], now=NOON
            )
        outbox.add(writes, [], now=NOON)
        writes.commit()
        driver = hears.connection.driver_connection
        assert driver is not None
        assert [each.payload for each in driver.notifies(timeout=HEARD_WITHIN_S, stop_after=1)] == [
            ""
        ]
        assert list(driver.notifies(timeout=0)) == []


async def test_a_lost_connection_wakes_the_listener(pool: Engine, database_url: str) -> None:
    async with listening(database_url) as heard:
        with pool.begin() as connection:
            connection.execute(
                text(
                    "select pg_terminate_backend(pid) from pg_stat_activity where query like 'listen%'"
                )
            )
        async with asyncio.timeout(HEARD_WITHIN_S):
            await heard.wait()


async def test_a_listener_whose_connection_died_reconnects_and_receives_notifications_again(
    pool: Engine, database_url: str
) -> None:
    with pool.begin() as setup:
        publish(setup, now=NOON)
    listeners = "from pg_stat_activity where datname = current_database() and query like 'listen%'"
    async with listening(database_url) as heard, asyncio.timeout(HEARD_WITHIN_S):
        with pool.begin() as connection:
            assert (
                connection.execute(text(f"select pg_terminate_backend(pid, 5000) {listeners}"))
                .scalars()
                .all()
            )
        listens = 0
        while not listens:
            await heard.wait()
            heard.clear()
            with pool.begin() as connection:
                listens = connection.execute(text(f"select count(*) {listeners}")).scalar_one()
        for key in ("one", "two", "three"):  # the new connection itself sets the event once
            with pool.begin() as committed:
                items.admit(committed, [submission(key)], door="client", now=NOON)
            await heard.wait()
            heard.clear()


async def test_writes_of_an_asynchronous_caller_are_committed_completely_or_not_at_all(
    database_url: str,
) -> None:
    def add(connection: Connection) -> None:
        outbox.add(connection, [outbox.EventOut("lanes.one", "r", {})], now=NOON)

    def add_and_fail(connection: Connection) -> None:
        add(connection)
        raise RuntimeError("half way")

    async with Database(database_url) as database:
        await database.run(add)
        with pytest.raises(RuntimeError, match="half way"):
            await database.run(add_and_fail)
        async with database.transaction() as run:
            await run(add)
            taken = await run(
                outbox.take, 10, publisher="us", lease=timedelta(seconds=15), now=NOON
            )
            assert len(taken.events) == 2
        assert (await database.now()).tzinfo is not None


def test_an_address_for_psycopg_contains_its_password() -> None:
    assert plain_url("postgresql+psycopg://me:s%40cret@h:1/d") == "postgresql://me:s%40cret@h:1/d"


async def test_drains_share_a_role_and_can_be_counted(database_url: str, pool: Engine) -> None:
    async with RoleLock(database_url, Role.DRAIN) as one:
        await one.share()
        async with RoleLock(database_url, Role.DRAIN) as other:
            await other.share()
            with pool.begin() as connection:
                assert holders(connection, Role.DRAIN) == 2
        with pool.begin() as connection:
            assert holders(connection, Role.DRAIN) == 1


async def test_each_process_that_shares_a_role_counts_the_younger_ones(database_url: str) -> None:
    async with AsyncExitStack() as stack:
        drains = [RoleLock(database_url, Role.DRAIN) for _ in range(3)]
        for each in drains:
            await (await stack.enter_async_context(each)).share()
        assert [await each.count_sharers() for each in drains] == [(3, 2), (3, 1), (3, 0)]
        await drains[0].release()
        assert await drains[1].count_sharers() == (2, 1)
        await drains[0].share()  # with a new session
        assert [await each.count_sharers() for each in drains] == [(3, 0), (3, 2), (3, 1)]
