"""The event door: reads the event stream from a watermark and admits its events, many in one transaction.

The door is best effort by Prefect's nature: an event that the server dropped never reaches us. For stored events, we subscribe
first, then read the stored events again with an overlap. Admission is idempotent. A check once a minute finds events that
occurred earlier. A chunk that meets a lock is halved until the locked event is found; this event is kept and retried alone.
Amendments are read together with arrivals, and applied after the arrivals of the same read. An event that finds the queue full
is read from the store later.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain, repeat
from typing import Any

from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.events import Event
from prefect.events.clients import PrefectEventSubscriber, get_events_subscriber
from prefect.events.filters import EventFilter, EventNameFilter, EventOccurredFilter, EventOrder
from prefect.logging import get_run_logger

from lanes.doors.item import Amendment, Refusal, Submission, read_amendment, read_submission
from lanes.doors.stream import LOOK_BACK, OVERLAP, SPAN, Stream, find_unread_spans, span_start
from lanes.errors import Refused, StillLocked
from lanes.json_data import weight
from lanes.packing import MOST_BYTES, chunks
from lanes.store.database import Database, run_alone
from lanes.store.doors import items
from lanes.text import describe_error
from tasks.saving import retry_transient

ARRIVED = "lanes.item.arrived"
AMENDED = "lanes.item.amended"
DOOR = "event"
PREFIX = "lanes.workload."
FIRST_WAIT = timedelta(milliseconds=100)  # longer than a concurrent sender of the same key needs
NEXT_WAIT = timedelta(milliseconds=10)  # after a chunk has met a lock
SWEEP_EVERY_S = 10.0
SOON_S = (1.0, 1.0, 3.0)  # first pauses: Prefect may not have stored the event that started us
LOOK_EVERY_S = 60.0
FIRST_LOOK_S = 5.0  # recent arrivals are answered first
RETRY_EVERY_S = 1.0
MOST = 500  # events admitted in one transaction
QUEUED = 2 * MOST  # streamed events that wait for admission
QUEUED_BYTES = 64 * 1024**2  # of their payloads
RETRIED = 50  # kept events that are retried in one round


@dataclass(frozen=True)
class DoorLimits:
    """The limits of one transaction at the event door, and how often one call waits for locks.

    The waits bound the cost of many locked keys to half a second; a single one is found with ten in 500 events.
    """

    events: int = 500
    bytes: int = MOST_BYTES
    waits: int = 40


def subject(event: Event) -> tuple[str, str]:
    """Return the item of the event: its resource and key, or the event's id if there is no key."""
    key = event.payload.get("key")
    return event.resource.id, str(event.id) if key is None else str(key)


async def admit_events(
    db: Database, events: Sequence[Event], *, now: datetime, limits: DoorLimits = DoorLimits()
) -> list[Event]:
    """Admit events as items or amendments, or refuse each with its reason.

    Return the events that met a lock, or that follow a locked event of the same item.
    """
    arrivals: list[tuple[Event, Submission]] = []
    late: list[tuple[Event, Amendment]] = []
    refusals: list[Refusal] = []
    for event in events:
        workload, place, key = (
            event.resource.id.removeprefix(PREFIX),
            str(event.id),
            subject(event)[1],
        )
        payload, occurred_at = event.payload, event.occurred
        try:
            if workload == event.resource.id:
                raise Refused("malformed", f'resource "{workload}" is not "{PREFIX}<name>"')
            if event.event == AMENDED:
                late.append(
                    (event, read_amendment(workload, payload, place=place, sent_at=occurred_at))
                )
            else:
                arrivals.append(
                    (event, read_submission(workload, payload, place=place, sent_at=occurred_at))
                )
        except Refused as error:
            text = json.dumps(payload, ensure_ascii=True, default=str)
            refusals.append(Refusal(workload, place, error.reason, str(error), text, key))
    if refusals:
        await db.run(items.refuse, refusals, door=DOOR, now=now)
    door = _Door(db, now, limits)
    if arrivals:
        await door.admit(arrivals)
    for event, amendment in late:  # one transaction each, because an amendment locks its item
        await door.amend(event, amendment)
    return door.locked


