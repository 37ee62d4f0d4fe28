"""Standing runs detect a free standing role and request its run: real locks, and a Prefect that answers over HTTP."""

import asyncio
import time
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest
from prefect.exceptions import PrefectException
from sqlalchemy import Engine, text

from lanes.standing import runs
from lanes.standing.roles import STANDING, Role, StandingRun, Vacancies
from lanes.store.database import Database
from lanes.store.signals import CLASS, RoleLock
from tasks.runs import ask_for_run, ask_for_standing
from tasks.standing import Guard, Tenure
from tests.conftest import NOON
from tests.databases import Databases
from tests.prefect_standin import PrefectStandIn
from tests.store.test_signals import cut, wanted

KEEPER, COLLECTOR, WATCHER = STANDING
ALL = {"answer", "collect", "watch"}
SOON_S = 10


def hasty() -> Vacancies:
    """Return vacancies that request a run as soon as its role is seen free."""
    return Vacancies(free_for=timedelta(0))


async def asked(guard: Guard) -> None:
    """Let the guard look once and wait until its requests are answered."""
    await guard.look()
    await asyncio.gather(*guard._asking.values())


@pytest.mark.parametrize("free", STANDING, ids=lambda run: run.flow)
async def test_a_run_is_requested_if_its_role_is_free_and_not_if_its_role_is_held(
    db: Database, prefect: PrefectStandIn, free: StandingRun
) -> None:
    async with AsyncExitStack() as held:
        for each in STANDING:
            if each is not free:
                assert await (
                    await held.enter_async_context(RoleLock(db.url, each.role))
                ).try_take()
        await asked(Guard(db, vacancies=hasty()))
    assert {flow: prefect.asked(flow) for flow in ALL} == {flow: [] for flow in ALL} | {
        free.flow: [free.next.parameters]
    }


async def test_a_role_that_is_free_only_for_a_moment_is_not_requested(
    db: Database, prefect: PrefectStandIn
) -> None:
    guard = Guard(db, every_s=0)
    await asked(guard)
    await asked(guard)
    assert prefect.requests == []


@pytest.mark.slow
async def test_several_guards_request_a_run_once(db: Database, prefect: PrefectStandIn) -> None:
    await asyncio.gather(*(asked(Guard(db, vacancies=hasty())) for _ in range(4)))
    assert {flow: len(prefect.asked(flow)) for flow in ALL} == dict.fromkeys(ALL, 1)


async def test_looks_a_minute_apart_request_a_run_once_while_that_run_is_starting(
    prefect: PrefectStandIn,
) -> None:
    now = datetime.now().astimezone()
    assert await ask_for_standing(COLLECTOR, now)
    assert not await ask_for_standing(COLLECTOR, now + timedelta(minutes=1))
    assert len(prefect.asked("collect")) == 1


@pytest.mark.parametrize(
    ("state", "age_s", "asks"),
    [("RUNNING", 3600, True), ("PENDING", 5, False), ("SCHEDULED", -900, True)],
)
async def test_only_a_run_that_may_still_take_the_role_prevents_a_request(
    prefect: PrefectStandIn, state: str, age_s: float, asks: bool
) -> None:
    prefect.has_run("collect", state, age=timedelta(seconds=age_s))
    assert await ask_for_standing(COLLECTOR, datetime.now().astimezone()) is asks


async def test_a_guard_does_not_repeat_its_request_at_the_next_look(
    db: Database, prefect: PrefectStandIn
) -> None:
    guard = Guard(db, vacancies=hasty(), every_s=0)
    await asked(guard)
    before = len(prefect.requests)
    await asked(guard)
    assert len(prefect.requests) == before


