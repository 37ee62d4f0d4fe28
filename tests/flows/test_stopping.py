"""A run that gets SIGTERM finishes and saves its calls, and hands over its roles at once."""

import asyncio
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from prefect.logging import disable_run_logger
from pydantic import SecretStr

from anthropic_standin.testing import Endpoint
from blocks.database import DatabaseBlock
from blocks.provider import Provider
from flows.answer import Wake, answer
from lanes.store.batch import ready_work
from lanes.store.database import Database
from lanes.store.signals import Role, RoleLock
from lanes.words import Lane
from tasks.connections import Connections
from tasks.departure import send_waiting
from tasks.runs import stop_signals
from tasks.standing import Tenure
from tests.flows.conftest import Nap, Sender
from tests.prefect_standin import PrefectStandIn

pytestmark = pytest.mark.slow
CALLS = 20
SOON_S = 90  # includes the start of a process on a busy machine
ATTEMPTS = "select outcome, count(*) from lanes.attempt_log group by 1"
CLAIMED = f"select count(*) >= {CALLS} from lanes.work where state = 'claimed'"
STATES = "select state, count(*) from lanes.work group by 1 order by 1"


def run_a_drain(database_url: str, provider_url: str) -> None:
    """Run the body of flow `answer` in this process, as its engine does, until it is asked to stop."""
    where = DatabaseBlock(url=SecretStr(database_url))
    provider = Provider(api_key=SecretStr("x"), base_url=provider_url, most_calls=CALLS)

    async def block(loaded: Any) -> Any:
        return loaded

    DatabaseBlock.aload = lambda _: block(where)  # type: ignore[method-assign]
    Provider.aload = lambda _: block(provider)  # type: ignore[method-assign]
    with disable_run_logger():
        print(asyncio.run(answer.fn(Wake(standing=True))))


async def run_with_a_log(ended: Path) -> None:
    """Write to the log of a run once a line is read, and record that the run was asked to stop."""
    with stop_signals() as stop:
        await asyncio.to_thread(sys.stdin.readline)
        logging.getLogger("prefect").warning("5 items answered")
        async with asyncio.timeout(SOON_S):
            await stop.wait()
        ended.write_text("in order")


@asynccontextmanager
async def draining(
    at: Connections, endpoint: Endpoint, prefect: PrefectStandIn, **environment: str
) -> AsyncIterator[subprocess.Popen[str]]:
    """Run a drain in a process of its own."""
    arguments = f"from {__name__} import run_a_drain; run_a_drain({at.db.url!r}, {endpoint.url!r})"
    process = subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-c", arguments],
        env={**os.environ, "PREFECT_API_URL": prefect.api_url, **environment},
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


async def becomes(sender: Sender, query: str, expected: list[tuple[object, ...]]) -> None:
    async with asyncio.timeout(SOON_S):
        while await sender.rows(query) != expected:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def ends(process: subprocess.Popen[str]) -> int:
    return await asyncio.wait_for(asyncio.to_thread(process.wait), SOON_S)


async def test_a_drain_with_calls_in_flight_saves_them_all_after_its_roles_were_taken(
    at: Connections, endpoint: Endpoint, sender: Sender, prefect: PrefectStandIn
) -> None:
    endpoint.fault("messages", "latency", latency_s=2)
    # The drain learns from this item how long calls take.
    await sender.items("first", lane=Lane.REALTIME)
    async with (
        draining(at, endpoint, prefect) as process,
        RoleLock(at.db.url, Role.ROUTER) as router,
        RoleLock(at.db.url, Role.KEEPER) as keeper,
    ):
        await becomes(sender, ATTEMPTS, [("valid", 1)])
        endpoint.reset()
        endpoint.fault("messages", "stall")
        await sender.items(*(f"k{n}" for n in range(CALLS + 10)), lane=Lane.REALTIME)
        await becomes(sender, CLAIMED, [(True,)])
        await asyncio.sleep(1)  # the calls are in flight
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGTERM)  # one from the group, one from the worker
        # Take the roles only after the request: a drain requests no successor if another process already is the keeper.
        async with asyncio.timeout(SOON_S):
            while not prefect.asked("answer"):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert await router.try_take()
        assert await keeper.try_take()
        assert await sender.rows(ATTEMPTS) == [("valid", 1)]  # no other call has ended
        endpoint.reset()
        assert await ends(process) == 0
    assert await sender.rows(ATTEMPTS) == [("valid", 1 + CALLS)]
    assert await sender.rows(STATES) == [("done", 1 + CALLS), ("ready", 10)]
    bill = endpoint.bill()
    assert bill["responses"] == 1 + CALLS
    ((spent,),) = await sender.rows("select sum(cost_usd) from lanes.spend")
    assert float(bill["usd"]) == pytest.approx(float(str(spent)))
    assert prefect.asked("answer") == [{"wake": {"standing": True}}]