class _Door:
    """One call of `admit_events`, with the lock waits that it has left."""

    def __init__(self, db: Database, now: datetime, limits: DoorLimits) -> None:
        self._db, self._now, self._limits = db, now, limits
        self._wait, self._waits_left = FIRST_WAIT, limits.waits
        self.locked: list[Event] = []

    async def admit(self, arrivals: list[tuple[Event, Submission]]) -> None:
        """Admit the arrivals, except those that met a lock."""
        most, most_bytes = self._limits.events, self._limits.bytes
        parts = chunks(
            arrivals, most=most, most_bytes=most_bytes, weight=lambda each: weight(each[1].payload)
        )
        remaining = [*parts][::-1]
        while remaining:
            chunk = remaining.pop()
            try:
                submissions = [submission for _, submission in chunk]
                await self._db.run(
                    run_alone, self._wait, items.admit, submissions, door=DOOR, now=self._now
                )
            except StillLocked:
                self._has_waited()
                middle = len(chunk) // 2
                if middle == 0 or self._waits_left <= 0:
                    self.locked += [event for event, _ in chunk]
                else:
                    remaining += [chunk[middle:], chunk[:middle]]

    async def amend(self, event: Event, amendment: Amendment) -> None:
        """Apply the amendment, unless it meets a lock or follows a locked event of its item."""
        if self._waits_left <= 0 or subject(event) in map(subject, self.locked):
            self.locked.append(event)
            return
        try:
            await self._db.run(
                run_alone, self._wait, items.amend, amendment, door=DOOR, now=self._now
            )
        except StillLocked:
            self._has_waited()
            self.locked.append(event)

    def _has_waited(self) -> None:
        self._wait = NEXT_WAIT
        self._waits_left -= 1


