"""Every duty of a sweep has its own turn: real locks, a real endpoint, and a Prefect that is in trouble."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from anthropic_standin.testing import Endpoint
from lanes.store import work
from lanes.store.batch import ready_work
from lanes.words import Lane
from tasks.connections import Connections
from tasks.send_batch import prepare
from tasks.sweep import BackgroundRequests, Duty, Sweeper, duties, sweeping
from tests.conftest import NOON, later
from tests.flows.conftest import RunLog, Sender, until
from tests.passing_time import PassingTime
from tests.prefect_standin import PrefectStandIn

PROMPTLY_S = 3


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the warnings of the run's log."""
    warnings: list[str] = []
    monkeypatch.setattr("tasks.runs.get_run_logger", lambda: RunLog(warnings))
    return warnings


async def hang() -> None:
    await asyncio.Event().wait()


async def break_down() -> None:
    raise RuntimeError("broken")


async def test_requests_of_one_name_run_one_at_a_time_and_other_requests_run_concurrently(
    said: list[str],
) -> None:
    background, begun = BackgroundRequests(), list[str]()

    async def begin(name: str) -> None:
        begun.append(name)
        await hang()

    for name in ("a", "a", "b"):
        background.send(name, lambda name=name: begin(name), within_s=60)
        await asyncio.sleep(0)
    assert begun == ["a", "b"]
    async with asyncio.timeout(5):
        await background.close()


async def test_a_request_that_hangs_ends_within_its_limit_and_is_logged(said: list[str]) -> None:
    background = BackgroundRequests()
    background.send("slow", hang, within_s=0.01)
    async with asyncio.timeout(5):
        await background.wait()
    assert said == ["slow: tried again at the next sweep (TimeoutError)"]


async def test_a_repeated_failure_is_logged_once_until_it_has_ended(said: list[str]) -> None:
    background = BackgroundRequests()
    for act in (break_down, break_down, lambda: asyncio.sleep(0), break_down):
        await background.alone("it", act, within_s=60)
    assert said == ["it: tried again at the next sweep (RuntimeError: broken)"] * 2


def watched(duty: Duty, turns: list[str]) -> Duty:
    """Return the duty, which adds its name to `turns` after each successful turn."""

    async def act(now: datetime) -> None:
        await duty.act(now)
        turns.append(duty.name)

    return replace(duty, act=act)


async def idle(_: datetime) -> None:
    pass


async def breaks(_: datetime) -> None:
    await break_down()


async def hangs(_: datetime) -> None:
    await hang()


@pytest.mark.slow
@pytest.mark.parametrize("act", [breaks, hangs])
async def test_a_duty_that_fails_or_hangs_ends_neither_another_duty_nor_the_sweep(
    at: Connections, prefect: PrefectStandIn, act: Callable[[datetime], Awaitable[None]]
) -> None:
    for place in range(len(duties(at, BackgroundRequests()))):
        background, turns = BackgroundRequests(), list[str]()
        of = [watched(each, turns) for each in duties(at, background)]
        of[place] = replace(of[place], act=act, within_s=0.05)
        async with asyncio.timeout(PROMPTLY_S):
            await Sweeper(at.db, of, background).sweep()
        await background.wait()
        assert turns == [each.name for each in of if each is not of[place]]


async def test_a_duty_that_is_not_due_has_no_turn(at: Connections) -> None:
    turns = list[str]()
    rare, eager = Duty("rare", idle, every=timedelta(hours=1)), Duty("eager", idle)
    of = [watched(each, turns) for each in (rare, eager)]
    sweeper = Sweeper(at.db, of, BackgroundRequests())
    await sweeper.sweep()
    await sweeper.sweep()
    assert turns == ["rare", "eager", "eager"]
    assert not rare.is_due(NOON, later(minutes=59.9))
    assert rare.is_due(NOON, later(hours=1))


@pytest.fixture
async def neglected(at: Connections, sender: Sender, passing_time: PassingTime) -> None:
    """Leave a batch without an answer, batch work that was put off until now, and a claim whose lease has expired."""
    await sender.items("in batch", lane=Lane.BATCH)
    now = await at.db.now()
    (kind,) = await at.db.run(ready_work.list_waiting_kinds, None, now=now)
    assert await prepare(at, kind, now=now)
    await sender.items("late", lane=Lane.BATCH)
    await at.db.run(ready_work.put_off, {"letters": now}, of=None)
    await sender.items("a", lane=Lane.REALTIME)
    lost = await at.db.run(
        work.claim,
        Lane.REALTIME,
        {"letters": 1},
        worker="gone",
        lease=timedelta(0),
        now=await at.db.now(),
    )
    assert len(lost) == 1
    passing_time.passes(seconds=30)  # no lease ends shortly after the start of the server


@pytest.mark.usefixtures("neglected")
async def test_without_the_providers_list_every_other_duty_is_done(
    at: Connections, endpoint: Endpoint, sender: Sender, prefect: PrefectStandIn
) -> None:
    endpoint.fault("batches.list", "status", status=500)
    async with sweeping(at) as sweeper:
        await sweeper.sweep()
        await until(lambda: prefect.asked("depart"))
        assert (await sender.states())["a"] == "routed"
        await until(lambda: endpoint.control("GET", "faults")["data"][0]["hits"])


@pytest.mark.usefixtures("neglected")
async def test_a_list_that_hangs_delays_no_sweep(
    at: Connections, endpoint: Endpoint, prefect: PrefectStandIn
) -> None:
    endpoint.fault("batches.list", "latency", latency_s=30)
    began = time.monotonic()
    async with sweeping(at) as sweeper:
        await sweeper.sweep()
        await until(lambda: endpoint.control("GET", "faults")["data"][0]["hits"])
        await sweeper.sweep()
    assert time.monotonic() - began < 2 * PROMPTLY_S


@pytest.mark.usefixtures("neglected")
@pytest.mark.parametrize("trouble", [{"hangs": True}, {"status": 503}])
async def test_a_sweep_ends_promptly_whatever_prefect_does(
    at: Connections, sender: Sender, prefect: PrefectStandIn, trouble: dict[str, Any]
) -> None:
    prefect.breaks(**trouble)
    began = time.monotonic()
    async with sweeping(at) as sweeper:
        await sweeper.sweep()
        await sweeper.sweep()
    assert time.monotonic() - began < PROMPTLY_S
    assert (await sender.states())["a"] == "routed"
