"""Admit events as items and amendments. Amendments are read beside arrivals, and applied after the arrivals of the same read.

No event waits for long: a chunk that meets a lock is halved until the locked event is alone, and that event is handed back.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from prefect.events import Event

from lanes.doors.item import Amendment, Refusal, Submission, read_amendment, read_submission
from lanes.errors import Refused, StillLocked
from lanes.json_data import weight
from lanes.packing import MOST_BYTES, chunks
from lanes.store.database import Database
from lanes.store.doors import items
from lanes.store.locks import by_itself

ARRIVED = "lanes.item.arrived"
AMENDED = "lanes.item.amended"
DOOR = "event"
PREFIX = "lanes.workload."
FIRST_WAIT = timedelta(milliseconds=100)  # longer than a concurrent sender of the same key takes
NEXT_WAIT = timedelta(milliseconds=10)  # once a chunk has met a lock


@dataclass(frozen=True)
class DoorLimits:
    """How much is admitted in one transaction, and how often one call waits for locks.

    The waits bound the cost of many locked keys to half a second; a single one is found with ten in 500 events.
    """

    events: int = 500
    bytes: int = MOST_BYTES
    waits: int = 40


def subject(event: Event) -> tuple[str, str]:
    """Return the item that the event is about: its resource and key, or the event's id without a key."""
    key = event.payload.get("key")
    return event.resource.id, str(event.id) if key is None else str(key)


async def admit_events(
    db: Database, events: Sequence[Event], *, now: datetime, limits: DoorLimits = DoorLimits()
) -> list[Event]:
    """Admit events as items or amendments, or refuse each with its reason.

    Returns those that met a lock, or that follow an event of the same item that did.
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
        payload, at = event.payload, event.occurred
        try:
            if workload == event.resource.id:
                raise Refused("malformed", f'resource "{workload}" is not "{PREFIX}<name>"')
            if event.event == AMENDED:
                late.append((event, read_amendment(workload, payload, place=place, sent_at=at)))
            else:
                arrivals.append(
                    (event, read_submission(workload, payload, place=place, sent_at=at))
                )
        except Refused as why:
            text = json.dumps(payload, ensure_ascii=True, default=str)
            refusals.append(Refusal(workload, place, why.reason, str(why), text, key))
    if refusals:
        await db.run(items.refuse, refusals, door=DOOR, now=now)
    door = _Door(db, now, limits)
    if arrivals:
        await door.admit(arrivals)
    for event, amendment in late:  # one transaction each: it locks its item
        await door.amend(event, amendment)
    return door.locked


class _Door:
    """One call's patience with locks."""

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
        left = [*parts][::-1]
        while left:
            chunk = left.pop()
            try:
                asked = [submission for _, submission in chunk]
                await self._db.run(
                    by_itself, self._wait, items.admit, asked, door=DOOR, now=self._now
                )
            except StillLocked:
                self._has_waited()
                middle = len(chunk) // 2
                if middle == 0 or self._waits_left <= 0:
                    self.locked += [event for event, _ in chunk]
                else:
                    left += [chunk[middle:], chunk[:middle]]

    async def amend(self, event: Event, amendment: Amendment) -> None:
        """Take the amendment, unless it met a lock or follows something that did."""
        if self._waits_left <= 0 or subject(event) in map(subject, self.locked):
            self.locked.append(event)
            return
        try:
            await self._db.run(
                by_itself, self._wait, items.amend, amendment, door=DOOR, now=self._now
            )
        except StillLocked:
            self._has_waited()
            self.locked.append(event)

    def _has_waited(self) -> None:
        self._wait = NEXT_WAIT
        self._waits_left -= 1
