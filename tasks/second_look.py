"""Every few seconds what was routed is looked at again: by one snapshot of the real-time lane, each look by itself."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial

from lanes.routing.load import Load
from lanes.routing.second_look import LOOKS_EVERY
from lanes.store.realtime import load
from tasks.background import BackgroundTasks
from tasks.connections import Connections
from tasks.rescue import rescue_late
from tasks.shed import Shedder

Look = Callable[[Load], Awaitable[object]]


async def look_again(at: Connections, looks: Sequence[Look]) -> None:
    """Each look has seen the lane as it is now.

    Raises:
        ExceptionGroup: some of them broke; the others went on.
    """
    now = await at.db.now()
    seen = await at.db.look(
        load.snapshot, account=at.provider.account, most_calls=at.provider.most_calls, now=now
    )
    broken: list[Exception] = []
    for each in looks:
        try:
            await each(seen)
        except Exception as error:
            broken.append(error)
    if broken:
        raise ExceptionGroup("; ".join(f"{type(each).__name__}: {each}" for each in broken), broken)


@asynccontextmanager
async def looking_again(at: Connections) -> AsyncIterator[None]:
    """What was routed is looked at again, beside whatever else its run does; at the end nothing of it goes on."""
    looks: list[Look] = [partial(rescue_late, at.db), Shedder(at.db, at.provider.account).look]
    beside = BackgroundTasks()
    beside.keep(
        "the second look", partial(look_again, at, looks), every_s=LOOKS_EVERY.total_seconds()
    )
    try:
        yield
    finally:
        await beside.close()
