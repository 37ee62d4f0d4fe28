"""The waker: real locks, a chosen clock, and a Prefect that answers over HTTP, or does not."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings
from websockets.asyncio.server import ServerConnection, serve

from lanes.doors.stream import OVERLAP, span_start
from lanes.realtime.drains import ARRIVALS_THROTTLE, CALLS_THROTTLE, IN_VAIN_AFTER, LOOK_EVERY_S
from lanes.standing.roles import BEGINNING_FOR, DOUBTED_AFTER
from lanes.store.database import Database
from lanes.store.doors import items
from lanes.store.signals import Role, RoleLock
from lanes.words import Lane
from tasks.arrivals import AMENDED, ARRIVED
from tasks.sweep import Waker
from tests.conftest import NOON
from tests.flows.sweep.conftest import Put
from tests.prefect_standin import PrefectStandIn
from tests.store.tries import events

AGAIN, THEN = NOON + IN_VAIN_AFTER, NOON + IN_VAIN_AFTER + CALLS_THROTTLE
LOOK = timedelta(seconds=10 * LOOK_EVERY_S)  # some of the waker's looks are enough
SINCE = timedelta(hours=1)


@pytest.fixture(autouse=True)
def no_drain_is_kept_warm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANES_KEEP_WARM", "0")


async def calls(db: Database) -> list[dict[str, int]]:
    """Return the payload of each call for a drain."""
    return [each.payload for each in await db.run(events, "lanes.work.waiting")]


async def looks(waker: Waker, since: datetime, until: datetime) -> None:
    """Let the waker look repeatedly from `since` to `until`."""
    now = since
    while now <= until:
        await waker.turn(now)
        now += LOOK


async def read_until(db: Database, moment: datetime) -> None:
    """Record that the last drain that read left, or died, at this time."""
    await db.run(items.advance_watermark, items.ARRIVALS, moment)


async def test_the_publisher_is_woken_by_every_event_that_calls_for_a_drain_and_by_nothing_else(
    db: Database, put: Put, prefect: PrefectStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []
    waker = Waker(db, called=lambda: told.append(len(told)))
    prefect.breaks(hangs=True)
    with monkeypatch.context() as hanging:
        hanging.setattr("tasks.sweep.WAKER_PREFECT_S", 0.2)
        await waker.turn(NOON)
        assert told == []
        await put("a", lane=Lane.REALTIME)
        await waker.turn(NOON)
        assert told == [0]
        await waker.turn(NOON)
    prefect.heals()
    await waker.turn(AGAIN)
    assert told == [0]
    assert prefect.asked("answer") == [{}]


async def test_work_that_the_requested_drain_does_not_serve_gets_another_drain(
    db: Database, put: Put, prefect: PrefectStandIn
) -> None:
    await put("a", lane=Lane.REALTIME)
    waker = Waker(db)
    await waker.turn(NOON)
    assert prefect.asked("answer") == [{}]
    await waker.turn(NOON + LOOK / 2)
    assert prefect.asked("answer") == [{}]
    await waker.turn(AGAIN)
    assert prefect.asked("answer") == [{}] * 2
    async with RoleLock(db.url, Role.ROUTER) as router:
        assert await router.try_take()
        await waker.turn(THEN)
    assert prefect.asked("answer") == [{}] * 2
    assert await calls(db) == []


@pytest.mark.slow
async def test_an_arrival_whose_trigger_was_lost_or_throttled_wakes_a_drain_within_seconds(
    db: Database, prefect: PrefectStandIn
) -> None:
    await read_until(db, NOON)
    waker = Waker(db)
    await looks(waker, NOON, NOON + ARRIVALS_THROTTLE / 2)
    assert prefect.asked("answer") == []
    arrived = NOON + ARRIVALS_THROTTLE / 2
    prefect.has_stored(ARRIVED, arrived)
    await waker.turn(arrived + LOOK)
    assert prefect.asked("answer") == [{}]


@asynccontextmanager
async def streams(*occurred: datetime) -> AsyncIterator[None]:
    """Serve Prefect's event stream, which sends arrivals of these times and stays open."""

    async def stream(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.send(json.dumps({"type": "auth_success"}))
        wanted = json.loads(await connection.recv())["filter"]
        assert ARRIVED in wanted["event"]["name"]
        resource = {"prefect.resource.id": "lanes.workload.letters"}
        for each in occurred:
            event = {"id": str(uuid4()), "event": ARRIVED, "occurred": each.isoformat()}
            message = {"type": "event", "event": event | {"resource": resource}}
            await connection.send(json.dumps(message))
        await connection.wait_closed()

    async with serve(stream, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{port}/api"}):
            yield


async def listens(waker: Waker) -> None:
    """Let the waker listen until it has received something, or a drain reads."""
    listening = asyncio.create_task(waker.listen())
    hearing = asyncio.create_task(waker.heard.wait())
    await asyncio.wait([listening, hearing], return_when=asyncio.FIRST_COMPLETED)
    for each in (listening, hearing):
        each.cancel()
    await asyncio.gather(listening, hearing, return_exceptions=True)


async def test_an_arrival_in_the_stream_wakes_a_drain_before_prefect_has_stored_it(
    db: Database, prefect: PrefectStandIn
) -> None:
    await read_until(db, NOON)
    waker = Waker(db)
    await waker.turn(NOON)
    async with streams(NOON + LOOK):
        await listens(waker)
    assert waker.heard.is_set()
    await waker.turn(NOON + LOOK)
    assert prefect.asked("answer") == [{}]


async def test_the_stream_is_not_read_while_a_drain_reads_it(
    db: Database, prefect: PrefectStandIn
) -> None:
    waker = Waker(db)
    async with RoleLock(db.url, Role.ROUTER) as router:
        assert await router.try_take()
        await waker.turn(NOON)
    async with streams(NOON):
        await listens(waker)
    assert not waker.heard.is_set()


async def test_the_stream_is_not_read_if_a_drain_is_kept_warm(
    db: Database, prefect: PrefectStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANES_KEEP_WARM", "1")
    waker = Waker(db)
    await waker.turn(NOON)
    async with streams(NOON):
        await listens(waker)
    assert not waker.heard.is_set()


async def test_an_arrival_that_the_last_drain_has_read_wakes_no_other_drain(
    db: Database, prefect: PrefectStandIn
) -> None:
    await read_until(db, NOON)
    waker = Waker(db)
    waker.hear(NOON - OVERLAP - LOOK)
    await waker.turn(NOON)
    assert prefect.asked("answer") == []


async def test_received_arrivals_are_forgotten_once_a_drain_reads(
    db: Database, prefect: PrefectStandIn
) -> None:
    await read_until(db, NOON)
    waker = Waker(db)
    waker.hear(NOON + SINCE)  # by a clock that is ahead
    async with RoleLock(db.url, Role.ROUTER) as router:
        assert await router.try_take()
        await waker.turn(NOON)
    await waker.turn(NOON)
    assert prefect.asked("answer") == []


async def test_late_data_that_arrives_while_no_drain_lives_wakes_a_drain_too(
    db: Database, prefect: PrefectStandIn
) -> None:
    await read_until(db, NOON)
    prefect.has_stored(AMENDED, NOON + LOOK)
    await Waker(db).turn(NOON + LOOK)
    assert prefect.asked("answer") == [{}]


async def test_no_traffic_starts_another_drain_while_a_drain_reads(
    db: Database, put: Put, prefect: PrefectStandIn
) -> None:
    await read_until(db, NOON)
    await put("a", lane=Lane.REALTIME)
    waker, now = Waker(db), NOON
    async with RoleLock(db.url, Role.ROUTER) as router:
        assert await router.try_take()
        while now <= NOON + ARRIVALS_THROTTLE:
            prefect.has_stored(ARRIVED, now)
            await waker.turn(now)
            now += 4 * LOOK
    assert (await calls(db), prefect.requests) == ([], [])


async def test_a_drain_that_died_between_two_arrivals_is_replaced_at_the_next_look(
    db: Database, prefect: PrefectStandIn
) -> None:
    await read_until(db, NOON)
    waker = Waker(db)
    async with RoleLock(db.url, Role.ROUTER) as router:
        assert await router.try_take()
        await waker.turn(NOON)
    prefect.has_stored(ARRIVED, NOON + LOOK)
    await waker.turn(NOON + LOOK)
    assert prefect.asked("answer") == [{}]


@pytest.mark.slow
async def test_stored_events_that_the_last_drain_has_read_wake_no_other_drain(
    db: Database, prefect: PrefectStandIn
) -> None:
    prefect.has_stored(ARRIVED, NOON)
    left = NOON + timedelta(seconds=90)
    await read_until(db, left)
    await db.run(items.record_spans, {span_start(NOON): 1}, since=span_start(NOON))
    await looks(Waker(db), left, left + timedelta(minutes=2))
    assert prefect.asked("answer") == []


@pytest.mark.slow
async def test_an_event_that_occurred_long_before_it_arrived_wakes_a_drain_within_a_minute(
    db: Database, prefect: PrefectStandIn
) -> None:
    await read_until(db, NOON)
    waker = Waker(db)
    await waker.turn(NOON)
    prefect.has_stored(ARRIVED, NOON - SINCE)
    await looks(waker, NOON + LOOK, NOON + timedelta(seconds=58))
    assert prefect.asked("answer") == []
    await waker.turn(NOON + timedelta(minutes=1))
    assert prefect.asked("answer") == [{}]


async def test_an_arrival_from_a_clock_that_is_a_little_ahead_wakes_a_drain(
    db: Database, prefect: PrefectStandIn
) -> None:
    await read_until(db, NOON)
    prefect.has_stored(ARRIVED, NOON + OVERLAP)
    await Waker(db).turn(NOON)
    assert prefect.asked("answer") == [{}]


@pytest.mark.parametrize(
    ("state", "comes_within"),
    [
        ("SCHEDULED", BEGINNING_FOR),
        ("PENDING", DOUBTED_AFTER),
        ("RUNNING", BEGINNING_FOR),
    ],
)
async def test_a_burst_requests_no_further_drain_while_one_is_starting(
    db: Database, put: Put, prefect: PrefectStandIn, state: str, comes_within: timedelta
) -> None:
    await put(*(f"k{number}" for number in range(50)), lane=Lane.REALTIME)
    prefect.has_run("answer", state)
    now = await db.now()
    await looks(Waker(db), now + LOOK, now + comes_within - LOOK)
    assert prefect.asked("answer") == [{}]


@pytest.mark.slow
async def test_runs_that_wait_for_an_unavailable_worker_do_not_multiply(
    db: Database, put: Put, prefect: PrefectStandIn
) -> None:
    await put("a", lane=Lane.REALTIME)
    now = await db.now()
    waker = Waker(db)
    await waker.turn(now)
    await waker.turn(now + IN_VAIN_AFTER)
    for minute in range(1, 120, 3):
        await waker.turn(now + timedelta(minutes=minute))
    assert prefect.asked("answer") == [{}]


@pytest.mark.slow
async def test_a_drain_that_an_operator_ended_is_requested_again_only_for_waiting_work(
    db: Database, put: Put, prefect: PrefectStandIn
) -> None:
    await read_until(db, NOON)
    prefect.has_run("answer", "CANCELLED")
    waker = Waker(db)
    await looks(waker, NOON, NOON + timedelta(minutes=1))
    assert prefect.asked("answer") == [{}]
    await put("a", lane=Lane.REALTIME)
    await waker.turn(NOON + timedelta(minutes=2))
    assert prefect.asked("answer") == [{}] * 2


@pytest.mark.parametrize(("keep_warm", "called"), [("0", 0), ("1", 1)])
async def test_if_nothing_waits_only_the_drain_that_is_kept_warm_is_requested(
    db: Database,
    prefect: PrefectStandIn,
    monkeypatch: pytest.MonkeyPatch,
    keep_warm: str,
    called: int,
) -> None:
    monkeypatch.setenv("LANES_KEEP_WARM", keep_warm)
    waker = Waker(db)
    for _ in range(3):
        await waker.turn(NOON)
    assert prefect.asked("answer") == [{}] * called


@pytest.mark.slow
@pytest.mark.parametrize("trouble", [{"hangs": True}, {"status": 503}])
async def test_the_call_is_in_the_outbox_whatever_prefect_does(
    db: Database,
    put: Put,
    prefect: PrefectStandIn,
    monkeypatch: pytest.MonkeyPatch,
    trouble: dict[str, Any],
) -> None:
    monkeypatch.setattr("tasks.sweep.WAKER_PREFECT_S", 0.2)
    prefect.breaks(**trouble)
    await put("a", lane=Lane.REALTIME)
    waker = Waker(db)
    await waker.turn(NOON)
    await waker.turn(AGAIN)
    await waker.turn(THEN)
    assert await calls(db) == [{"ready": 1, "received": 0}] * 3
