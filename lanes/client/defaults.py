"""The handles behind the functions of `lanes.client`: one for an address, and for asynchronous callers one for each loop."""

import asyncio
import atexit
import os
import threading
import weakref
from collections.abc import AsyncGenerator

from lanes.client.ahandle import AsyncLanes
from lanes.client.handle import Lanes
from lanes.stand.whereabouts import database_url

Running = tuple[AsyncLanes, AsyncGenerator[None]]

_handles: dict[str, Lanes] = {}
_of_loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Running]] = (
    weakref.WeakKeyDictionary()
)
_guard = threading.Lock()


def handle() -> Lanes:
    """Return the handle of the address that the environment, or the stand, names now. It lives as long as the process."""
    url = database_url()
    with _guard:
        found = _handles.get(url)
        if found is None:
            found = _handles[url] = Lanes(url)
        return found


async def ahandle() -> AsyncLanes:
    """Return the asynchronous handle of the running loop. It is closed with the loop (`asyncio.run` does that)."""
    url, loop = database_url(), asyncio.get_running_loop()
    with _guard:
        handles = _of_loops.setdefault(loop, {})
        fresh = url not in handles
        if fresh:
            opened = AsyncLanes(url)
            handles[url] = opened, _open_until_the_loop_ends(opened)
        found, life = handles[url]
    if fresh:
        await anext(life)
    return found


async def _open_until_the_loop_ends(opened: AsyncLanes) -> AsyncGenerator[None]:
    """Begin a generator that the loop closes when it is shut down."""
    try:
        yield
    finally:
        await opened.close()


@atexit.register
def _close() -> None:
    for each in _handles.values():
        each.close()


def _forget_lock() -> None:
    """A forked process does not have the thread that may hold it."""
    global _guard
    _guard = threading.Lock()


os.register_at_fork(after_in_child=_forget_lock)
