"""Procrastinate: a general queue, which stores no answers."""

import asyncio
import logging
import time
from typing import Any

from procrastinate import App, PsycopgConnector  # pyright: ignore[reportMissingImports]

from tests.benchmarks.letters import payloads
from tests.benchmarks.peers.waiting import until_none

CHUNK = 500
AT_ONCE = 200  # concurrent jobs


def seconds(url: str, items: int, *, beside: bool) -> float:
    """Return the seconds to submit and complete `items` jobs; with `beside`, a worker completes jobs during the submission."""
    logging.getLogger("procrastinate").setLevel(logging.ERROR)
    return asyncio.run(_lead(url, items, beside))


async def _lead(url: str, items: int, beside: bool) -> float:
    inputs = payloads(items)
    app = App(connector=PsycopgConnector(conninfo=url, min_size=4, max_size=12))

    async def complete_one(**payload: object) -> None:
        pass

    letter: Any = app.task(name="letter")(complete_one)
    async with app.open_async():
        await app.schema_manager.apply_schema_async()

        def working() -> asyncio.Task[None]:
            worker = app.run_worker_async(
                wait=True, concurrency=AT_ONCE, install_signal_handlers=False
            )
            return asyncio.create_task(worker)

        began = time.perf_counter()
        worker = working() if beside else None
        for start in range(0, items, CHUNK):
            await letter.batch_defer_async(*inputs[start : start + CHUNK])
        worker = worker or working()
        await until_none(url, "select count(*) from procrastinate_jobs where status <> 'succeeded'")
        took = time.perf_counter() - began
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
        return took
