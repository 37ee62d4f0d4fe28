"""A whole Message Batch: 20,000 items from waiting work to settled, beside JSON encoding plus COPY of the same data.

Measured is what Lanes does: the intent committed, requests encoded and created once (submit), results streamed, judged,
booked and settled (apply). The provider is the local stand-in with its deterministic engine; its own time between create
and end is not counted. The floor encodes the same request bodies as JSON and copies as many results into one table.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path

import psutil
import psycopg
from prefect.logging import disable_run_logger
from psycopg.types.json import Jsonb
from pydantic import SecretStr
from sqlalchemy import Connection

from blocks.provider import Provider
from lanes.batch.batch import OpenBatch
from lanes.provider.requests import Question, parameters
from lanes.store import work
from lanes.store.batch import batches, ready_work
from lanes.store.database import Database, plain_url
from lanes.words import Lane
from tasks.collect import bring_home, poll
from tasks.connections import Connections, opening
from tasks.submit import submit_batch
from tests.benchmarks.ground import Server, medians, server, tell
from tests.examples import admit, publish, route, version
from tests.standin.process import running_endpoint

CHUNK = 2_000  # items admitted in one call before the clock starts
ANSWER = {"category": "a", "note": "as asked"}
ECHO = ("--engine", "echo", "--turnaround-s", "0")


class Peak:
    """The most resident memory of this process while it was watched, in MB above the start."""

    def __init__(self) -> None:
        self.growth_mb = 0.0

    @contextmanager
    def watched(self) -> Iterator[None]:
        me, over = psutil.Process(), threading.Event()
        before = me.memory_info().rss

        def look() -> None:
            while not over.wait(0.02):
                self.growth_mb = max(self.growth_mb, (me.memory_info().rss - before) / 2**20)

        watcher = threading.Thread(target=look)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()


async def lanes(url: str, endpoint_url: str, items: int) -> dict[str, float]:
    """Seconds to submit and to apply one batch, and how much memory that took."""
    provider = Provider(api_key=SecretStr("x"), base_url=endpoint_url, poll_s=0.2, listing_grace_s=5)
    async with Database(url) as db, opening(provider) as client:
        at = Connections(db, client, provider)
        await db.run(partial(_fill, items=items), now=await db.now())
        (kind,) = await db.run(ready_work.waiting_kinds, None, now=await db.now())
        peak = Peak()
        with disable_run_logger(), peak.watched():
            began = time.perf_counter()
            sent = await submit_batch.fn(at, kind)
            submitted = time.perf_counter() - began
            (batch,) = await db.run(batches.open_batches)
            await _ended(at, batch)
            began = time.perf_counter()
            applied = await bring_home(at, batch)
            collected = time.perf_counter() - began
        left = await db.run(work.backlog, Lane.BATCH, now=await db.now())
    assert (sent, applied, left.ready) == (items, items, 0), f"{sent} sent, {applied} applied, {left.ready} left"
    return {"submit_s": submitted, "apply_s": collected, "rss_growth_mb": peak.growth_mb}


async def _ended(at: Connections, batch: OpenBatch) -> None:
    while True:
        if await poll(at, batch):
            return
        await asyncio.sleep(0.1)


def _fill(connection: Connection, items: int, now: datetime) -> None:
    publish(connection, now=now)
    for start in range(0, items, CHUNK):
        keys = [f"{number:06d}" for number in range(start, min(start + CHUNK, items))]
        admit(connection, *keys, now=now, lane=Lane.BATCH)
        route(connection, now=now)


def floor(ground: Server, items: int) -> float:
    """Seconds to encode the bodies of the requests and to copy one result each."""
    of, url = version(), plain_url(ground.database())
    bodies = [parameters(of, Lane.BATCH, [Question("1", {"text": f"letter {number:06d}"})]) for number in range(items)]
    with psycopg.connect(url) as connection:
        connection.execute("create table result (id bigint primary key, output jsonb, created_at timestamptz default now())")
        connection.commit()
        began = time.perf_counter()
        for body in bodies:
            json.dumps(body).encode()
        with connection.cursor() as cursor, cursor.copy("copy result (id, output) from stdin") as copy:
            for number in range(items):
                copy.write_row([number, Jsonb(ANSWER)])
        connection.commit()
        return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    runs: list[dict[str, float]] = []

    def batch() -> float:
        with tempfile.TemporaryDirectory() as home, running_endpoint(Path(home), *ECHO) as endpoint:
            runs.append(asyncio.run(lanes(ground.database(of_lanes=True), endpoint.url, given.items)))
        return runs[-1]["submit_s"] + runs[-1]["apply_s"]

    with server() as ground:
        took = medians({"lanes": batch, "floor": partial(floor, ground, given.items)}, rounds=given.rounds)
    middle = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    figures = {
        "vs_floor": took["floor"] / took["lanes"],
        "rss_growth_mb": max(run["rss_growth_mb"] for run in runs),
        "apply_per_s": given.items / middle["apply_s"],
    }
    seconds = {name: round(value, 2) for name, value in {**took, **middle}.items() if name != "rss_growth_mb"}
    tell("batch", figures, items=given.items, rounds=given.rounds, seconds=seconds)


if __name__ == "__main__":
    main()
