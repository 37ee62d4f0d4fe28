"""The rescuer: a chosen clock, and claims of a worker that went away."""

from datetime import timedelta

from lanes.store import work
from lanes.store.database import Database
from lanes.words import Lane
from tasks.sweep.rescuer import Rescuer
from tests.conftest import NOON, later
from tests.flows.sweep.conftest import Put
from tests.store.tries import row, rows


async def test_work_whose_lease_ran_out_is_ready_again_and_its_lost_try_is_told(db: Database, put: Put) -> None:
    await put("a", lane=Lane.REALTIME)
    await db.run(work.claim, Lane.REALTIME, {"letters": 1}, worker="gone", lease=timedelta(minutes=1), now=NOON)
    await Rescuer(db).turn(later(seconds=60))
    assert (await db.run(row, "work")).state == "claimed"
    await Rescuer(db).turn(later(seconds=61))
    assert (await db.run(row, "work")).state == "ready"
    assert [each.outcome for each in await db.run(rows, "attempt_log")] == ["unknown"]