async def test_calls_that_outlast_the_grace_period_are_unknown_at_once_and_can_be_asked_again(
    at: Connections, endpoint: Endpoint, sender: Sender, prefect: PrefectStandIn
) -> None:
    endpoint.fault("messages", "stall")
    await sender.items("a", "b", lane=Lane.REALTIME)
    async with draining(at, endpoint, prefect, LANES_GRACE_S="6") as process:
        await becomes(
            sender, "select count(*) = 2 from lanes.work where state = 'claimed'", [(True,)]
        )
        await asyncio.sleep(1)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert await ends(process) == 0
        assert time.monotonic() - began < 6 + 2
    assert await sender.rows(ATTEMPTS) == [("unknown", 2)]
    assert await sender.rows(STATES) == [("ready", 2)]


def test_a_run_whose_worker_was_killed_is_asked_to_stop_when_it_writes_to_its_log(
    tmp_path: Path,
) -> None:
    code = (
        f"import asyncio; from pathlib import Path; from {__name__} import run_with_a_log\n"
        f"asyncio.run(run_with_a_log(Path({str(tmp_path / 'ended')!r})))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    for output in (process.stdout, process.stderr):
        assert output
        output.close()
    assert process.stdin
    with process.stdin as line:
        line.write("\n")
    assert process.wait(SOON_S) == 0
    assert (tmp_path / "ended").read_text() == "in order"


@pytest.fixture
def hears_signals_again() -> Iterator[None]:
    """Restore the signal handlers of the test process; a run that was asked to stop ignores further signals."""
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
    yield
    for each, handler in before.items():
        signal.signal(each, handler)


async def test_a_batch_that_is_being_created_is_recorded_and_no_other_batch_follows(
    at: Connections, endpoint: Endpoint, sender: Sender, nap: Nap, hears_signals_again: None
) -> None:
    endpoint.fault("batches.create", "latency", latency_s=1)
    for workload in ("letters", "others"):
        await sender.items(f"{workload}1", lane=Lane.BATCH, workload=workload)
    with stop_signals() as stop:
        sending = asyncio.create_task(send_waiting(at, None, stop=stop))
        await becomes(
            sender, "select state, count(*) from lanes.batch group by 1", [("intended", 1)]
        )
        os.kill(os.getpid(), signal.SIGTERM)
        departed = await sending
    assert (departed.items, departed.failed) == (1, [])
    assert {"the run was asked to stop"} == {each.split(": ")[1] for each in departed.waiting}
    assert await sender.rows("select state, provider_batch_id is not null from lanes.batch") == [
        ("submitted", True)
    ]
    assert endpoint.bill()["batches_created"] == 1
    left = "select count(*) from lanes.work where state = 'ready'"
    assert await sender.rows(left) == [(1,)]
    now = await at.db.now()  # collect requests the next run
    assert await at.db.run(ready_work.list_pressing, now=now)


async def test_a_standing_run_hands_over_at_once_and_requests_its_successor(
    db: Database, prefect: PrefectStandIn, hears_signals_again: None
) -> None:
    async with (
        RoleLock(db.url, Role.COLLECTOR) as next_run,
        Tenure(db, Role.COLLECTOR, every_s=60) as tenure,
    ):
        async for number in tenure.ticks():
            assert number == 0
            os.kill(os.getpid(), signal.SIGTERM)
        assert await next_run.try_take()
    assert prefect.asked("collect") == [{}]
