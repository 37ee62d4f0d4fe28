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


def seconds(url: str, items: int) -> float:
    """How long as many jobs took to submit and to complete."""
    return asyncio.run(_lead(url, items))


async def _lead(url: str, items: int) -> float:
    inputs = payloads(items)
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        queries = Queries(PsycopgDriver(connection))
        await queries.install()
        manager = QueueManager(queries)

        @manager.entrypoint("letter")
        async def letter(job: object) -> None:
            pass

        began = time.perf_counter()
        for start in range(0, items, CHUNK):
            encoded: list[bytes | None] = [json.dumps(payload).encode() for payload in inputs[start : start + CHUNK]]
            await queries.enqueue(["letter"] * len(encoded), encoded, [0] * len(encoded))
        worker = asyncio.create_task(manager.run(batch_size=CHUNK, dequeue_timeout=timedelta(milliseconds=100)))
        await until_none(url, "select count(*) from pgqueuer")
        took = time.perf_counter() - began
        manager.shutdown.set()
        await worker
        return took
