"""Following a workload's answers: first the current ones, then each change (answered, corrected, settled), without gaps.

A follower polls on a connection of its own handle and is woken by the lookout of the process. If the database is unavailable,
the follower waits; it then finds all changes that were committed in between. A job is followed to its end.
"""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from sqlalchemy import Connection

from lanes.client.lookout import Ear
from lanes.client.places import AsyncJoined, AsyncPool, Joined, Pool
from lanes.errors import DatabaseAway
from lanes.ids import ItemId
from lanes.settling.listing import BEGIN, JobStatus, Listed, ListingPage, ListingQuery
from lanes.store.database import clock
from lanes.store.settling import listing, results
from lanes.store.settling.results import CorrectedRead, News

RELOOK_S = 2.0  # the longest time between two polls, to find changes whose notification was lost or never sent
APART_S = 0.05  # the shortest time between two polls while changes keep arriving,
SHARE = 4  # and at least this multiple of a poll's duration
OUTAGE_S = 60.0  # how long to wait for an unavailable database,
AGAIN_S = 1.0  # and how soon to try it again


T = TypeVar("T")


class Follower(Protocol[T]):
    """A source of news that is polled, such as the items of a workload."""

    def look(self, connection: Connection, /) -> list[T]:
        """Return what is new; the result is the same until `acknowledge` is called."""
        ...

    def acknowledge(self) -> None:
        """Record that the follower has received the last result."""
        ...

    @property
    def more(self) -> bool:
        """Whether another poll would find more at once."""
        ...


class Following:
    """The current items of a query, page by page, then the changes since the object was created.

    It runs in the caller's transaction, which must be READ COMMITTED.
    """

    def __init__(self, connection: Connection, wanted: ListingQuery, reader: str | None) -> None:
        self._wanted, self._reader = wanted, reader
        self._page = ListingPage(onwards=BEGIN)
        self._onwards = self._page.onwards
        self._began_at = clock(connection)
        self._news = News(connection, wanted.workload)
        self._heard = False
        # items of the pages that changed since the beginning: the first news must not repeat them
        self._shown: dict[ItemId, Listed] = {}
        # items whose read could not be recorded because another transaction had locked them
        self._unread: Sequence[Listed] = ()
        self._locked: Sequence[Listed] = ()  # the same, from the last poll

    def look(self, connection: Connection) -> list[Listed]:
        """Return the next page of items, and after the last page the items that have changed.

        The result is the same until `acknowledge` is called. If there is a reader, the read of each returned item is recorded.
        """
        if self._onwards is not None:
            self._page = listing.page(connection, self._wanted, onwards=self._onwards)
            rows = self._page.items
        else:
            self._heard = True
            candidates = listing.among(
                connection, self._wanted.narrow_for_follower(), self._news.read(connection)
            )
            rows = [each for each in candidates if each != self._shown.get(each.item_id)]
        read_items = [*self._unread, *rows]
        self._locked = results.record_reads(
            connection, self._wanted.workload, read_items, self._reader
        )
        return rows

    def acknowledge(self) -> None:
        """Record that the follower has received the last result."""
        self._unread = self._locked
        if not self._heard:
            self._onwards = self._page.onwards
            news = (each for each in self._page.items if each.changed_at >= self._began_at)
            self._shown |= {each.item_id: each for each in news}
            return
        self._news.confirm_read()
        if not self._news.more:
            self._shown.clear()

    @property
    def more(self) -> bool:
        """Whether another poll would find more at once, or news has not been read yet."""
        return not self._heard or self._news.more


class CorrectionWatch:
    """The corrected answers that a reader had taken: the known ones first, then each new one."""

    more = False

    def __init__(self, reader: str) -> None:
        self._reader = reader
        self._told, self._found = set[tuple[object, ...]](), list[CorrectedRead]()

    def look(self, connection: Connection) -> list[CorrectedRead]:
        """Return the corrections that the follower has not received."""
        self._found = results.to_correct(connection, self._reader)
        return [each for each in self._found if _name(each) not in self._told]

    def acknowledge(self) -> None:
        """Record that the follower has received the last result."""
        self._told = {_name(each) for each in self._found}


def _name(correction: CorrectedRead) -> tuple[object, ...]:
    return correction.workload, correction.key, correction.read_at, repr(correction.output)


