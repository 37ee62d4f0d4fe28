"""Everybody of the sweep has a turn, and each stands alone: real locks, a real endpoint, and a Prefect that is in trouble."""

import asyncio
import time
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from anthropic_standin.testing import Endpoint
from lanes.standing.duty import Duty
from lanes.store import work
from lanes.store.batch import deadlines, ready_work
from lanes.words import Lane
from tasks.connections import Connections
from tasks.send_batch import prepare
from tasks.sweep.errands import Errands
from tasks.sweep.sweeper import Person, Sweeper, everybody, sweeping
from tests.flows.conftest import Sender, until
from tests.prefect_standin import PrefectStandIn

PROMPTLY_S = 3


class Watched:
    """One of the people, and how many turns of it went well."""

    def __init__(self, person: Person) -> None:
        self._person, self.duty, self.turns = person, person.duty, 0

    async def turn(self, now: datetime) -> None:
        await self._person.turn(now)
        self.turns += 1


class Idle:
    """Somebody without anything to do."""

    def __init__(self, duty: Duty) -> None:
        self.duty = duty

    async def turn(self, _: datetime) -> None:
        return


class Breaks(Idle):
    """Somebody who breaks."""

    async def turn(self, _: datetime) -> None:
        raise RuntimeError(f"{self.duty.name} is ill")


class Hangs(Idle):
    """Somebody whose turn never ends by itself."""

    def __init__(self, duty: Duty) -> None:
        super().__init__(replace(duty, within_s=0.05))

    async def turn(self, _: datetime) -> None:
        await asyncio.Event().wait()


@pytest.mark.parametrize("illness", [Breaks, Hangs])
async def test_one_who_breaks_or_hangs_ends_neither_anybody_else_nor_the_tick(
    at: Connections, prefect: PrefectStandIn, illness: type[Idle]
) -> None:
    for place in range(len(everybody(at, Errands()))):
        errands = Errands()
        people = everybody(at, errands)
        ill, well = people[place], [Watched(each) for each in people if each is not people[place]]
        async with asyncio.timeout(PROMPTLY_S):
            await Sweeper(at.db, [*well[:place], illness(ill.duty), *well[place:]], errands).sweep()
        await errands.done()
        assert {each.duty.name: each.turns for each in well} == {
            each.duty.name: 1 for each in people if each is not ill
        }


async def test_one_whose_time_has_not_come_has_no_turn(at: Connections) -> None:
    rare, eager = (
        Watched(Idle(Duty("rare", every=timedelta(hours=1)))),
        Watched(Idle(Duty("eager"))),
    )
    sweeper = Sweeper(at.db, [rare, eager], Errands())
    await sweeper.sweep()
    await sweeper.sweep()
    assert (rare.turns, eager.turns) == (1, 2)


@pytest.fixture
async def neglected(at: Connections, sender: Sender) -> None:
    """A batch without an answer, batch work that was put off until now, and a claim whose lease is over."""
    await sender.items("in batch", lane=Lane.BATCH)
    now = await at.db.now()
    (kind,) = await at.db.run(ready_work.waiting_kinds, None, now=now)
    assert await prepare(at, kind, now=now)
    await sender.items("late", lane=Lane.BATCH)
    await at.db.run(deadlines.put_off, {"letters": now}, of=None)
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


@pytest.mark.usefixtures("neglected")
async def test_without_the_providers_list_everybody_else_sees_to_what_is_neglected(
    at: Connections, endpoint: Endpoint, sender: Sender, prefect: PrefectStandIn
) -> None:
    endpoint.fault("batches.list", "status", status=500)
    async with sweeping(at) as sweeper:
        await sweeper.sweep()
        await until(lambda: prefect.asked("depart"))
        assert (await sender.states())["a"] == "routed"
        await until(lambda: endpoint.control("GET", "faults")["data"][0]["hits"])


@pytest.mark.usefixtures("neglected")
async def test_a_list_that_hangs_holds_up_no_sweep(
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
async def test_whatever_prefect_does_a_sweep_ends_promptly(
    at: Connections, sender: Sender, prefect: PrefectStandIn, trouble: dict[str, Any]
) -> None:
    prefect.breaks(**trouble)
    began = time.monotonic()
    async with sweeping(at) as sweeper:
        await sweeper.sweep()
        await sweeper.sweep()
    assert time.monotonic() - began < PROMPTLY_S
    assert (await sender.states())["a"] == "routed"
