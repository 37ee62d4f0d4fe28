"""A function for each verb, over one handle for an address: sync, or async with an `a` in front."""

from collections.abc import AsyncGenerator, Collection, Generator, Iterable, Mapping
from contextlib import aclosing
from datetime import datetime
from typing import Any, Unpack

from lanes.client.defaults import ahandle, handle
from lanes.client.verbs import Fields, Sent
from lanes.settling.listing import Listed
from lanes.store.settling.results import Result


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
