"""Waiting for an item's end from a program of somebody else's: looked at now and then, holding nothing in between.

However many wait in a process, they share two connections, and threads of their own: nobody's submission waits for them.
"""

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from sqlalchemy import Engine

from lanes.errors import ItemCanceled, ItemFailed, UnknownItem
from lanes.store.database import engine
from lanes.store.settling import results
from lanes.store.settling.results import Ended, Result

POLL_S = 0.1
MOST = 2  # connections, and threads of the asynchronous ones


def wait(url: str, workload: str, key: str, *, reader: str, timeout_s: float, settled: bool) -> Result | None:
    """See `lanes.client.wait`."""
    until = time.monotonic() + timeout_s
    with _lookout(url) as pool:
        while True:
            found = _look(pool, workload, key, reader, settled)
            if found is not None or time.monotonic() >= until:
                return found
            time.sleep(POLL_S)


async def await_(url: str, workload: str, key: str, *, reader: str, timeout_s: float, settled: bool) -> Result | None:
    """As `wait`; no thread is taken while nothing is looked at."""
    until = time.monotonic() + timeout_s
    loop = asyncio.get_running_loop()
    with _lookout(url) as pool:
        while True:
            found = await loop.run_in_executor(_threads, _look, pool, workload, key, reader, settled)
            if found is not None or time.monotonic() >= until:
                return found
            await asyncio.sleep(POLL_S)


def _look(pool: Engine, workload: str, key: str, reader: str, settled: bool) -> Result | None:
    with pool.begin() as connection:
        current = results.current(connection, workload, key)
        if current is not None and (current.is_settled or not settled):
            return results.read(connection, workload, key, reader=reader)
        match results.ended(connection, workload, key):
            case None:
                raise UnknownItem(f'workload "{workload}" has no item "{key}"; submit it first, or correct the name')
            case Ended.CANCELED:
                raise ItemCanceled(f'item "{key}" of workload "{workload}" was canceled: it gets no further answer')
            case Ended.FAILED:
                said = f'item "{key}" of workload "{workload}" failed; `lanes explain {workload} {key}` says why'
                raise ItemFailed(said)
            case Ended.NOT_YET:
                return None


_threads = ThreadPoolExecutor(MOST, thread_name_prefix="lanes-wait")
_lookouts: dict[str, tuple[Engine, int]] = {}  # by address, with how many wait there
_guard = threading.Lock()


@contextmanager
def _lookout(url: str) -> Iterator[Engine]:
    """The connections of all who wait there; they are closed once nobody does."""
    with _guard:
        pool, waiting = _lookouts.get(url) or (engine(url, most=MOST), 0)
        _lookouts[url] = pool, waiting + 1
    try:
        yield pool
    finally:
        with _guard:
            pool, waiting = _lookouts[url]
            if waiting == 1:
                del _lookouts[url]
                pool.dispose()
            else:
                _lookouts[url] = pool, waiting - 1
