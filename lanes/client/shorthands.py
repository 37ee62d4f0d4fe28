"""Shorthands that use the default handle of the process, and of the running loop."""

import asyncio
import atexit
import os
import threading
import weakref
from collections.abc import AsyncGenerator, Collection, Generator, Iterable, Mapping
from contextlib import aclosing
from datetime import datetime
from typing import Any, Unpack

from lanes.client.ahandle import AsyncLanes
from lanes.client.handle import Lanes
from lanes.client.verbs import Fields, Sent
from lanes.settling.listing import Listed
from lanes.stand.whereabouts import database_url
from lanes.store.settling.results import Result

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


def submit(
    workload: str, payload: Mapping[str, Any], *, key: str | None = None, **fields: Unpack[Fields]
) -> Sent:
    """See `Lanes.submit`."""
    return handle().submit(workload, payload, key=key, **fields)


def submit_many(workload: str, inputs: Iterable[Mapping[str, Any]]) -> list[Sent]:
    """See `Lanes.submit_many`."""
    return handle().submit_many(workload, inputs)


def amend(
    workload: str, key: str, payload: Mapping[str, Any], *, occurred_at: datetime | None = None
) -> Sent:
    """See `Lanes.amend`."""
    return handle().amend(workload, key, payload, occurred_at=occurred_at)


def cancel(workload: str, key: str) -> bool:
    """See `Lanes.cancel`."""
    return handle().cancel(workload, key)


def label(workload: str, key: str, expected: Mapping[str, Any], *, source: str = "client") -> None:
    """See `Lanes.label`."""
    handle().label(workload, key, expected, source=source)


def read_result(workload: str, key: str, *, reader: str) -> Result | None:
    """See `Lanes.read_result`."""
    return handle().read_result(workload, key, reader=reader)


def wait(
    workload: str, key: str, *, reader: str, timeout_s: float = 30, settled: bool = False
) -> Result | None:
    """See `Lanes.wait`."""
    return handle().wait(workload, key, reader=reader, timeout_s=timeout_s, settled=settled)


def results(
    workload: str,
    *,
    states: Collection[str] = (),
    since: datetime | None = None,
    reader: str | None = None,
    follow: bool = False,
    quiet_s: float | None = None,
) -> Generator[Listed]:
    """See `Lanes.results`."""
    return handle().results(
        workload, states=states, since=since, reader=reader, follow=follow, quiet_s=quiet_s
    )


async def asubmit(
    workload: str, payload: Mapping[str, Any], *, key: str | None = None, **fields: Unpack[Fields]
) -> Sent:
    """See `Lanes.submit`."""
    return await (await ahandle()).submit(workload, payload, key=key, **fields)


async def asubmit_many(workload: str, inputs: Iterable[Mapping[str, Any]]) -> list[Sent]:
    """See `Lanes.submit_many`."""
    return await (await ahandle()).submit_many(workload, inputs)


async def aamend(
    workload: str, key: str, payload: Mapping[str, Any], *, occurred_at: datetime | None = None
) -> Sent:
    """See `Lanes.amend`."""
    return await (await ahandle()).amend(workload, key, payload, occurred_at=occurred_at)


async def acancel(workload: str, key: str) -> bool:
    """See `Lanes.cancel`."""
    return await (await ahandle()).cancel(workload, key)


async def alabel(
    workload: str, key: str, expected: Mapping[str, Any], *, source: str = "client"
) -> None:
    """See `Lanes.label`."""
    await (await ahandle()).label(workload, key, expected, source=source)


async def aread_result(workload: str, key: str, *, reader: str) -> Result | None:
    """See `Lanes.read_result`."""
    return await (await ahandle()).read_result(workload, key, reader=reader)


async def await_result(
    workload: str, key: str, *, reader: str, timeout_s: float = 30, settled: bool = False
) -> Result | None:
    """See `Lanes.wait`."""
    return await (await ahandle()).wait(
        workload, key, reader=reader, timeout_s=timeout_s, settled=settled
    )


async def aresults(
    workload: str,
    *,
    states: Collection[str] = (),
    since: datetime | None = None,
    reader: str | None = None,
    follow: bool = False,
    quiet_s: float | None = None,
) -> AsyncGenerator[Listed]:
    """See `AsyncLanes.results`."""
    found = (await ahandle()).results(
        workload, states=states, since=since, reader=reader, follow=follow, quiet_s=quiet_s
    )
    async with aclosing(found):
        async for each in found:
            yield each
