"""Two drains during one outage of the provider, by the real SDK over HTTP: together they ask one call at a time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime

import pytest
from sqlalchemy import text

from anthropic_standin.testing import Endpoint
from lanes.realtime.circuit import LONGEST_REST_S, PROBE, Fault
from lanes.realtime.events import CircuitNews, TakeProbes
from lanes.store.database import Database
from lanes.store.realtime import circuits, outages
from lanes.words import Lane
from tasks import sharing
from tasks.account_drain import DrainPace
from tasks.connections import Connections
from tasks.drain import Drain, drain
from tasks.watch import evaluate
from tests.flows.conftest import Sender
from tests.flows.realtime import a_state
from tests.passing_time import PassingTime
from tests.prefect_standin import PrefectStandIn

MODEL = "claude-haiku-5-5"
SOON_S = 20
STEP_S = 0.5  # seconds that pass with each look


# Drains share circuits every second; here every twentieth of a second, because time passes that much faster.
SHARED_OFTEN = DrainPace(share_s=0.05)


@asynccontextmanager
async def two_drains(at: Connections, time: PassingTime) -> AsyncIterator[tuple[Drain, Drain]]:
    """Open two drains that share only Postgres: each has its own pool."""
    async with (
        Database(at.db.url, clock=time.of_database) as another,
        drain(at, standing=False, pace=SHARED_OFTEN) as one,
        drain(replace(at, db=another), standing=False, pace=SHARED_OFTEN) as other,
    ):
        yield one, other


async def turns(*drains: Drain, sender: Sender, until: Callable[[], Awaitable[bool]]) -> float:
    """Run the drains concurrently until `until` is true; return how many seconds passed."""
    done, passed = asyncio.Event(), 0.0

    async def goes_on(opened: Drain) -> None:
        while not done.is_set():
            assert await opened.stays()
            opened.wakes.record_ready_work()
            await opened.turn()
            await asyncio.sleep(0.02)

    async def looks() -> None:
        nonlocal passed
        while not await until():
            sender.time.passes(seconds=STEP_S)
            passed += STEP_S
            await asyncio.sleep(0.05)
        done.set()

    async with asyncio.timeout(SOON_S):
        await asyncio.gather(looks(), *map(goes_on, drains))
    return passed


def down(endpoint: Endpoint) -> None:
    endpoint.fault(
        "messages", "status", status=529, error_type="overloaded_error", message="Overloaded"
    )


def hits(endpoint: Endpoint) -> int:
    return sum(each["hits"] for each in endpoint.control("GET", "faults")["data"])


def is_open(sender: Sender) -> Callable[[], Awaitable[bool]]:
    async def asked() -> bool:
        return bool(await sender.rows("select from lanes.outage where state <> 'closed'"))

    return asked


def answered(sender: Sender, number: int) -> Callable[[], Awaitable[bool]]:
    async def asked() -> bool:
        return (
            await sender.rows(
                "select count(*) >= :n from lanes.item where answered_at is not null", n=number
            )
        ) == [(True,)]

    return asked


def after(passing: float) -> Callable[[], Awaitable[bool]]:
    """Return a condition that becomes true `passing` seconds later."""
    turns = iter(range(round(passing / STEP_S)))

    async def asked() -> bool:
        return next(turns, None) is None

    return asked


@pytest.mark.slow
async def test_two_drains_ask_one_call_at_a_time_in_an_outage_and_both_answer_soon_after_it(
    at: Connections, endpoint: Endpoint, sender: Sender, prefect: PrefectStandIn
) -> None:
    down(endpoint)
    await sender.items(*(f"k{n:02d}" for n in range(40)), lane=Lane.REALTIME)
    async with two_drains(at, sender.time) as (one, other):
        await turns(one, other, sender=sender, until=is_open(sender))
        ((opened_at,),) = await sender.rows("select faulted_at from lanes.outage")
        assert isinstance(opened_at, datetime)
        # Afterwards the calls in flight have ended, and both drains have read the circuit.
        await turns(one, other, sender=sender, until=after(2))
        before, began = hits(endpoint), await at.db.now()
        await turns(one, other, sender=sender, until=after(30))
        lasted = (await at.db.now() - began).total_seconds()
        # The drains share back-offs of 1, 2, 4, then 5 seconds.
        assert 2 <= hits(endpoint) - before <= 3 + lasted / LONGEST_REST_S
        await evaluate(at.db)
        alone = "select promise from lanes.incident where parent_id is null"
        assert await sender.rows(alone) == [("provider_down",)]
        assert await sender.rows(
            "select promise from lanes.incident where parent_id is not null"
        ) == [("realtime_slow",)]
        assert await sender.rows(
            f"{alone} and id in (select incident_id from lanes.slack_post)"
        ) == [("provider_down",)]
        assert await sender.rows("select count(*) from lanes.slack_post") == [(1,)]
        endpoint.reset()
        healed = await turns(one, other, sender=sender, until=closed(sender))
        assert healed <= LONGEST_REST_S + 1
        await turns(one, other, sender=sender, until=answered(sender, 40))
        for number, each in enumerate((one, other)):
            await sender.items(f"later{number}", lane=Lane.REALTIME)
            await turns(each, sender=sender, until=answered(sender, 41 + number))
    assert await sender.rows(
        "select sum(failures), count(*) filter (where state <> 'done') from lanes.work"
    ) == [(0, 0)]
    await evaluate(at.db)
    await evaluate(at.db)
    assert await sender.rows("select distinct state from lanes.incident_log") == [("resolved",)]


def closed(sender: Sender) -> Callable[[], Awaitable[bool]]:
    async def asked() -> bool:
        return not await is_open(sender)()

    return asked


@pytest.mark.slow
async def test_a_killed_prober_delays_other_drains_no_longer_than_its_probe_lasts(
    at: Connections, endpoint: Endpoint, sender: Sender, prefect: PrefectStandIn
) -> None:
    down(endpoint)
    await sender.items(*(f"k{n}" for n in range(6)), lane=Lane.REALTIME)
    async with drain(at, standing=False, pace=SHARED_OFTEN) as opened:
        await turns(opened, sender=sender, until=is_open(sender))
    sender.time.passes(seconds=6)
    now = await at.db.now()
    seen = (await at.db.run(circuits.open_circuits, at.provider.account))[MODEL]
    # The drain that takes this probe never reports.
    assert await at.db.run(circuits.take_probe, seen, now=now) is not None
    endpoint.reset()
    async with two_drains(at, sender.time) as (one, other):
        await turns(one, other, sender=sender, until=after(PROBE.total_seconds() - 5))
        assert await sender.rows(
            "select count(*) from lanes.item where answered_at is not null"
        ) == [(0,)]
        took = await turns(one, other, sender=sender, until=answered(sender, 6))
        assert took <= 5 + LONGEST_REST_S


@pytest.mark.slow
async def test_a_drain_that_starts_in_an_outage_sends_only_its_probe(
    at: Connections, endpoint: Endpoint, sender: Sender, prefect: PrefectStandIn
) -> None:
    down(endpoint)
    await sender.items(*(f"k{n}" for n in range(40)), lane=Lane.REALTIME)
    now = await at.db.now()
    await at.db.run(
        outages.record_fault, at.provider.account, MODEL, Fault("529", 3, now, now), now=now
    )
    async with drain(at, standing=False, pace=SHARED_OFTEN) as opened:
        # The circuit is open before the drain claims anything.
        assert opened.main.state.health.circuits.has_open(await at.db.now())
        await turns(opened, sender=sender, until=after(3))
    assert hits(endpoint) <= 2


async def test_a_probe_without_work_to_ask_is_returned(at: Connections, sender: Sender) -> None:
    now = await at.db.now()
    await at.db.run(
        outages.record_fault, at.provider.account, MODEL, Fault("529", 3, now, now), now=now
    )
    state = a_state()
    state.on(await sharing.hear_circuits(at), now)
    sender.time.passes(seconds=2)
    async with at.db.statements() as run:
        due = TakeProbes(state.health.circuits.to_probe(run.now))
        (taken,) = await sharing.take_probes(run, due, run.now)
        state.on(taken, run.now)
    now = await at.db.now()
    assert state.on(await sharing.hear_circuits(at), now) == []
    assert state.health.calls(MODEL, now) == 1
    sender.time.passes(seconds=2)
    (news,) = state.on(await sharing.hear_circuits(at), await at.db.now())
    assert isinstance(news, CircuitNews)
    assert await sender.rows("select state from lanes.outage") == [("probing",)]
    await sharing.publish_circuit(at, state, news)
    assert await sender.rows(
        "select state, next_probe_at <= :now from lanes.outage", now=await at.db.now()
    ) == [("resting", True)]


@pytest.mark.slow
async def test_a_rate_limit_neither_opens_nor_closes_a_circuit(
    at: Connections, endpoint: Endpoint, sender: Sender, prefect: PrefectStandIn
) -> None:
    endpoint.fault("messages", "status", status=429, error_type="rate_limit_error", retry_after_s=1)
    await sender.items("a", "b", "c", "d", lane=Lane.REALTIME)
    async with drain(at, standing=False, pace=SHARED_OFTEN) as opened:
        await turns(opened, sender=sender, until=after(20))
        assert hits(endpoint) >= 3
        assert await sender.rows("select count(*) from lanes.outage") == [(0,)]
        endpoint.reset()
        down(endpoint)
        await turns(opened, sender=sender, until=is_open(sender))
        endpoint.reset()
        endpoint.fault(
            "messages", "status", status=429, error_type="rate_limit_error", retry_after_s=1
        )
        await turns(opened, sender=sender, until=after(20))
        assert hits(endpoint) >= 1
        assert await sender.rows("select state = 'closed' from lanes.outage") == [(False,)]
        endpoint.reset()
        await turns(opened, sender=sender, until=answered(sender, 4))


@pytest.mark.slow
@pytest.mark.parametrize("trouble", ["alter table lanes.outage rename to outage_away"])
async def test_a_drain_that_cannot_read_circuits_backs_off_by_itself_and_answers(
    at: Connections, endpoint: Endpoint, sender: Sender, prefect: PrefectStandIn, trouble: str
) -> None:
    await at.db.run(lambda c: c.execute(text(trouble)))
    down(endpoint)
    await sender.items("a", "b", "c", "d", lane=Lane.REALTIME)
    async with drain(at, standing=False, pace=SHARED_OFTEN) as opened:
        await turns(opened, sender=sender, until=after(8))
        assert 3 <= hits(endpoint) <= 12
        endpoint.reset()
        await turns(opened, sender=sender, until=answered(sender, 4))
    assert await sender.rows("select sum(failures) from lanes.work") == [(0,)]


@pytest.mark.slow
async def test_a_model_that_only_old_versions_use_is_probed_for_the_work_that_needs_it(
    at: Connections, endpoint: Endpoint, sender: Sender, prefect: PrefectStandIn
) -> None:
    endpoint.fault(
        "messages", "status", status=529, error_type="overloaded_error", match="letter old"
    )
    await sender.items("old1", "old2", "old3", "old4", lane=Lane.REALTIME)
    async with drain(at, standing=False, pace=SHARED_OFTEN) as opened:
        await turns(opened, sender=sender, until=is_open(sender))
        await sender.items("new", lane=Lane.REALTIME, realtime_model="claude-sonnet-5-5")
        await turns(opened, sender=sender, until=answered(sender, 1))
        assert await is_open(sender)()
        endpoint.reset()
        await turns(opened, sender=sender, until=answered(sender, 5))
        assert not await is_open(sender)()
    assert await sender.rows("select sum(failures) from lanes.work") == [(0,)]


@pytest.mark.slow
async def test_a_rate_limit_of_one_model_does_not_block_workloads_of_another(
    at: Connections, endpoint: Endpoint, sender: Sender, prefect: PrefectStandIn
) -> None:
    limited = {"status": 429, "error_type": "rate_limit_error", "retry_after_s": 60}
    endpoint.fault("messages", "status", match="letter limited", **limited)
    await sender.items("limited", lane=Lane.REALTIME)
    async with drain(at, standing=False, pace=SHARED_OFTEN) as opened:

        async def refused() -> bool:
            return hits(endpoint) > 0

        await turns(opened, sender=sender, until=refused)
        await sender.items(
            "other", lane=Lane.REALTIME, workload="others", realtime_model="claude-sonnet-5-5"
        )
        took = await turns(opened, sender=sender, until=answered(sender, 1))
    assert (hits(endpoint), took < 30) == (1, True)
