"""PgQueuer on psycopg: a general queue, which stores no answers."""

import asyncio
import json
import time
from datetime import timedelta

import psycopg
from pgqueuer.adapters.drivers.psycopg import PsycopgDriver  # pyright: ignore[reportMissingImports]
from pgqueuer.adapters.persistence.queries import Queries  # pyright: ignore[reportMissingImports]
from pgqueuer.core.qm import QueueManager  # pyright: ignore[reportMissingImports]

from tests.benchmarks.letters import payloads
from tests.benchmarks.peers.waiting import until_none

CHUNK = 500


def seconds(url: str, items: int, *, beside: bool) -> float:
    """Return the seconds to submit and complete `items` jobs; with `beside`, a worker completes jobs during the submission."""
    return asyncio.run(_lead(url, items, beside))


async def _lead(url: str, items: int, beside: bool) -> float:
    inputs = payloads(items)
    async with await _connected(url) as door, await _connected(url) as connection:
        queries = Queries(PsycopgDriver(door))
        await queries.install()
        manager = QueueManager(Queries(PsycopgDriver(connection)))

        @manager.entrypoint("letter")
        async def letter(job: object) -> None:
            pass

        def working() -> asyncio.Task[None]:
            return asyncio.create_task(
                manager.run(batch_size=CHUNK, dequeue_timeout=timedelta(milliseconds=100))
            )

        began = time.perf_counter()
        worker = working() if beside else None
        for start in range(0, items, CHUNK):
            encoded: list[bytes | None] = [
                json.dumps(payload).encode() for payload in inputs[start : start + CHUNK]
            ]
            await queries.enqueue(["letter"] * len(encoded), encoded, [0] * len(encoded))
        worker = worker or working()
        await until_none(url, "select count(*) from pgqueuer")
        took = time.perf_counter() - began
        manager.shutdown.set()
        await worker
        return took


async def _connected(url: str) -> psycopg.AsyncConnection:
    return await psycopg.AsyncConnection.connect(url, autocommit=True)
