"""A standing run ticks, hands over, and knows when it lost its role."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import Engine

from lanes.standing.roles import Role, StandingRun, Vacancies
from lanes.store.database import Database
from lanes.store.signals import RoleLock
from tasks.standing import Guard, Tenure
from tests.store.test_signals import cut, wanted

SOON_S = 10


async def test_a_run_that_lost_its_role_to_another_ticks_no_more(
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


async def test_a_run_whose_connection_died_ticks_on_with_its_role_taken_anew(
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


async def test_a_standing_run_looks_after_the_others_even_while_a_tick_takes_long(
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
