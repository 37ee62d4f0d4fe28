"""Shorthands that use the default handle of the process or of the running event loop."""

import asyncio
import atexit
import os
import threading
import weakref
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from functools import update_wrapper
from inspect import signature
from types import MethodType
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from lanes.client.ahandle import AsyncLanes
from lanes.client.following import AsyncJob
from lanes.client.handle import Lanes
from lanes.settling.listing import JobStatus
from lanes.stand.whereabouts import database_url

P = ParamSpec("P")
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])
Running = tuple[AsyncLanes, AsyncGenerator[None]]

_handles: dict[str, Lanes] = {}
_of_loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Running]] = (
    weakref.WeakKeyDictionary()
)
_guard = threading.Lock()


def handle() -> Lanes:
    """Return the handle for the address that the environment or the stand names now. It lives as long as the process."""
    url = database_url()
    with _guard:
        default_handle = _handles.get(url)
        if default_handle is None:
            default_handle = _handles[url] = Lanes(url)
        return default_handle


async def ahandle() -> AsyncLanes:
    """Return the running event loop's handle. It is closed when the loop shuts down (`asyncio.run` does that)."""
    url, loop = database_url(), asyncio.get_running_loop()
    with _guard:
        handles = _of_loops.setdefault(loop, {})
        is_new = url not in handles
        if is_new:
            new_handle = AsyncLanes(url)
            handles[url] = new_handle, _open_until_the_loop_ends(new_handle)
        default_handle, life = handles[url]
    if is_new:
        await anext(life)
    return default_handle


async def _open_until_the_loop_ends(opened: AsyncLanes) -> AsyncGenerator[None]:
    """Return a generator that the event loop closes, and with it the handle, when the loop shuts down."""
    try:
        yield
    finally:
        await opened.close()


@atexit.register
def _close() -> None:
    for each in _handles.values():
        each.close()


def _forget_lock() -> None:
    """Replace the lock in a forked process, because the thread that may hold it does not exist there."""
    global _guard
    _guard = threading.Lock()


os.register_at_fork(after_in_child=_forget_lock)


def _bind_default(method: Callable[Concatenate[Lanes, P], T]) -> Callable[P, T]:
    """Return the method as a function that uses the default handle."""

    def shorthand(*args: P.args, **kwargs: P.kwargs) -> T:
        return method(handle(), *args, **kwargs)

    return _document(shorthand, method, method.__name__)


def _bind_async_default(
    method: Callable[Concatenate[AsyncLanes, P], Coroutine[Any, Any, T]], name: str = ""
) -> Callable[P, Coroutine[Any, Any, T]]:
    """Return the method as a function that uses the running event loop's handle."""

    async def shorthand(*args: P.args, **kwargs: P.kwargs) -> T:
        return await method(await ahandle(), *args, **kwargs)

    return _document(shorthand, method, name or f"a{method.__name__}")


def _each_of_ahandle(
    method: Callable[Concatenate[AsyncLanes, P], AsyncGenerator[T]],
) -> Callable[P, AsyncGenerator[T]]:
    """Return the generator method as a function that uses the running event loop's handle."""

    async def shorthand(*args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[T]:
        async with aclosing(method(await ahandle(), *args, **kwargs)) as stream:
            async for item in stream:
                yield item

    return _document(shorthand, method, f"a{method.__name__}")


def _document(shorthand: F, method: Callable[..., Any], name: str) -> F:
    """Set a shorthand's name, and the signature and docstring of its method, for `help`."""
    update_wrapper(shorthand, method, assigned=("__doc__", "__annotations__"))
    called = signature(MethodType(method, method))  # without self
    own = {"__name__": name, "__qualname__": name, "__signature__": called}
    for attribute, value in own.items():
        setattr(shorthand, attribute, value)
    return shorthand


submit: Final = _bind_default(Lanes.submit)
submit_many: Final = _bind_default(Lanes.submit_many)
amend: Final = _bind_default(Lanes.amend)
cancel: Final = _bind_default(Lanes.cancel)
label: Final = _bind_default(Lanes.label)
read_result: Final = _bind_default(Lanes.read_result)
wait: Final = _bind_default(Lanes.wait)
results: Final = _bind_default(Lanes.results)
corrections: Final = _bind_default(Lanes.corrections)
job: Final = _bind_default(Lanes.job)
asubmit: Final = _bind_async_default(AsyncLanes.submit)
asubmit_many: Final = _bind_async_default(AsyncLanes.submit_many)
aamend: Final = _bind_async_default(AsyncLanes.amend)
acancel: Final = _bind_async_default(AsyncLanes.cancel)
alabel: Final = _bind_async_default(AsyncLanes.label)
aread_result: Final = _bind_async_default(AsyncLanes.read_result)
await_result: Final = _bind_async_default(AsyncLanes.wait, "await_result")
aresults: Final = _each_of_ahandle(AsyncLanes.results)
acorrections: Final = _each_of_ahandle(AsyncLanes.corrections)


def ajob(name: str) -> AsyncJob:
    """See `Lanes.job`."""

    async def look(name: str) -> JobStatus:
        return await (await ahandle()).job(name).status()

    return AsyncJob(name, look)