async def test_no_drain_is_requested_if_none_is_kept_warm(
    db: Database, prefect: PrefectStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANES_KEEP_WARM", "0")
    await asked(Guard(db, vacancies=hasty()))
    assert {flow: len(prefect.asked(flow)) for flow in ALL} == {
        "answer": 0,
        "collect": 1,
        "watch": 1,
    }


async def test_a_prefect_that_hangs_delays_no_look_and_is_asked_again(
    db: Database, prefect: PrefectStandIn
) -> None:
    looked = asyncio.Event()

    async def impatient(run: StandingRun, now: datetime) -> bool:
        await looked.wait()  # a look that waited for Prefect would never end
        return await ask_for_standing(run, now, limit_s=0.3 if prefect.hangs else SOON_S)

    prefect.hangs = True
    guard = Guard(db, ask=impatient, vacancies=hasty(), every_s=0)
    async with asyncio.timeout(SOON_S):
        await guard.look()
        await guard.look()
        looked.set()
        await asyncio.gather(*guard._asking.values())
        assert prefect.runs == []
        prefect.heals()
        await asked(guard)
    assert {flow: len(prefect.asked(flow)) for flow in ALL} == dict.fromkeys(ALL, 1)


@pytest.mark.slow
@pytest.mark.parametrize("broken", [{"hangs": True}, {"status": 503}, {"status": 500}])
async def test_a_request_for_a_run_ends_within_its_limit_whatever_prefect_does(
    prefect: PrefectStandIn, broken: dict[str, Any]
) -> None:
    prefect.breaks(**broken)
    began = time.monotonic()
    with pytest.raises((TimeoutError, httpx.HTTPError, PrefectException)):
        await ask_for_run(runs.depart("w"), limit_s=0.5)
    assert time.monotonic() - began < 4  # Prefect's client would retry a 503 for half a minute


async def test_a_closed_guard_leaves_no_request_behind(
    db: Database, prefect: PrefectStandIn
) -> None:
    prefect.hangs = True
    guard = Guard(db, vacancies=hasty())
    await guard.look()
    assert len(guard._asking) == len(ALL)
    async with asyncio.timeout(SOON_S):
        await guard.close()
    assert all(each.done() for each in guard._asking.values())


async def test_a_guard_survives_an_unavailable_database(prefect: PrefectStandIn) -> None:
    async with Database("postgresql+psycopg://nobody@127.0.0.1:1/nowhere") as away:
        await asked(Guard(away, vacancies=hasty()))
    assert prefect.requests == []


async def test_two_requests_with_one_key_make_one_run(prefect: PrefectStandIn) -> None:
    once = runs.depart("w").once_a_minute("deadline w", NOON)
    one, two = await ask_for_run(once), await ask_for_run(once)
    other = await ask_for_run(runs.depart("w"))
    assert one == two != other
    assert prefect.asked("depart") == [{"departure": {"workload": "w"}}] * 2


async def test_a_drain_requests_a_standing_drain_if_the_role_of_the_keeper_is_free(
    db: Database, prefect: PrefectStandIn
) -> None:
    """A standing drain takes over from the drain that requested it, so that one is kept warm."""
    async with RoleLock(db.url, Role.DRAIN) as drain:
        await drain.share()
        await asked(Guard(db, vacancies=hasty()))
    assert prefect.asked("answer") == [KEEPER.next.parameters]


async def test_a_role_that_another_user_holds_opens_an_incident(
    db: Database, databases: Databases, prefect: PrefectStandIn
) -> None:
    guard = Guard(db, vacancies=hasty(), every_s=0)
    address = databases.as_superuser(db.url).replace("+psycopg", "")
    async with await psycopg.AsyncConnection.connect(address, autocommit=True) as foreign:
        await foreign.execute(f"select pg_advisory_lock({CLASS}, {int(Role.WATCHER)})".encode())
        await asked(guard)
        assert await breaches(db) == [("role watcher", "open")]
        await foreign.execute("select pg_advisory_unlock_all()")
    await asked(guard)
    assert await breaches(db) == [("role watcher", "resolved")]
    assert {flow: len(prefect.asked(flow)) for flow in ALL} == dict.fromkeys(ALL, 1)


async def test_a_breach_that_cannot_be_recorded_does_not_prevent_requests_for_other_roles(
    db: Database, databases: Databases, prefect: PrefectStandIn
) -> None:
    await db.run(
        lambda connection: connection.execute(
            text("alter table lanes.incident add check (promise <> 'role_taken')")
        )
    )
    address = databases.as_superuser(db.url).replace("+psycopg", "")
    async with await psycopg.AsyncConnection.connect(address, autocommit=True) as foreign:
        await foreign.execute(f"select pg_advisory_lock({CLASS}, {int(Role.WATCHER)})".encode())
        await asked(Guard(db, vacancies=hasty()))
    assert await breaches(db) == []
    assert {flow: len(prefect.asked(flow)) for flow in ALL} == {
        "answer": 1,
        "collect": 1,
        "watch": 0,
    }


async def breaches(db: Database) -> list[tuple[str, str]]:
    """Return subject and state of the incidents of taken roles."""
    query = "select subject, state from lanes.incident_log where promise = 'role_taken' order by incident_id"
    return await db.run(
        lambda connection: [(row.subject, row.state) for row in connection.execute(text(query))]
    )


async def test_a_run_that_lost_its_role_to_another_stops_ticking(
    db: Database, pool: Engine
) -> None:
    async with (
        Tenure(db, Role.COLLECTOR, every_s=0) as tenure,
        RoleLock(db.url, Role.COLLECTOR) as other,
    ):
        ticks = tenure.ticks()
        assert await anext(ticks) == 0
        cut(pool, Role.COLLECTOR)
        assert await other.try_take()
        with pytest.raises(StopAsyncIteration):
            await anext(ticks)


async def test_a_run_whose_connection_died_takes_its_role_again_and_continues_to_tick(
    db: Database, pool: Engine
) -> None:
    async with (
        Tenure(db, Role.COLLECTOR, every_s=0) as tenure,
        RoleLock(db.url, Role.COLLECTOR) as other,
    ):
        ticks = tenure.ticks()
        assert await anext(ticks) == 0
        cut(pool, Role.COLLECTOR)
        assert await anext(ticks) == 1
        assert not await other.try_take()


async def test_a_run_hands_over_to_the_next_one(db: Database) -> None:
    async with (
        Tenure(db, Role.WATCHER, every_s=0) as tenure,
        RoleLock(db.url, Role.WATCHER) as watcher,
    ):
        ticks = tenure.ticks()
        await anext(ticks)
        taking = asyncio.create_task(watcher.take_over(within_s=SOON_S))
        await wanted(tenure._lock)
        with pytest.raises(StopAsyncIteration):
            await anext(ticks)
        await tenure.__aexit__()
        assert await taking


async def test_a_standing_run_checks_the_other_roles_even_during_a_long_tick(
    db: Database, pool: Engine
) -> None:
    asked: asyncio.Queue[str] = asyncio.Queue()

    async def ask(run: StandingRun, _: object) -> bool:
        asked.put_nowait(run.flow)
        return True

    guard = Guard(db, ask=ask, vacancies=Vacancies(free_for=timedelta(0)), every_s=0.01)
    async with (
        RoleLock(db.url, Role.KEEPER) as keeper,
        RoleLock(db.url, Role.COLLECTOR) as collector,
    ):
        assert await keeper.try_take()
        assert await collector.try_take()
        async with Tenure(db, Role.WATCHER, every_s=0, guard=guard) as tenure:
            async for _ in tenure.ticks():
                await collector.__aexit__()
                async with asyncio.timeout(SOON_S):
                    while await asked.get() != "collect":
                        pass
                break
