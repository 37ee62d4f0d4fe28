"""From waiting work to settled items through Message Batches, as Lanes does it.

Lanes commits the intents, creates the requests once, and streams, judges, books and settles the results.
"""

import asyncio
import os
import time
from datetime import datetime

from prefect.logging import disable_run_logger
from pydantic import SecretStr
from sqlalchemy import Connection, create_engine

from blocks.provider import Provider
from lanes.batch.batch import OpenBatch
from lanes.store.batch import batches, ready_work
from lanes.store.database import Database, clock
from lanes.store.doors import items as door
from lanes.store.realtime import load
from lanes.words import Lane
from tasks.collect import bring_home, poll
from tasks.connections import Connections, opening
from tasks.send_batch import send_batch
from tests.benchmarks.letters import batch, payloads
from tests.benchmarks.process_costs import Peak
from tests.examples import route, submission

CHUNK = 2_000  # items admitted in one call before the clock starts


def fill(url: str, items: int) -> None:
    """Admit letters that wait for their batch."""
    engine = create_engine(url)
    inputs = payloads(items)
    for start in range(0, items, CHUNK):
        with engine.begin() as connection:
            _fill(connection, inputs[start : start + CHUNK], start, clock(connection))
        print(f"filled: {min(items, start + CHUNK):,} of {items:,}", flush=True)
    engine.dispose()


def _fill(
    connection: Connection, inputs: list[dict[str, object]], start: int, now: datetime
) -> None:
    batch(connection, now=now)
    asked = [
        submission(f"{start + place:07d}", payload=payload) for place, payload in enumerate(inputs)
    ]
    door.admit(connection, asked, door="client", now=now)
    route(connection, now=now)


def lead(url: str, endpoint_url: str, items: int) -> dict[str, float]:
    """Submit and apply all waiting work; return the seconds of both, the batches, and how much this process grew meanwhile."""
    os.environ["LANES_DATABASE_URL"] = url
    with disable_run_logger():
        return asyncio.run(_lead(url, endpoint_url, items))


async def _lead(url: str, endpoint_url: str, items: int) -> dict[str, float]:
    provider = Provider(
        api_key=SecretStr("x"), base_url=endpoint_url, poll_s=0.2, listing_grace_s=5
    )
    peak, sent, came = Peak(), 0, 0
    async with Database(url) as db, opening(provider) as client:
        at = Connections(db, client, provider)
        (kind,) = await db.run(ready_work.list_waiting_kinds, None, now=await db.now())
        with peak.watched():
            began = time.perf_counter()
            while more := await send_batch(at, kind):
                sent += more
            submit_s = time.perf_counter() - began
            apply_s = 0.0
            open_batches = await db.run(batches.open_batches)
            for each in open_batches:
                await _ended(at, each)
                began = time.perf_counter()
                came += await bring_home(at, each)
                apply_s += time.perf_counter() - began
        left = await db.run(load.backlog, Lane.BATCH, now=await db.now())
    assert (sent, came, left.ready) == (items, items, 0), (
        f"{sent} sent, {came} applied, {left.ready} left"
    )
    return {
        "submit_s": submit_s,
        "apply_s": apply_s,
        "batches": len(open_batches),
        "rss_growth_mb": peak.growth_mb,
    }


async def _ended(at: Connections, batch: OpenBatch) -> None:
    while True:
        if await poll(at, batch):
            return
        await asyncio.sleep(0.1)