class Rhythm:
    """The times of the last and the next poll, by the host's clock."""

    def __init__(self, quiet_s: float | None) -> None:
        self._quiet_s = float("inf") if quiet_s is None else quiet_s
        self._arrived_at = self._well_at = self._began_at = time.monotonic()

    def begin(self) -> None:
        """Record that a poll begins."""
        self._began_at = time.monotonic()

    def retry_pause_s(self, error: DatabaseAway) -> float:
        """Return how long to wait before the next poll while the database is unavailable.

        Raises:
            DatabaseAway: the database has been unavailable for longer than a minute.
        """
        if time.monotonic() - self._well_at > OUTAGE_S:
            raise error
        return AGAIN_S

    def pause_s(self) -> float:
        """Record that the poll succeeded, and return the minimum wait before the next one."""
        self._well_at = time.monotonic()
        return max(APART_S, SHARE * (self._well_at - self._began_at))

    def record_arrival(self) -> None:
        """Record that the follower has received and processed an item."""
        self._arrived_at = self._well_at = time.monotonic()

    def is_over(self) -> bool:
        """Return whether the permitted quiet time had passed without an item when the last poll began."""
        return self._began_at - self._arrived_at >= self._quiet_s

    def wait_s(self) -> float:
        """Return how long to wait for a notification before the next poll is due."""
        return max(0.0, min(RELOOK_S, self._arrived_at + self._quiet_s - time.monotonic()))


def follow(place: Pool | Joined, following: Follower[T], quiet_s: float | None) -> Generator[T]:
    """Yield the items, then each new one; end after `quiet_s` seconds without any (None: never)."""
    wake_event, rhythm = threading.Event(), Rhythm(quiet_s)
    ear = Ear(place.address(), wake_event.set)
    try:
        while True:
            wake_event.clear()
            ear.listen()
            rhythm.begin()
            try:
                with place.transaction() as connection:
                    items = following.look(connection)
            except DatabaseAway as error:
                time.sleep(rhythm.retry_pause_s(error))
                continue
            pause_s = rhythm.pause_s()
            yield from items
            following.acknowledge()
            if items:
                rhythm.record_arrival()
            elif not following.more and rhythm.is_over():
                return
            if not following.more:
                time.sleep(pause_s)
                wake_event.wait(rhythm.wait_s())
    finally:
        ear.close()


async def afollow(
    place: AsyncPool | AsyncJoined, following: Follower[T], quiet_s: float | None
) -> AsyncGenerator[T]:
    """Follow as `follow` does, without blocking the event loop."""
    wake_event, rhythm = asyncio.Event(), Rhythm(quiet_s)
    ear = Ear(place.address(), partial(_rouse, asyncio.get_running_loop(), wake_event))
    try:
        while True:
            wake_event.clear()
            ear.listen()
            rhythm.begin()
            try:
                async with place.transaction() as connection:
                    items = await connection.run_sync(following.look)
            except DatabaseAway as error:
                await asyncio.sleep(rhythm.retry_pause_s(error))
                continue
            pause_s = rhythm.pause_s()
            for item in items:
                yield item
            following.acknowledge()
            if items:
                rhythm.record_arrival()
            elif not following.more and rhythm.is_over():
                return
            if not following.more:
                await asyncio.sleep(pause_s)
                with suppress(TimeoutError):
                    async with asyncio.timeout(rhythm.wait_s()):
                        await wake_event.wait()
    finally:
        ear.close()


def _rouse(loop: asyncio.AbstractEventLoop, wake_event: asyncio.Event) -> None:
    with suppress(RuntimeError):  # the event loop was closed, so its follower has ended
        loop.call_soon_threadsafe(wake_event.set)


POLL_S = 1.0


@dataclass(frozen=True)
class Job:
    """The items that were submitted together under one name, from a file, by event, in SQL or by a client."""

    name: str
    look: Callable[[str], JobStatus]

    def status(self) -> JobStatus:
        """Return the progress, failures, cost and expected end of the job.

        Raises:
            UnknownItem: no job has that name.
        """
        return self.look(self.name)

    def wait(self, timeout_s: float = float("inf")) -> JobStatus:
        """Return the job's status once it is done, or after `timeout_s` seconds (`is_done` tells which).

        Raises:
            UnknownItem: no job has that name.
        """
        until = time.monotonic() + timeout_s
        while (
            not (job_status := self.status()).is_done
            and (remaining_s := until - time.monotonic()) > 0
        ):
            time.sleep(min(remaining_s, POLL_S))
        return job_status


@dataclass(frozen=True)
class AsyncJob:
    """The same as `Job`, for asynchronous programs."""

    name: str
    look: Callable[[str], Awaitable[JobStatus]]

    async def status(self) -> JobStatus:
        """See `Job.status`."""
        return await self.look(self.name)

    async def wait(self, timeout_s: float = float("inf")) -> JobStatus:
        """See `Job.wait`."""
        until = time.monotonic() + timeout_s
        while True:
            job_status, remaining_s = await self.status(), until - time.monotonic()
            if job_status.is_done or remaining_s <= 0:
                return job_status
            await asyncio.sleep(min(remaining_s, POLL_S))