class ArrivalReader:
    """A reader of arrivals, active while its task runs; it calls `admitted` after every commit of new events."""

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
        # one admission at a time: two would wait for each other's keys
        self._alone = asyncio.Lock()

    async def run(self) -> None:
        """Follow the stream and sweep the store until cancelled; wait while the server is unavailable."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._stream())
            group.create_task(self._sweep())
            group.create_task(self._look_back())
            group.create_task(self._admit_streamed())
            group.create_task(self._retry_kept())

    async def _stream(self) -> None:
        while True:
            try:
                async with subscribe() as events:
                    async for event in events:
                        self.take(event)
            # the websocket client raises many kinds of errors; the sweep covers the gap
            except Exception as error:
                message = "the event stream broke (%s); connecting again"
                get_run_logger().warning(message, describe_error(error))
            await asyncio.sleep(1)

    def take(self, event: Event) -> None:
        """Queue the event for admission, or leave it to the sweep if the queue is full."""
        size = weight(event.payload)
        if not self._streamed.full() and self._queued_bytes + size <= self._most_bytes:
            self._streamed.put_nowait(event)
            self._queued_bytes += size
        else:
            self._books.record_missed(event)
            if not self._no_room:
                self._no_room = True
                message = "%d events wait for their admission; the next are read from the store"
                get_run_logger().warning(message, self._streamed.qsize())

    async def _sweep(self) -> None:
        for pause_s in chain(SOON_S, repeat(SWEEP_EVERY_S)):
            try:
                await self.read_stored()
            except Exception as error:
                message = "stored events could not be read (%s); reading them again"
                get_run_logger().warning(message, describe_error(error))
            await asyncio.sleep(pause_s)

    async def _look_back(self) -> None:
        await asyncio.sleep(FIRST_LOOK_S)
        while True:
            try:
                await self.looking.look()
            except Exception as error:
                message = "stored events could not be counted (%s); counting them again"
                get_run_logger().warning(message, describe_error(error))
            await asyncio.sleep(LOOK_EVERY_S)

    async def read_stored(self) -> None:
        """Admit the events stored since the last read, and advance the watermark."""
        began = await self._db.now()
        if self._read_until is None:
            self._read_until = await self._db.run(items.read_watermark, items.ARRIVALS)
        since = (self._read_until or began) - OVERLAP
        async with get_client() as client:
            # read past the present, because clocks differ
            async for events in pages(client, since, began + LOOK_BACK):
                await self.admit(events)
        await self.has_read(began)

    async def has_read(self, began: datetime) -> None:
        """Advance the watermark after a complete read; it never passes an event that is not admitted."""
        self._read_until = self._books.read_until(began, await self._db.now())
        until = self._books.watermark(self._read_until)
        await self._db.run(items.advance_watermark, items.ARRIVALS, until)

    async def _admit_streamed(self) -> None:
        while True:
            await self.admit_next()

    async def admit_next(self) -> None:
        """Wait for a streamed event, and admit it with the other queued events, up to `MOST`."""
        events = [await self._streamed.get()]
        while not self._streamed.empty() and len(events) < MOST:
            events.append(self._streamed.get_nowait())
        self._queued_bytes -= sum(weight(event.payload) for event in events)
        self._no_room = self._no_room and not self._streamed.empty()
        await self.admit(events)

    async def admit(self, events: Sequence[Event]) -> None:
        """Admit the new events; keep the events that met a lock, so that the others never wait for them."""
        async with self._alone:
            new = self._books.select_new({event.id: event for event in events}.values())
            if not new:
                return
            now = await self._db.now()
            free = [event for event in new if not self._books.has_kept(subject(event))]
            met_a_lock = await retry_transient(lambda: admit_events(self._db, free, now=now))
            stuck = {event.id for event in met_a_lock}
            admitted = {event.id: event for event in free if event.id not in stuck}
            self._books.record_admitted(admitted.values())
            for event in new:
                if event.id not in admitted:
                    self._books.keep(event, subject(event))
        self._admitted()

    async def _retry_kept(self) -> None:
        while True:
            await asyncio.sleep(RETRY_EVERY_S)
            await self.retry()

    async def retry(self) -> None:
        """Retry each event that met a lock, alone."""
        for item, event in self._books.next_kept(RETRIED):
            async with self._alone:
                now = await self._db.now()
                met_a_lock = await retry_transient(
                    lambda event=event, now=now: admit_events(self._db, [event], now=now)
                )
                self._books.record_try(item, admitted=not met_a_lock)
            if not met_a_lock:
                self._admitted()


def subscribe() -> PrefectEventSubscriber:
    """Return a subscription to the stream of arrivals, starting with those of the last minute."""
    wanted = EventFilter(event=EventNameFilter(name=[ARRIVED, AMENDED]))  # pyright: ignore[reportCallIssue]
    return get_events_subscriber(filter=wanted, reconnection_attempts=2)


PAGE = 50  # the largest page of stored events that the server returns
COUNT: Any = "/events/count-by/time"  # a path that the client's types do not know
MINUTES = SPAN.total_seconds() / 60


async def pages(
    client: PrefectClient, since: datetime, until: datetime, *, of: int = PAGE
) -> AsyncIterator[Sequence[Event]]:
    """Yield the events from `since` to `until`, both included, oldest first, in pages of `of`."""
    page = await client.read_events(_match_arrivals(since, until), limit=of)
    while page.events:
        yield page.events
        following = await page.get_next_page(client)
        if following is None:
            return
        page = following


async def counts(client: PrefectClient, since: datetime, until: datetime) -> dict[datetime, int]:
    """Count the events of each span from `since` to `until`, in one request."""
    event_filter = _match_arrivals(
        span_start(since), span_start(until) + SPAN - datetime.resolution
    )
    filter_ = event_filter.model_dump(mode="json")
    query = {"filter": filter_, "time_unit": "minute", "time_interval": MINUTES}
    answer = await client.request("POST", COUNT, json=query)
    return {
        span_start(datetime.fromisoformat(each["start_time"])): each["count"]
        for each in answer.json()
    }


def _match_arrivals(since: datetime, until: datetime) -> EventFilter:
    return EventFilter(
        event=EventNameFilter(name=[ARRIVED, AMENDED]),
        occurred=EventOccurredFilter.model_validate({"since": since, "until": until}),
        order=EventOrder.ASC,
    )  # pyright: ignore[reportCallIssue]


MOST_PAGES = 200  # read in one look; a started span is read to its end


async def unread_since(db: Database, now: datetime) -> datetime:
    """Return the time since which events may be unread."""
    return (await db.run(items.read_watermark, items.ARRIVALS) or now) - OVERLAP


async def has_arrived(db: Database, now: datetime) -> bool:
    """Return whether an event is stored that occurred later than `OVERLAP` before the watermark."""
    since = await unread_since(db, now)
    async with get_client() as client:
        async for _ in pages(client, since, now + OVERLAP, of=1):
            return True
    return False


async def came_late(db: Database, now: datetime) -> bool:
    """Return whether any span of the last day contains more stored events than were read."""
    since = span_start(now - LOOK_BACK)
    read = await db.run(items.read_spans, since=since)
    async with get_client() as client:
        return bool(find_unread_spans(await counts(client, since, now), read, now))


class LookBack:
    """A check of the whole last day for unread events, up to `most_pages` a look; `admit` receives the events found."""

    def __init__(
        self,
        db: Database,
        books: Stream[Event],
        admit: Callable[[Sequence[Event]], Awaitable[None]],
        most_pages: int = MOST_PAGES,
    ) -> None:
        self._db, self._books, self._admit, self._most_pages = db, books, admit, most_pages

    async def look(self) -> int:
        """Read the spans that contain more events than were read so far, newest first; return the number of pages."""
        now = await self._db.now()
        since = span_start(now - LOOK_BACK)
        read_counts = await self._db.run(items.read_spans, since=since)
        page_count = 0
        async with get_client() as client:
            stored = await counts(client, since, now)
            stored_counts = {start: stored.get(start, 0) for start in read_counts}
            shrunk = {
                start: number
                for start, number in stored_counts.items()
                if number < read_counts[start]
            }
            # the server has deleted events of these spans
            await self._db.run(items.record_spans, shrunk, since=since)
            for start in find_unread_spans(stored, read_counts, now):
                if page_count >= self._most_pages:
                    break
                page_count += await self._read(client, start)
                if not self._books.has_unadmitted(start, start + SPAN):
                    await self._db.run(items.record_spans, {start: stored[start]}, since=since)
        return page_count

    async def _read(self, client: PrefectClient, start: datetime) -> int:
        page_count = 0
        async for events in pages(client, start, start + SPAN - datetime.resolution):
            await self._admit(events)
            page_count += 1
        return page_count
