"""Whole programs that use the client: they keep its connections, fork, run several loops, and end."""

import asyncio
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

import pytest
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, use_span
from sqlalchemy import Engine, text

from lanes import client
from lanes.client import AsyncLanes, Lanes
from tests.conftest import NOON
from tests.examples import admit
from tests.store.client.ends import WITHIN_S, answer
from tests.store.tries import rows

SESSIONS = text(
    "select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
)

FORKS = """
import gc
import os
from lanes import client
client.submit("letters", {"text": "x"}, key="k")
assert client.wait("letters", "k", reader="parent", timeout_s=0) is None
child = os.fork()
try:
    for number in range(20):  # both at once
        assert client.submit("letters", {"text": "x"}, key=f"{number} {bool(child)}").outcome == "accepted"
    assert client.wait("letters", "k", reader="who", timeout_s=0) is None
except BaseException as error:
    print(repr(error), flush=True)
    os._exit(1)
if not child:
    gc.collect()
    os._exit(0)
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 0
"""

LOOPS = """
import asyncio
from lanes import client
async def send(key):
    assert (await client.asubmit("letters", {"text": "x"}, key=key)).outcome == "accepted"
    assert await client.await_result("letters", key, reader="desk", timeout_s=0) is None
for key in ("one", "two"):
    asyncio.run(send(key))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("program", "sent"), [(FORKS, 41), (LOOPS, 2)], ids=["forks", "loops"])
def test_a_program_with_forks_or_several_loops_sends_waits_and_ends_without_output(
    pool: Engine, program: str, sent: int
) -> None:
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=WITHIN_S * 2,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    with pool.begin() as connection:
        assert len(rows(connection, "item")) == sent


def sessions(observer: Engine) -> set[int]:
    with observer.begin() as connection:
        return set(connection.execute(SESSIONS).scalars())


def until_gone(observer: Engine, kept: set[int]) -> None:
    """Wait for the end of the sessions: Postgres ends a session a moment after its program has disconnected."""
    deadline = monotonic() + WITHIN_S
    while sessions(observer) - kept:
        assert monotonic() < deadline


def test_a_handle_keeps_its_connection_until_it_is_closed(pool: Engine) -> None:
    before = sessions(pool)
    with Lanes() as lanes:
        lanes.submit("letters", {"text": "x"}, key="k1")
        (first,) = sessions(pool) - before
        lanes.submit("letters", {"text": "x"}, key="k2")
        assert sessions(pool) - before == {first}
    until_gone(pool, before)


async def test_an_asynchronous_handle_keeps_its_connection_until_it_is_closed(pool: Engine) -> None:
    before = sessions(pool)
    async with AsyncLanes() as lanes:
        await lanes.submit("letters", {"text": "x"}, key="k1")
        (first,) = sessions(pool) - before
        await lanes.submit("letters", {"text": "x"}, key="k2")
        assert sessions(pool) - before == {first}
    until_gone(pool, before)


def test_the_asynchronous_functions_close_their_connections_with_their_loop(pool: Engine) -> None:
    before = sessions(pool)
    asyncio.run(client.asubmit("letters", {"text": "x"}, key="k"))
    until_gone(pool, before)


def test_a_lost_connection_is_replaced(pool: Engine) -> None:
    before = sessions(pool)
    with Lanes() as lanes:
        lanes.submit("letters", {"text": "x"}, key="k1")
        (first,) = sessions(pool) - before
        with pool.begin() as connection:
            assert connection.execute(
                text("select pg_terminate_backend(:pid, 5000)"), {"pid": first}
            ).scalar_one()
        assert lanes.submit("letters", {"text": "x"}, key="k2").outcome == "accepted"


def test_a_handle_opens_at_most_the_configured_number_of_connections(pool: Engine) -> None:
    before = sessions(pool)
    with Lanes(connections=2) as lanes, ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda n: lanes.submit("letters", {"text": "x"}, key=f"k{n}"), range(40)))
        assert len(sessions(pool) - before) <= 2


@pytest.mark.slow
def test_repeated_waits_use_one_pair_of_connections(pool: Engine) -> None:
    with pool.begin() as connection:
        admit(connection, "k", now=NOON, urgent=True)
    answer(pool)
    before = sessions(pool)
    seen: set[int] = set()
    for number in range(20):
        assert client.wait("letters", "k", reader=f"{number}") is not None
        seen |= sessions(pool) - before
    assert len(seen) == 2


def test_items_sent_within_a_span_join_its_trace(pool: Engine) -> None:
    span = SpanContext(0x4BF9, 0xF067, is_remote=False, trace_flags=TraceFlags(1))
    of_span = bytes.fromhex(f"{0x4BF9:032x}{0xF067:016x}01")
    other = f"00-{'a' * 32}-{'b' * 16}-00"

    async def send_async() -> None:
        async with AsyncLanes() as lanes:
            await lanes.submit("letters", {"text": "x"}, key="async")

    with use_span(NonRecordingSpan(span)):
        for _ in range(2):  # sent again, it is the same job
            client.submit_many("letters", [{"payload": {"text": "x"}}], job="week")
        client.submit("letters", {"text": "x"}, key="another", traceparent=other)
        client.submit("letters", {"text": "x"}, key="none", traceparent=None)
        asyncio.run(send_async())
    client.submit("letters", {"text": "x"}, key="outside")
    client.submit_many("letters", [{"payload": {"text": "x"}, "traceparent": other}], job="week")
    with pool.begin() as connection:
        kept = {each.key: each.trace for each in rows(connection, "item")}
    assert kept == {
        "week:1": of_span,
        "another": bytes.fromhex(f"{'a' * 32}{'b' * 16}00"),
        "none": None,
        "async": of_span,
        "outside": None,
    }
