"""Which drain stays warm, and which one reads the event stream."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from platform import node
from typing import Any

import pytest
from prefect.exceptions import PrefectHTTPStatusError
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from anthropic_standin.testing import Endpoint
from lanes.realtime.limiter import WaitReason
from lanes.routing.room import FEW, LEAST
from lanes.settling.story import next_step
from lanes.store.settling.story import records
from lanes.store.signals import Role, RoleLock, holder_exists, holders
from lanes.store.workload import workloads
from lanes.words import Lane
from tasks.background import BackgroundTasks, Wakes
from tasks.connections import Connections
from tasks.drain import Drain, drain
from tasks.router import Router
from tasks.standing import DrainLimit, Staying, roles
from tests.examples import admit, publish
from tests.flows.conftest import Sender
from tests.prefect_standin import PrefectStandIn
from tests.store.test_signals import cut, wanted

STATES = "select state, count(*) from lanes.work group by 1 order by 1"
PROMPTLY_S = 10  # far longer than an answer takes, and shorter than any delay


@pytest.mark.slow
@pytest.mark.parametrize("keep_warm", [0, 1])
async def test_a_standing_drain_takes_the_keeper_role_only_if_a_drain_is_to_be_kept_warm(
    at: Connections, prefect: PrefectStandIn, monkeypatch: pytest.MonkeyPatch, keep_warm: int
) -> None:
    monkeypatch.setenv("LANES_KEEP_WARM", str(keep_warm))
    async with drain(at, standing=True) as opened:
        assert await at.db.run(holder_exists, Role.KEEPER) is bool(keep_warm)
        assert await opened.stays()
        assert await at.db.run(holder_exists, Role.KEEPER) is bool(keep_warm)


async def test_a_reader_that_lost_its_connection_stops_reading_once_another_drain_has_its_role(
    at: Connections, pool: Engine, prefect: PrefectStandIn
) -> None:
    async with RoleLock(at.db.url, Role.ROUTER) as one, RoleLock(at.db.url, Role.ROUTER) as other:
        router = Router(at.db, one, Wakes(), busy=lambda: False, look_every_s=0)
        await router.turn()
        assert router.reads
        cut(pool, Role.ROUTER)
        assert await other.try_take()
        await router.turn()
        assert not router.reads


async def test_a_busy_router_hands_over_to_the_newer_drain_that_waits_for_its_role(
    at: Connections, prefect: PrefectStandIn
) -> None:
    async with RoleLock(at.db.url, Role.ROUTER) as old, RoleLock(at.db.url, Role.ROUTER) as new:
        router = Router(at.db, old, Wakes(), busy=lambda: True, look_every_s=0)
        await router.turn()
        assert router.reads
        taking = asyncio.create_task(new.take_over(within_s=PROMPTLY_S))
        await wanted(old)
        await router.turn()
        assert await taking
        assert not router.reads
        await router.turn()
        assert not router.holds


async def test_a_busy_router_routes_a_whole_backlog_in_one_turn_with_rests_between_the_portions(
    at: Connections, sender: Sender, pool: Engine, prefect: PrefectStandIn
) -> None:
    keys = [f"k{n}" for n in range(FEW + 2 * LEAST + 1)]
    with pool.begin() as setup:
        publish(setup, now=(now := await at.db.now()))
        admit(setup, *keys, now=now)
    async with RoleLock(at.db.url, Role.ROUTER) as role:
        router = Router(at.db, role, Wakes(), busy=lambda: True)
        await router.turn()
        await router.close()
    assert await sender.rows("select count(*) from lanes.route_log") == [(len(keys),)]


async def test_a_commit_of_another_session_makes_only_the_router_look_for_work_at_once(
    at: Connections, prefect: PrefectStandIn
) -> None:
    wakes = Wakes(routed_within_s=60)
    assert wakes.take_look_request()
    wakes.record_foreign_commit()
    async with RoleLock(at.db.url, Role.ROUTER) as one, RoleLock(at.db.url, Role.ROUTER) as other:
        router = Router(at.db, one, wakes, busy=lambda: False, look_every_s=0)
        assert await other.try_take()
        await router.turn()
        assert not wakes.take_look_request()
        await other.release()
        await router.turn()
        assert wakes.take_look_request()
        await router.close()


async def turns(opened: Drain, done: Callable[[], Awaitable[bool]]) -> None:
    """Run the drain as `flows.answer` does, until `done` is true."""
    while not await done():
        assert await opened.stays()
        await opened.turn()


async def until_answered(opened: Drain, sender: Sender, *keys: str) -> None:
    wanted = set(keys)

    async def answered() -> bool:
        rows = await sender.rows("select key from lanes.item where answered_at is not null")
        return wanted <= {str(key) for (key,) in rows}

    await turns(opened, answered)


@pytest.mark.parametrize(("keeper", "stands_by"), [("here", False), ("elsewhere", True)])
async def test_of_two_drains_that_are_kept_warm_the_second_stands_by_only_on_another_host(
    at: Connections,
    prefect: PrefectStandIn,
    monkeypatch: pytest.MonkeyPatch,
    keeper: str,
    stands_by: bool,
) -> None:
    monkeypatch.setenv("LANES_KEEP_WARM", "2")
    host = {"here": node(), "elsewhere": "another"}[keeper]
    named = f"{at.db.direct_url}?application_name=lanes keeper@{host}:1"
    async with RoleLock(named, Role.KEEPER) as held, drain(at, standing=False) as opened:
        assert await held.try_take()
        assert await opened.stays()
        assert await at.db.run(holder_exists, Role.STANDBY) is stands_by


@pytest.mark.parametrize(("limit", "goes_on"), [(5, False), (6, True), (None, True)])
async def test_the_limit_of_the_work_pool_bounds_the_drains_of_all_hosts(
    at: Connections, prefect: PrefectStandIn, limit: int | None, goes_on: bool
) -> None:
    if limit is not None:
        prefect.limits["realtime"] = limit
    others = [RoleLock(at.db.direct_url, Role.DRAIN) for _ in range(2)]
    async with AsyncExitStack() as stack:
        for each in others:
            await (await stack.enter_async_context(each)).share()
        keeper = await stack.enter_async_context(RoleLock(at.db.direct_url, Role.KEEPER))
        assert await keeper.try_take()
        held = await stack.enter_async_context(roles(at.db.direct_url, standing=False))
        limit_of_drains, now = DrainLimit(), await at.db.now()
        await limit_of_drains.read()
        staying = Staying(at.db, held, limit_of_drains, busy=lambda: False, idle_since=lambda: now)
        assert await staying.goes_on() is goes_on


async def test_of_idle_drains_above_the_limit_only_the_youngest_end(
    at: Connections, prefect: PrefectStandIn
) -> None:
    prefect.limits["realtime"] = 4
    limit, now = DrainLimit(), await at.db.now()
    await limit.read()
    async with AsyncExitStack() as stack:
        keeper = await stack.enter_async_context(RoleLock(at.db.direct_url, Role.KEEPER))
        assert await keeper.try_take()
        drains = [
            Staying(
                at.db,
                await stack.enter_async_context(roles(at.db.direct_url, standing=False)),
                limit,
                busy=lambda: False,
                idle_since=lambda: now,
            )
            for _ in range(4)
        ]
        go_on = await asyncio.gather(*(each.goes_on() for each in drains))
    assert go_on == [True, True, False, False]


async def test_a_standing_drain_counts_and_takes_over_once_it_can_answer(
    at: Connections, prefect: PrefectStandIn
) -> None:
    async with AsyncExitStack() as stack, RoleLock(at.db.direct_url, Role.KEEPER) as keeper:
        assert await keeper.try_take()
        successor = drain(at, standing=True)
        opening = asyncio.create_task(stack.enter_async_context(successor))
        await wanted(keeper)
        assert at.opening.begin().done()
        assert await at.db.run(holders, Role.DRAIN) == 0
        await keeper.release()
        await opening
        assert await at.db.run(holders, Role.DRAIN) == 1


@pytest.mark.parametrize(("successor_waits", "requests"), [(True, 0), (False, 1)])
async def test_a_keeper_that_is_asked_to_stop_requests_a_drain_unless_one_waits_to_take_over(
    at: Connections, prefect: PrefectStandIn, successor_waits: bool, requests: int
) -> None:
    async with RoleLock(at.db.direct_url, Role.KEEPER) as successor:
        async with drain(at, standing=True) as opened:
            assert await opened.stays()
            taking = asyncio.create_task(successor.take_over(within_s=PROMPTLY_S))
            if successor_waits:
                await wanted(opened._held.keeper)
            else:
                taking.cancel()
            opened.stop()
        await asyncio.gather(taking, return_exceptions=True)
        assert successor.held is successor_waits
        assert len(prefect.asked("answer")) == requests


async def test_the_last_read_limit_of_the_work_pool_stays_in_force_while_prefect_is_unavailable(
    prefect: PrefectStandIn,
) -> None:
    prefect.limits["realtime"] = 16
    limit = DrainLimit()
    await limit.read()
    prefect.breaks(status=403)
    with pytest.raises(PrefectHTTPStatusError):
        await limit.read()
    assert limit.most == 8
    prefect.heals()
    prefect.limits["realtime"] = 4
    await limit.read()
    assert limit.most == 2


async def first_answered(opened: Drain, sender: Sender) -> None:
    """Answer the first item, by a call so short that the drain claims two more calls ahead from then on."""
    await until_answered(opened, sender, "first")
    opened.main.state.places.call_s = 0.01


async def claim_ahead(opened: Drain, endpoint: Endpoint, sender: Sender) -> None:
    """Fill both places of the drain with calls that stall, and let it claim two more items."""
    await first_answered(opened, sender)
    endpoint.fault("messages", "stall")
    await sender.items("a", "b", "c", "d", lane=Lane.REALTIME)
    await turns(opened, lambda: work_is(sender, claimed=4, done=1))


@pytest.mark.slow
async def test_explain_names_the_reason_why_a_claimed_item_is_not_asked(
    two_places: Connections, endpoint: Endpoint, sender: Sender, prefect: PrefectStandIn
) -> None:
    await sender.items("first", lane=Lane.REALTIME)
    async with drain(two_places, standing=False) as opened:
        await claim_ahead(opened, endpoint, sender)
        await opened.main.share_limits()
        now = await two_places.db.now()
        kept = await two_places.db.run(records, "letters", "d", now=now)
        said = next_step(kept, now)
        endpoint.reset()
    assert "is claimed by" in said
    assert f"among 2 calls of its workload: {WaitReason.PLACES.explanation}" in said


async def work_is(sender: Sender, **states: int) -> bool:
    """Return whether the work has these counts by state."""
    return await sender.rows(STATES) == [*states.items()]


async def until_work_is(sender: Sender, **states: int) -> None:
    """Wait until the work has these counts by state, without a turn of the drain."""
    async with asyncio.timeout(PROMPTLY_S):
        while True:
            if await work_is(sender, **states):
                return
            await asyncio.sleep(0.01)


@pytest.fixture
def two_places(at: Connections) -> Connections:
    """Return connections to a provider that takes two calls at once."""
    return replace(at, provider=at.provider.model_copy(update={"most_calls": 2}))


@pytest.mark.slow
async def test_a_drain_that_ends_returns_the_work_that_it_claimed_ahead(
    two_places: Connections, endpoint: Endpoint, sender: Sender, prefect: PrefectStandIn
) -> None:
    await sender.items("first", lane=Lane.REALTIME)
    async with AsyncExitStack() as stack:
        opened = await stack.enter_async_context(drain(two_places, standing=False))
        await claim_ahead(opened, endpoint, sender)
        ending = asyncio.create_task(stack.aclose())
        await until_work_is(sender, claimed=2, done=1, ready=2)
        endpoint.reset()
        await ending
    assert await sender.rows(STATES) == [("done", 3), ("ready", 2)]
    assert await sender.rows(
        "select distinct failures, claimed_by from lanes.work where state = 'ready'"
    ) == [(0, None)]
    assert await sender.rows("select count(*) from lanes.attempt") == [(3,)]


@pytest.mark.slow
async def test_a_claim_whose_versions_cannot_be_read_is_returned_at_once_without_a_failure(
    at: Connections, sender: Sender, prefect: PrefectStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, errors = workloads.versions, iter([Exception("the connection is gone")])

    def fail_once(*given: Any) -> Any:
        for error in errors:
            raise DBAPIError("select", {}, error, connection_invalidated=True)
        return read(*given)

    monkeypatch.setattr(workloads, "versions", fail_once)
    await sender.items("a", "b", lane=Lane.REALTIME)
    async with drain(at, standing=False) as opened:
        await until_answered(opened, sender, "a", "b")
    # a lease that ended would have left a failure, and an attempt of the first claim
    assert await sender.rows("select distinct outcome, claim_no from lanes.attempt") == [
        ("valid", 2)
    ]
    assert await sender.rows("select distinct failures from lanes.work") == [(0,)]


@pytest.mark.slow
async def test_a_rate_limit_stops_the_work_that_was_claimed_ahead(
    two_places: Connections, endpoint: Endpoint, sender: Sender, prefect: PrefectStandIn
) -> None:
    await sender.items("first", lane=Lane.REALTIME)
    async with drain(two_places, standing=False) as opened:
        await first_answered(opened, sender)
        limited = {
            "status": 429,
            "error_type": "rate_limit_error",
            "message": "slow",
            "retry_after_s": 60,
        }
        # A third call would be answered and billed.
        endpoint.fault("messages", "status", times=2, **limited)
        await sender.items("a", "b", "c", "d", lane=Lane.REALTIME)
        await turns(opened, lambda: work_is(sender, done=1, ready=4))
    assert endpoint.bill()["responses"] == 1


@pytest.mark.slow
async def test_an_urgent_item_is_answered_while_a_backlog_is_still_being_routed(
    at: Connections, sender: Sender, prefect: PrefectStandIn
) -> None:
    await sender.items("first", lane=Lane.REALTIME)
    now = await at.db.now()
    for chunk in range(4):
        keys = [f"b{chunk}-{number}" for number in range(1_000)]
        await at.db.run(partial(admit, now=now, lane=Lane.BATCH), *keys)
    await at.db.run(partial(admit, now=now, lane=Lane.REALTIME, urgent=True), "urgent")
    async with drain(at, standing=False) as opened:
        await until_answered(opened, sender, "urgent")
        assert await sender.rows(
            "select count(*) > 1000 from lanes.item where position is null"
        ) == [(True,)]


async def test_background_tasks_close_even_if_a_task_swallows_a_cancellation() -> None:
    woken, beside = asyncio.Event(), BackgroundTasks()

    async def deaf() -> None:
        # A wait that completes while it is cancelled swallows the cancellation.
        await asyncio.wait_for(woken.wait(), 60)
        woken.clear()

    beside.keep("deaf", deaf, every_s=0)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    woken.set()
    async with asyncio.timeout(5):
        await beside.close(again_s=0.01)
