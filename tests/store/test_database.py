"""Transactions of asynchronous callers, and the clock that each hands out."""

from datetime import timedelta

from sqlalchemy import func, select

from lanes.store.database import Database, clock
from tests.passing_time import PassingTime


async def test_a_transaction_hands_out_the_databases_time_read_inside_it(database_url: str) -> None:
    async with Database(database_url) as db:
        before = await db.now()
        async with db.transaction() as run:
            began = await run(
                lambda connection: connection.execute(
                    select(func.transaction_timestamp())
                ).scalar_one()
            )
            assert before < began <= run.now <= await run(clock)
            assert run.now.utcoffset() is not None
        async with db.transaction() as after:
            assert run.now < after.now < run.now + timedelta(minutes=1)


async def test_everything_done_through_it_happens_at_the_time_that_its_clock_tells(
    db: Database, passing_time: PassingTime
) -> None:
    before = await db.now()
    passing_time.passes(hours=25)
    async with db.transaction() as run:
        assert timedelta(hours=25) < run.now - before < timedelta(hours=25, minutes=1)
    assert await db.now() > run.now
