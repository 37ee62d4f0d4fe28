"""The waker: real locks, a chosen clock, and a Prefect that answers over HTTP, or does not."""

from typing import Any

import pytest

from lanes.realtime.waking import CALL_EVERY
from lanes.store.database import Database
from lanes.store.signals import Role, RoleLock
from lanes.words import Lane
from tasks.sweep.errands import Errands
from tasks.sweep.waker import Waker
from tests.conftest import NOON
from tests.flows.sweep.conftest import Put
from tests.prefect_standin import PrefectStandIn
from tests.store.tries import events

AGAIN, THEN = NOON + CALL_EVERY, NOON + 2 * CALL_EVERY


async def calls(db: Database) -> list[dict[str, int]]:
    """What each call for a drain said."""
    return [each.payload for each in await db.run(events, "lanes.work.waiting")]


async def test_work_that_no_drain_serves_although_it_was_called_for_gets_a_run_without_any_trigger(
    db: Database, put: Put, errands: Errands, prefect: PrefectStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANES_KEEP_WARM", "0")
    await put("a", lane=Lane.REALTIME)
    waker = Waker(db, errands)
    await waker.turn(NOON)
    await errands.done()
    assert prefect.asked("answer") == []
    await waker.turn(AGAIN)
    await errands.done()
    assert prefect.asked("answer") == [{}]
    async with RoleLock(db.url, Role.ROUTER) as router:
        assert await router.try_take()
        await waker.turn(THEN)
    assert await calls(db) == [{"ready": 1, "received": 0}] * 2


async def test_a_drain_is_called_for_at_once_and_again_only_when_the_trigger_may_hear_it(
    db: Database, put: Put, errands: Errands
) -> None:
    await put("a", lane=Lane.REALTIME)
    waker = Waker(db, errands)
    for _ in range(3):
        await waker.turn(NOON)
    assert len(await calls(db)) == 1


@pytest.mark.parametrize(("keep_warm", "called"), [("0", 0), ("1", 1)])
async def test_where_nothing_waits_only_the_drain_that_is_kept_warm_is_called_for(
    db: Database, errands: Errands, monkeypatch: pytest.MonkeyPatch, keep_warm: str, called: int
) -> None:
    monkeypatch.setenv("LANES_KEEP_WARM", keep_warm)
    await Waker(db, errands).turn(NOON)
    assert await calls(db) == [{"ready": 0, "received": 0}] * called


@pytest.mark.parametrize("trouble", [{"hangs": True}, {"status": 503}])
async def test_whatever_prefect_does_the_call_stands_in_the_outbox(
    db: Database, put: Put, errands: Errands, prefect: PrefectStandIn, trouble: dict[str, Any]
) -> None:
    prefect.breaks(**trouble)
    await put("a", lane=Lane.REALTIME)
    waker = Waker(db, errands)
    for now in (NOON, AGAIN, THEN):
        await waker.turn(now)
    assert len(await calls(db)) == 3
