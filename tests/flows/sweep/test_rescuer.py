"""The rescuer: a chosen clock, and claims of a worker that went away."""

from datetime import timedelta

import pytest
from prefect.logging import disable_run_logger

from lanes.store import work
from lanes.store.database import Database
from lanes.words import Lane
from tasks.sweep.rescuer import Rescuer
from tests.conftest import NOON, later
from tests.flows.sweep.conftest import Put
from tests.flows.test_saving import refuse
from tests.store.tries import row, rows


async def test_work_whose_lease_ran_out_is_ready_again_and_its_lost_try_is_told(
    db: Database, put: Put
) -> None:
    await put("a", lane=Lane.REALTIME)
    await db.run(
        work.claim,
        Lane.REALTIME,
        {"letters": 1},
        worker="gone",
        lease=timedelta(minutes=1),
        now=NOON,
    )
    await Rescuer(db).turn(later(seconds=60))
    assert (await db.run(row, "work")).state == "claimed"
    await Rescuer(db).turn(later(seconds=61))
    assert (await db.run(row, "work")).state == "ready"
    assert [each.outcome for each in await db.run(rows, "attempt_log")] == ["unknown"]


async def test_a_lost_claim_that_the_database_refuses_blocks_no_other(
    db: Database, put: Put
) -> None:
    await put("bad", "a", "b", lane=Lane.REALTIME)
    await db.run(
        work.claim,
        Lane.REALTIME,
        {"letters": 3},
        worker="gone",
        lease=timedelta(minutes=1),
        now=NOON,
    )
    (bad,) = [each.id for each in await db.run(rows, "work", "id")][:1]
    await db.run(refuse, "attempt", f"new.work_id = {bad}")
    with disable_run_logger():
        await Rescuer(db).turn(later(minutes=2))
    assert [each.state for each in await db.run(rows, "work", "id")] == [
        "claimed",
        "ready",
        "ready",
    ]


async def test_a_lost_claim_of_a_model_without_a_price_blocks_no_other(
    db: Database, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unpriced(*_: object, **__: object) -> None:
        raise LookupError

    await put("a", "b", lane=Lane.REALTIME)
    await db.run(
        work.claim,
        Lane.REALTIME,
        {"letters": 2},
        worker="gone",
        lease=timedelta(minutes=1),
        now=NOON,
    )
    monkeypatch.setattr(work, "upper_bound", unpriced)
    await Rescuer(db).turn(later(minutes=2))
    assert {each.state for each in await db.run(rows, "work")} == {"ready"}
