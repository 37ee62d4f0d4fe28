"""The early-departure clerk: a chosen clock, and a Prefect that answers over HTTP, or does not."""

from lanes.store.database import Database
from lanes.words import Lane
from tasks.sweep.departure_clerk import DepartureClerk
from tasks.sweep.errands import Errands
from tests.conftest import NOON, later
from tests.flows.conftest import until
from tests.flows.sweep.conftest import Put
from tests.prefect_standin import PrefectStandIn

WINDOW_MISSES = later(hours=11, minutes=1)  # the window opens at 22:00, and a batch takes an hour
DEPARTURE = {"departure": {"workload": "letters"}}


async def test_an_early_run_of_submit_is_asked_for_once_a_minute(
    db: Database, put: Put, errands: Errands, prefect: PrefectStandIn
) -> None:
    await put("a", lane=Lane.BATCH, due_at=WINDOW_MISSES)
    clerk = DepartureClerk(db, errands)
    for s in (0, 30, 59, 60):
        await clerk.turn(later(seconds=s))
        await errands.done()
    assert prefect.asked("depart") == [DEPARTURE] * 2
    assert {each.key for each in prefect.runs} == {
        "deadline letters 2026-11-24T12:00",
        "deadline letters 2026-11-24T12:01",
    }


async def test_nothing_is_asked_for_that_the_schedule_sends_in_time(
    db: Database, put: Put, errands: Errands, prefect: PrefectStandIn
) -> None:
    await put("a", lane=Lane.BATCH, due_at=later(hours=24))
    await DepartureClerk(db, errands).turn(NOON)
    await errands.done()
    assert prefect.requests == []


async def test_a_prefect_that_fails_is_asked_again(
    db: Database, put: Put, errands: Errands, prefect: PrefectStandIn
) -> None:
    prefect.status = 500
    await put("a", lane=Lane.BATCH, due_at=WINDOW_MISSES)
    clerk = DepartureClerk(db, errands)
    await clerk.turn(NOON)
    await errands.done()
    prefect.heals()
    await clerk.turn(NOON)
    await errands.done()
    assert prefect.asked("depart") == [DEPARTURE]


async def test_a_prefect_that_hangs_is_asked_once_at_a_time(
    db: Database, put: Put, errands: Errands, prefect: PrefectStandIn
) -> None:
    prefect.hangs = True
    await put("a", lane=Lane.BATCH, due_at=WINDOW_MISSES)
    clerk = DepartureClerk(db, errands)
    await clerk.turn(NOON)
    await until(lambda: prefect.requests)
    asked = len(prefect.requests)
    await clerk.turn(NOON)
    await clerk.turn(NOON)
    assert len(prefect.requests) == asked
