"""A workload's answers as they stand, then as they come, are corrected or settle, look by look; none is missed.

Who follows looks on a connection of its handle, and is roused by the lookout of the process. A database that is away is waited
for: what was committed meanwhile is found when it is back. A job is followed to its end.
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

RELOOK_S = 2.0  # the longest time between two looks, which finds what sent no notification
APART_S = 0.05  # the shortest, while more and more is committed,
SHARE = 4  # and at least this multiple of the time that a look takes
OUTAGE_S = 60.0  # how long a database that is away is waited for,
AGAIN_S = 1.0  # and how soon it is tried again


T = TypeVar("T")


class Follower(Protocol[T]):
    """The subject that is followed, look by look."""

    def look(self, connection: Connection, /) -> list[T]:
        """Return what is new; the same until `acknowledge` is called."""
        ...

    def acknowledge(self) -> None:
        """Note that what was found was received."""
        ...

    @property
    def more(self) -> bool:
        """Whether another look finds more at once."""
        ...


class Following:
    """The wanted items as they stand, page by page, then what comes to be known of them from its beginning on.

    A caller with a transaction (READ COMMITTED) uses it.
    """

    def __init__(self, connection: Connection, wanted: ListingQuery, reader: str | None) -> None:
        self._wanted, self._reader = wanted, reader
        self._page = ListingPage(onwards=BEGIN)
        self._onwards = self._page.onwards
        self._began_at = clock(connection)
        self._news = News(connection, wanted.workload)
        self._heard = False
        # of the pages, what changed meanwhile: it is no news
        self._shown: dict[ItemId, Listed] = {}
        # others had them locked when their read was to be recorded
        self._unread: Sequence[Listed] = ()
        self._locked: Sequence[Listed] = ()  # the same of the last look

    def look(self, connection: Connection) -> list[Listed]:
        """Return the next page of items, and after the last page those that changed.

        The result is the same until `acknowledge` is called.

        Where there is a reader, what they read of them is recorded.
        """
        if self._onwards is not None:
            self._page = listing.page(connection, self._wanted, onwards=self._onwards)
            found = self._page.items
        else:
            self._heard = True
            known = listing.among(
                connection, self._wanted.narrow_for_follower(), self._news.read(connection)
            )
            found = [each for each in known if each != self._shown.get(each.item_id)]
        read = [*self._unread, *found]
        self._locked = results.record_reads(connection, self._wanted.workload, read, self._reader)
        return found

    def acknowledge(self) -> None:
        """Note that the follower has received what was found."""
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
        """Whether another look finds more at once, or has never been taken at what is new."""
        return not self._heard or self._news.more


class CorrectionWatch:
    """The corrected answers that a reader took: those that are known, then each as it comes."""

    more = False

    def __init__(self, reader: str) -> None:
        self._reader = reader
        self._told, self._found = set[tuple[object, ...]](), list[CorrectedRead]()

    def look(self, connection: Connection) -> list[CorrectedRead]:
        """Return what the follower has not received."""
        self._found = results.to_correct(connection, self._reader)
        return [each for each in self._found if _name(each) not in self._told]

    def acknowledge(self) -> None:
        """Note that the follower has received what was found."""
        self._told = {_name(each) for each in self._found}


def _name(of: CorrectedRead) -> tuple[object, ...]:
    return of.workload, of.key, of.read_at, repr(of.output)


class Rhythm:
    """The times of the next look and of the last one, by the host's clock."""

    def __init__(self, quiet_s: float | None) -> None:
        self._quiet_s = float("inf") if quiet_s is None else quiet_s
        self._arrived_at = self._well_at = self._began_at = time.monotonic()

    def begin(self) -> None:
        """Begin a look."""
        self._began_at = time.monotonic()

    def retry_pause_s(self, error: DatabaseAway) -> float:
        """Return how long to wait before the next look while the database is away.

        Raises:
            DatabaseAway: it has been away for longer than a minute.
        """
        if time.monotonic() - self._well_at > OUTAGE_S:
            raise error
        return AGAIN_S

    def pause_s(self) -> float:
        """Note that the look succeeded, and return how long to wait before the next one, whatever is committed."""
        self._well_at = time.monotonic()
        return max(APART_S, SHARE * (self._well_at - self._began_at))

    def record_arrival(self) -> None:
        """Note that the follower has received and processed something."""
        self._arrived_at = self._well_at = time.monotonic()

    def is_over(self) -> bool:
        """Return whether nothing had come for as long as it may be quiet when the last look began."""
        return self._began_at - self._arrived_at >= self._quiet_s

    def wait_s(self) -> float:
        """Return how long until the next look is due, unless something is committed before."""
        return max(0.0, min(RELOOK_S, self._arrived_at + self._quiet_s - time.monotonic()))


