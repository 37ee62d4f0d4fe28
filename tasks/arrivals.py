"""The event door: reads the stream from a watermark and admits what it brings, many events in one transaction.
Amendments are read beside arrivals, and taken after the arrivals that came with them.

Best effort by Prefect's nature: an event the server dropped never reaches us. What it stored does: we subscribe
first, then read the stored events again with an overlap, and admission is idempotent.
"""

import asyncio
import json
from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from prefect import get_client
from prefect.events import Event
from prefect.events.clients import get_events_subscriber
from prefect.events.filters import EventFilter, EventNameFilter, EventOccurredFilter, EventOrder
from prefect.logging import get_run_logger

from lanes.errors import Refused
from lanes.item import Amendment, Submission, read_amendment, read_submission
from lanes.store import amendments, items, watermarks
from lanes.store.database import Database

ARRIVED = "lanes.item.arrived"
AMENDED = "lanes.item.amended"
DOOR = "event"
PREFIX = "lanes.workload."
OVERLAP = timedelta(seconds=30)  # stored events appear late: the server flushes every few seconds
SWEEP_EVERY_S = 10.0
PAGE = 50  # the most stored events the server gives at once
MOST = 500  # events admitted in one transaction
REMEMBERED = 50_000  # event ids, to leave a stored event that was streamed before


class ArrivalReader:
    """Reads arrivals for as long as its task runs. `admitted` is set whenever something new was committed."""

    def __init__(self, db: Database, admitted: asyncio.Event) -> None:
        self._db = db
        self._admitted = admitted
        self._seen: OrderedDict[UUID, None] = OrderedDict()
        self._streamed: asyncio.Queue[Event] = asyncio.Queue()

    async def run(self) -> None:
        """Follows the stream and sweeps the store until cancelled; an outage of the server is waited out."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._stream())
            group.create_task(self._sweep())
            group.create_task(self._admit_streamed())

    async def _stream(self) -> None:
        while True:
            try:
                wanted = EventFilter(event=EventNameFilter(name=[ARRIVED, AMENDED]))  # pyright: ignore[reportCallIssue]
                async with get_events_subscriber(filter=wanted, reconnection_attempts=2) as subscriber:
                    async for event in subscriber:
                        self._streamed.put_nowait(event)
            except Exception as error:  # the websocket client raises many kinds; the sweep covers the gap
                get_run_logger().warning("the event stream broke (%s); connecting again", error)
            await asyncio.sleep(1)

    async def _sweep(self) -> None:
        while True:
            try:
                await self._read_stored()
            except Exception as error:
                get_run_logger().warning("stored events could not be read (%s); reading them again", error)
            await asyncio.sleep(SWEEP_EVERY_S)

    async def _read_stored(self) -> None:
        began = await self._db.now()
        known = await self._db.run(watermarks.seen_until, watermarks.ARRIVALS)
        wanted = EventFilter(
            event=EventNameFilter(name=[ARRIVED, AMENDED]),
            occurred=EventOccurredFilter.model_validate({"since": (known or began) - OVERLAP}),
            order=EventOrder.ASC,
        )  # pyright: ignore[reportCallIssue]
        async with get_client() as client:
            page = await client.read_events(wanted, limit=PAGE)
            while page.events:
                await self._admit(page.events)
                following = await page.get_next_page(client)
                if following is None:
                    break
                page = following
        await self._db.run(watermarks.advance, watermarks.ARRIVALS, began)

    async def _admit_streamed(self) -> None:
        while True:
            events = [await self._streamed.get()]
            while not self._streamed.empty() and len(events) < MOST:
                events.append(self._streamed.get_nowait())
            await self._admit(events)

    async def _admit(self, events: Sequence[Event]) -> None:
        new = [event for event in events if event.id not in self._seen]
        if not new:
            return
        await admit_events(self._db, new, now=await self._db.now())
        for event in new:
            self._seen[event.id] = None
        while len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        self._admitted.set()


async def admit_events(db: Database, events: Sequence[Event], *, now: datetime) -> None:
    """Each event is an item or an amendment now, or a refusal with its reason."""
    well_formed: list[Submission] = []
    late: list[Amendment] = []
    refusals: list[items.Refusal] = []
    for event in events:
        workload = event.resource.id.removeprefix(PREFIX)
        place = str(event.id)
        try:
            if workload == event.resource.id:
                raise Refused("malformed", f'resource "{event.resource.id}" is not "{PREFIX}<name>"')
            if event.event == AMENDED:
                late.append(read_amendment(workload, event.payload, place=place))
            else:
                well_formed.append(read_submission(workload, event.payload, place=place, sent_at=event.occurred))
        except Refused as refusal:
            refusals.append(items.Refusal(workload, place, refusal.reason, str(refusal), _text(event.payload)))
    if refusals:
        await db.run(items.refuse, refusals, door=DOOR, now=now)
    if well_formed:
        await db.run(items.admit, well_formed, door=DOOR, now=now)
    for amendment in late:  # one transaction each: it locks its item
        await db.run(amendments.amend, amendment, door=DOOR, now=now)


def _text(payload: dict[str, Any]) -> str:
    return json.dumps(payload, ensure_ascii=True, default=str)
