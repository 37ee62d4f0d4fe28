"""Each step of the sweep stands alone: real locks, a real endpoint, and a Prefect that answers over HTTP, or does not."""

import asyncio
import time
from datetime import timedelta

import pytest
from sqlalchemy import Connection

from lanes.store import work
from lanes.store.batch import ready_work
from lanes.store.doors import amendments
from lanes.store.signals import Role, RoleLock, holder_exists
from lanes.words import Lane
from tasks import sweep
from tasks.connections import Connections
from tasks.submit import prepare
from tasks.sweep import Sweeper, sweeping
from tests.flows.conftest import Log, Sender, until
from tests.prefect_standin import PrefectStandIn
from tests.standin.process import Endpoint

PROMPTLY_S = 3


async def abandoned(at: Connections, sender: Sender, key: str) -> None:
    """A claim whose lease is over lies there, from a drain that is gone."""
    await sender.items(key, lane=Lane.REALTIME)
    long_ago = await at.db.now() - timedelta(hours=1)
    claimed = await at.db.run(
        work.claim, Lane.REALTIME, {"letters": 1}, worker="gone", lease=timedelta(0), now=await at.db.now()
    )
    assert len(claimed) == 1
    await at.db.run(lambda c: c.exec_driver_sql("update lanes.work set lease_until = %s", (long_ago,)))


async def intended(at: Connections, sender: Sender) -> None:
    """A batch whose create brought no answer is unresolved."""
    await sender.items("in batch", lane=Lane.BATCH)
    (kind,) = await at.db.run(ready_work.waiting_kinds, None, now=await at.db.now())
    assert await prepare(at, kind, now=await at.db.now())


def press(connection: Connection, **_: object) -> list[str]:
    """A deadline presses, whatever the hour of the day."""
    return ["letters"]


def broken(connection: Connection, **_: object) -> None:
    raise RuntimeError("this step is broken")


@pytest.fixture(autouse=True)
def _pressed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "pressing", press)


async def test_without_the_providers_list_every_other_step_is_taken(
    at: Connections, endpoint: Endpoint, sender: Sender, prefect: PrefectStandIn
) -> None:
    await intended(at, sender)
    await abandoned(at, sender, "a")
    endpoint.fault("batches.list", "status", status=500)
    async with sweeping(at) as sweeper:
        await sweeper.sweep()
        await until(lambda: prefect.asked("submit"))
        assert (await sender.states())["a"] == "routed"
        await until(lambda: endpoint.control("GET", "faults")["data"][0]["hits"])


async def test_a_list_that_hangs_holds_up_no_sweep_and_is_asked_for_once_at_a_time(
    at: Connections, endpoint: Endpoint, sender: Sender, prefect: PrefectStandIn
) -> None:
    await intended(at, sender)
    endpoint.fault("batches.list", "latency", latency_s=30)
    began = time.monotonic()
    async with sweeping(at) as sweeper:
        await sweeper.sweep()
        await until(lambda: endpoint.control("GET", "faults")["data"][0]["hits"])
        await sweeper.sweep()
        await sweeper.sweep()
        assert endpoint.control("GET", "faults")["data"][0]["hits"] == 1
        assert await at.db.run(holder_exists, Role.SUBMITTER)
    assert time.monotonic() - began < 2 * PROMPTLY_S
    async with RoleLock(at.db.url, Role.SUBMITTER) as submitter:
        assert await submitter.take_over(within_s=PROMPTLY_S)


async def test_a_broken_step_ends_neither_the_sweep_nor_the_steps_behind_it(
    at: Connections, sender: Sender, prefect: PrefectStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "abandoned", broken)
    monkeypatch.setattr(amendments, "apply_waiting", broken)
    async with sweeping(at) as sweeper:
        await sweeper.sweep()
        await until(lambda: prefect.asked("submit"))


@pytest.mark.parametrize("trouble", [{"hangs": True}, {"status": 503}])
async def test_whatever_prefect_does_a_sweep_ends_promptly(
    at: Connections, sender: Sender, prefect: PrefectStandIn, trouble: dict[str, object]
) -> None:
    for name, value in trouble.items():
        setattr(prefect, name, value)
    await abandoned(at, sender, "a")
    began = time.monotonic()
    async with sweeping(at) as sweeper:
        await sweeper.sweep()
        await sweeper.sweep()
    assert time.monotonic() - began < PROMPTLY_S
    assert (await sender.states())["a"] == "routed"


async def test_an_early_submit_is_asked_for_once_a_minute(at: Connections, prefect: PrefectStandIn) -> None:
    async with sweeping(at) as sweeper:
        for _ in range(3):
            await sweeper.sweep()
            await asyncio.gather(*sweeper._beside.values())
    keys = {each.key for each in prefect.runs}
    assert prefect.asked("submit") == [{"departure": {"workload": "letters"}}] * len(keys)
    assert len(keys) in (1, 2)  # two when the minute ended meanwhile


async def test_work_that_no_drain_serves_although_it_was_called_for_gets_a_run_without_any_trigger(
    at: Connections, sender: Sender, prefect: PrefectStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "CALL_EVERY", timedelta(0))
    monkeypatch.setenv("LANES_KEEP_WARM", "0")
    await sender.items("a", lane=Lane.REALTIME)
    async with sweeping(at) as sweeper, RoleLock(at.db.url, Role.ROUTER) as router:
        await sweeper.sweep()
        assert prefect.asked("answer") == []
        await sweeper.sweep()
        await until(lambda: prefect.asked("answer"))
        assert await router.try_take()
        called = await calls(sender)
        await sweeper.sweep()
        assert await calls(sender) == called == 2


async def calls(sender: Sender) -> int:
    """How often drains were called for."""
    ((number,),) = await sender.rows("select count(*) from lanes.event_outbox where event = 'lanes.work.waiting'")
    assert isinstance(number, int)
    return number


async def test_a_sweep_that_takes_a_step_again_says_its_trouble_once(
    at: Connections, prefect: PrefectStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    sweeper = Sweeper(at)
    monkeypatch.setattr(work, "abandoned", broken)
    monkeypatch.setattr("tasks.troubles.get_run_logger", lambda: Log(said))
    await sweeper.sweep()
    await sweeper.sweep()
    await sweeper.close()
    assert [each for each in said if "this step is broken" in each] == said[:1]
