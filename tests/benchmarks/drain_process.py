"""`python -m tests.benchmarks.drain_process ENDPOINT MOST_CALLS`: one drain, which answers until it receives SIGTERM.

It does the work of an `answer` run on the database of LANES_DATABASE_URL, without a run: router, claims, calls, saves.
"""

import asyncio
import os
import signal
import sys

from prefect.logging import disable_run_logger
from pydantic import SecretStr

from blocks.provider import Provider
from lanes import collect_garbage_seldom
from lanes.store.database import Database
from tasks.connections import Connections, keep_what_is_loaded, opening
from tasks.drain import drain
from tasks.tracing import tracing


async def answer(url: str, endpoint_url: str, most_calls: int) -> None:
    """Answer real-time work until this process receives SIGTERM."""
    over = asyncio.Event()
    provider = Provider(api_key=SecretStr("x"), base_url=endpoint_url, most_calls=most_calls)
    async with (
        Database(url, direct_url=os.environ.get("LANES_DIRECT_DATABASE_URL")) as db,
        opening(provider, opened=keep_what_is_loaded) as client,
        tracing(url),
        drain(Connections(db, client, provider), standing=False) as opened,
    ):
        client.begin()
        # Replace the drain's own handler, which ends only a run that calls `stays`.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
        print("READY", flush=True)
        while not over.is_set():
            await opened.stays()
            await opened.turn()


if __name__ == "__main__":
    collect_garbage_seldom()
    with disable_run_logger():
        asyncio.run(answer(os.environ["LANES_DATABASE_URL"], sys.argv[1], int(sys.argv[2])))
