"""What Prefect's server has stored of arrivals and amendments: read page by page, and counted."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any

from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.events import Event
from prefect.events.filters import EventFilter, EventNameFilter, EventOccurredFilter, EventOrder

from lanes.doors.stream import LOOK_BACK, OVERLAP, SPAN, Stream, behind, span_of
from lanes.store.database import Database
from lanes.store.doors import watermarks
from tasks.admission import AMENDED, ARRIVED

PAGE = 50  # the most stored events the server gives at once
COUNT: Any = "/events/count-by/time"  # a path that the client's types do not know
MINUTES = SPAN.total_seconds() / 60


async def pages(
    client: PrefectClient, since: datetime, until: datetime, *, of: int = PAGE
) -> AsyncIterator[Sequence[Event]]:
    """Yield the events from `since` to `until`, both included, oldest first, in pages of `of`."""
    page = await client.read_events(_occurred(since, until), limit=of)
    while page.events:
        yield page.events
        following = await page.get_next_page(client)
        if following is None:
            return
        page = following


async def counts(client: PrefectClient, since: datetime, until: datetime) -> dict[datetime, int]:
    """Count the events of each span from `since` to `until`, in one request."""
    wanted = _occurred(span_of(since), span_of(until) + SPAN - datetime.resolution)
    filter_ = wanted.model_dump(mode="json")
    asked = {"filter": filter_, "time_unit": "minute", "time_interval": MINUTES}
    answer = await client.request("POST", COUNT, json=asked)
    return {
        span_of(datetime.fromisoformat(each["start_time"])): each["count"] for each in answer.json()
    }


def _occurred(since: datetime, until: datetime) -> EventFilter:
    return EventFilter(
        event=EventNameFilter(name=[ARRIVED, AMENDED]),
        occurred=EventOccurredFilter.model_validate({"since": since, "until": until}),
        order=EventOrder.ASC,
    )  # pyright: ignore[reportCallIssue]


MOST_PAGES = 200  # read in one look; a span that was begun is read to its end


async def has_arrived(db: Database, now: datetime) -> bool:
    """Return whether something is stored that occurred later than `OVERLAP` before the last reading."""
    since = await db.run(watermarks.seen_until, watermarks.ARRIVALS) or now
    async with get_client() as client:
        async for _ in pages(client, since - OVERLAP, now + OVERLAP, of=1):
            return True
    return False


async def came_late(db: Database, now: datetime) -> bool:
    """Return whether some span of the last day holds more events than were read of it."""
    since = span_of(now - LOOK_BACK)
    read = await db.run(watermarks.spans, since=since)
    async with get_client() as client:
        return bool(behind(await counts(client, since, now), read, now))


class LookBack:
    """Looks at the whole day at once; what a look has no room for, the next one reads. `admit` takes what was found."""

    def __init__(
        self,
        db: Database,
        books: Stream[Event],
        admit: Callable[[Sequence[Event]], Awaitable[None]],
        most_pages: int = MOST_PAGES,
    ) -> None:
        self._db, self._books, self._admit, self._most_pages = db, books, admit, most_pages

    async def look(self) -> int:
        """Read the spans that hold more events than were read of them, newest first; return the pages read."""
        now = await self._db.now()
        since = span_of(now - LOOK_BACK)
        read = await self._db.run(watermarks.spans, since=since)
        taken = 0
        async with get_client() as client:
            stored = await counts(client, since, now)
            left = {start: stored.get(start, 0) for start in read}
            shrunk = {start: number for start, number in left.items() if number < read[start]}
            # the server has deleted some
            await self._db.run(watermarks.read_spans, shrunk, since=since)
            for start in behind(stored, read, now):
                if taken >= self._most_pages:
                    break
                taken += await self._read(client, start)
                if not self._books.holds(start, start + SPAN):
                    await self._db.run(watermarks.read_spans, {start: stored[start]}, since=since)
        return taken

    async def _read(self, client: PrefectClient, start: datetime) -> int:
        taken = 0
        async for events in pages(client, start, start + SPAN - datetime.resolution):
            await self._admit(events)
            taken += 1
        return taken