def follow(place: Pool | Joined, following: Follower[T], quiet_s: float | None) -> Generator[T]:
    """Return the items, then each new one; end after `quiet_s` seconds without any (None: never)."""
    roused, rhythm = threading.Event(), Rhythm(quiet_s)
    ear = Ear(place.address(), roused.set)
    try:
        while True:
            roused.clear()
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
                roused.wait(rhythm.wait_s())
    finally:
        ear.close()


async def afollow(
    place: AsyncPool | AsyncJoined, following: Follower[T], quiet_s: float | None
) -> AsyncGenerator[T]:
    """Follow as `follow` does, without blocking the event loop."""
    roused, rhythm = asyncio.Event(), Rhythm(quiet_s)
    ear = Ear(place.address(), partial(_rouse, asyncio.get_running_loop(), roused))
    try:
        while True:
            roused.clear()
            ear.listen()
            rhythm.begin()
            try:
                async with place.transaction() as connection:
                    items = await connection.run_sync(following.look)
            except DatabaseAway as error:
                await asyncio.sleep(rhythm.retry_pause_s(error))
                continue
            pause_s = rhythm.pause_s()
            for each in items:
                yield each
            following.acknowledge()
            if items:
                rhythm.record_arrival()
            elif not following.more and rhythm.is_over():
                return
            if not following.more:
                await asyncio.sleep(pause_s)
                with suppress(TimeoutError):
                    async with asyncio.timeout(rhythm.wait_s()):
                        await roused.wait()
    finally:
        ear.close()


def _rouse(loop: asyncio.AbstractEventLoop, roused: asyncio.Event) -> None:
    with suppress(RuntimeError):  # a loop that was closed follows no more
        loop.call_soon_threadsafe(roused.set)


POLL_S = 1.0


@dataclass(frozen=True)
class Job:
    """Items that were submitted together under one name, from a file, by event, in SQL or by a client."""

    name: str
    look: Callable[[str], JobStatus]

    def status(self) -> JobStatus:
        """Return the progress, failures, cost and expected end of the job.

        Raises:
            UnknownItem: no job has that name.
        """
        return self.look(self.name)

    def wait(self, timeout_s: float = float("inf")) -> JobStatus:
        """Return its status once it is done, or when `timeout_s` seconds have passed (`is_done` says which).

        Raises:
            UnknownItem: no job has that name.
        """
        until = time.monotonic() + timeout_s
        while not (found := self.status()).is_done and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, POLL_S))
        return found


@dataclass(frozen=True)
class AsyncJob:
    """As `Job`, for asynchronous programs."""

    name: str
    look: Callable[[str], Awaitable[JobStatus]]

    async def status(self) -> JobStatus:
        """See `Job.status`."""
        return await self.look(self.name)

    async def wait(self, timeout_s: float = float("inf")) -> JobStatus:
        """See `Job.wait`."""
        until = time.monotonic() + timeout_s
        while True:
            found, left = await self.status(), until - time.monotonic()
            if found.is_done or left <= 0:
                return found
            await asyncio.sleep(min(left, POLL_S))
