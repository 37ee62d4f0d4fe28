"""The event door: reads the stream from a watermark and admits what it brings, many events in one transaction.

Best effort by Prefect's nature: an event the server dropped never reaches us. What it stored does: we subscribe
first, then read the stored events again with an overlap, and admission is idempotent; what occurred earlier than that is
looked for once a minute. What meets a lock is kept and tried again alone; where there is no room for an event, the store is
read again.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime

from prefect import get_client
from prefect.events import Event
from prefect.events.clients import get_events_subscriber
from prefect.events.filters import EventFilter, EventNameFilter
from prefect.logging import get_run_logger

from lanes.doors.stream import LOOK_BACK, OVERLAP, Stream
from lanes.json_data import weight
from lanes.store.database import Database
from lanes.store.doors import watermarks
from lanes.text import describe_error
from tasks.admission import AMENDED, ARRIVED, admit_events, subject
from tasks.saving import outlasting
from tasks.stored_events import LookBack, pages

SWEEP_EVERY_S = 10.0
LOOK_EVERY_S = 60.0
FIRST_LOOK_S = 5.0  # what is answered first has come lately
RETRY_EVERY_S = 1.0
MOST = 500  # events admitted in one transaction
QUEUED = 2 * MOST  # streamed events that wait for their admission
QUEUED_BYTES = 64 * 1024**2  # of their payloads
RETRIED = 50  # kept events that are tried again in one round


class ArrivalReader:
    """Reads arrivals for as long as its task runs. `admitted` is called whenever something new was committed."""

    def __init__(
        self,
        db: Database,
        admitted: Callable[[], None],
        *,
        queued: int = QUEUED,
        queued_bytes: int = QUEUED_BYTES,
    ) -> None:
        self._db, self._admitted, self._most_bytes = db, admitted, queued_bytes
        self._books: Stream[Event] = Stream()
        self._read_until: datetime | None = None
        self._streamed: asyncio.Queue[Event] = asyncio.Queue(queued)
        self._queued_bytes = 0
        self._no_room = False
        self.looking = LookBack(db, self._books, self.admit)
        # one admission at a time: they would wait for each other's keys
        self._alone = asyncio.Lock()

    async def run(self) -> None:
        """Follow the stream and sweep the store until cancelled; wait while the server is away."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._stream())
            group.create_task(self._sweep())
            group.create_task(self._look_back())
            group.create_task(self._admit_streamed())
            group.create_task(self._retry_kept())

    async def _stream(self) -> None:
        while True:
            try:
                wanted = EventFilter(event=EventNameFilter(name=[ARRIVED, AMENDED]))  # pyright: ignore[reportCallIssue]
                subscribed = get_events_subscriber(filter=wanted, reconnection_attempts=2)
                async with subscribed as subscriber:
                    async for event in subscriber:
                        self.take(event)
            # the websocket client raises many kinds; the sweep covers the gap
            except Exception as error:
                said = "the event stream broke (%s); connecting again"
                get_run_logger().warning(said, describe_error(error))
            await asyncio.sleep(1)

    def take(self, event: Event) -> None:
        """Queue the event for admission, or leave it to the sweep if too many wait."""
        size = weight(event.payload)
        if not self._streamed.full() and self._queued_bytes + size <= self._most_bytes:
            self._streamed.put_nowait(event)
            self._queued_bytes += size
        else:
            self._books.missed(event)
            if not self._no_room:
                self._no_room = True
                said = "%d events wait for their admission; the next are read from the store"
                get_run_logger().warning(said, self._streamed.qsize())

    async def _sweep(self) -> None:
        while True:
            try:
                await self.read_stored()
            except Exception as error:
                said = "stored events could not be read (%s); reading them again"
                get_run_logger().warning(said, describe_error(error))
            await asyncio.sleep(SWEEP_EVERY_S)

    async def _look_back(self) -> None:
        await asyncio.sleep(FIRST_LOOK_S)
        while True:
            try:
                await self.looking.look()
            except Exception as error:
                said = "stored events could not be counted (%s); counting them again"
                get_run_logger().warning(said, describe_error(error))
            await asyncio.sleep(LOOK_EVERY_S)

    async def read_stored(self) -> None:
        """Admit what was stored since the last reading, and advance the watermark."""
        began = await self._db.now()
        if self._read_until is None:
            self._read_until = await self._db.run(watermarks.seen_until, watermarks.ARRIVALS)
        since = (self._read_until or began) - OVERLAP
        async with get_client() as client:
            # beyond now: clocks differ
            async for events in pages(client, since, began + LOOK_BACK):
                await self.admit(events)
        await self.has_read(began)

    async def has_read(self, began: datetime) -> None:
        """Advance the watermark after a complete reading; it never passes an event that is not admitted."""
        self._read_until = self._books.read_until(began, await self._db.now())
        until = self._books.watermark(self._read_until)
        await self._db.run(watermarks.advance, watermarks.ARRIVALS, until)

    async def _admit_streamed(self) -> None:
        while True:
            await self.admit_next()

    async def admit_next(self) -> None:
        """Wait for a streamed event and admit it with all others that wait."""
        events = [await self._streamed.get()]
        while not self._streamed.empty() and len(events) < MOST:
            events.append(self._streamed.get_nowait())
        self._queued_bytes -= sum(weight(event.payload) for event in events)
        self._no_room = self._no_room and not self._streamed.empty()
        await self.admit(events)

    async def admit(self, events: Sequence[Event]) -> None:
        """Admit the new events; keep those that met a lock, so that the others never wait for them."""
        async with self._alone:
            new = self._books.new({event.id: event for event in events}.values())
            if not new:
                return
            now = await self._db.now()
            free = [event for event in new if not self._books.waits(subject(event))]
            met_a_lock = await outlasting(lambda: admit_events(self._db, free, now=now))
            stuck = {event.id for event in met_a_lock}
            admitted = {event.id: event for event in free if event.id not in stuck}
            self._books.admitted(admitted.values())
            for event in new:
                if event.id not in admitted:
                    self._books.keep(event, subject(event))
        self._admitted()

    async def _retry_kept(self) -> None:
        while True:
            await asyncio.sleep(RETRY_EVERY_S)
            await self.retry()

    async def retry(self) -> None:
        """Try each event that met a lock again, alone."""
        for of, event in self._books.next_kept(RETRIED):
            async with self._alone:
                now = await self._db.now()
                met_a_lock = await outlasting(
                    lambda event=event, now=now: admit_events(self._db, [event], now=now)
                )
                self._books.tried(of, admitted=not met_a_lock)
            if not met_a_lock:
                self._admitted()
