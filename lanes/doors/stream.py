"""The event door's record of its stream: which events it has seen, keeps for a locked item, or missed, and its read position.

streamed -> new -> admitted                         seen: a stored copy is skipped
                -> met a lock -> kept -> admitted   retried alone, in the order of its item
streamed -> no room -> missed                       read again from the store
"""

from collections import OrderedDict, deque
from collections.abc import Hashable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Generic, Protocol, TypeVar

REMEMBERED = 50_000  # smallest number of remembered ids, largest is twice that; a stored event with such an id is skipped
MOST_KEPT = 1_000  # events that wait for a lock; further ones are read again from the store
# Stored events appear late, because the server flushes every few seconds.
OVERLAP = timedelta(seconds=30)


LOOK_BACK = timedelta(days=1)  # how long after it occurred an event can still be found
SPAN = timedelta(minutes=5)  # stored events are counted per span
# events; an unfinished span with at most this many is read again whenever it has grown
SMALL = 1_000


class Occurrence(Protocol):
    """An event, reduced to the fields that the stream needs."""

    @property
    def id(self) -> Hashable: ...
    @property
    def occurred(self) -> datetime: ...


E = TypeVar("E", bound=Occurrence)


class Stream(Generic[E]):
    """One reader's record. An event is seen once it was admitted; a subject is the item that an event concerns."""

    def __init__(self, *, remembered: int = REMEMBERED, most_kept: int = MOST_KEPT) -> None:
        self._remembered, self._most_kept = remembered, most_kept
        self._seen: set[Hashable] = set()
        # Ids that were admitted before the oldest in `_seen`.
        self._seen_before: set[Hashable] = set()
        # By subject, each queue in order.
        self._kept: OrderedDict[Hashable, deque[E]] = OrderedDict()
        self._ids: set[Hashable] = set()  # ids of kept events
        self._missed_since: datetime | None = None
        self._missed_by: datetime | None = None

    def select_new(self, events: Iterable[E]) -> list[E]:
        """Return the events that were neither admitted nor kept."""
        known = (self._seen, self._seen_before, self._ids)
        return [each for each in events if not any(each.id in some for some in known)]

    def record_admitted(self, events: Iterable[E]) -> None:
        """Record that each event became an item, an amendment or a refusal."""
        for event in events:
            if len(self._seen) >= self._remembered:
                self._seen, self._seen_before = set(), self._seen
            self._seen.add(event.id)

    def has_kept(self, subject: Hashable) -> bool:
        """Return whether an event with that subject is kept, so that later ones must wait behind it."""
        return subject in self._kept

    def keep(self, event: E, subject: Hashable) -> None:
        """Keep an event that met a lock, or whose subject did earlier; if too many are kept, record it as missed."""
        if len(self._ids) >= self._most_kept:
            self.record_missed(event)
            return
        self._kept.setdefault(subject, deque()).append(event)
        self._ids.add(event.id)

    def next_kept(self, most: int) -> list[tuple[Hashable, E]]:
        """Return the first kept event of up to `most` subjects, starting with those that were tried longest ago."""
        return [(subject, self._kept[subject][0]) for subject in list(self._kept)[:most]]

    def record_try(self, subject: Hashable, *, admitted: bool) -> None:
        """Drop the subject's first event if it was admitted; otherwise try it again after the other subjects."""
        if not admitted:
            self._kept.move_to_end(subject)
            return
        events = self._kept[subject]
        first = events.popleft()
        self._ids.discard(first.id)
        self.record_admitted([first])
        if not events:
            del self._kept[subject]

    def record_missed(self, event: E) -> None:
        """Record that there was no room for the event, so that it will be read from the store."""
        self._missed_since = min(self._missed_since or event.occurred, event.occurred)
        self._missed_by = None

    def read_until(self, began: datetime, ended: datetime) -> datetime:
        """Return the moment from which (less `OVERLAP`) the next reading of the store starts.

        A missed event is in the store `OVERLAP` later, so a reading that began after that has found it.
        """
        if self._missed_since is None:
            return began
        if self._missed_by is None:
            self._missed_by = ended  # all missed events had been missed by then
        if began >= self._missed_by + OVERLAP:
            self._missed_since = self._missed_by = None
            return began
        return min(began, self._missed_since)

    def has_unadmitted(self, since: datetime, until: datetime) -> bool:
        """Return whether an event that occurred between `since` and `until` is known but not admitted yet."""
        kept = any(since <= each.occurred < until for each in self._list_kept())
        return kept or (self._missed_since is not None and self._missed_since < until)

    def watermark(self, read_until: datetime) -> datetime:
        """Return where another reader must start; no kept event lies before that moment."""
        return min([read_until, *(each.occurred for each in self._list_kept())])

    def _list_kept(self) -> Iterable[E]:
        return chain.from_iterable(self._kept.values())


def span_start(moment: datetime) -> datetime:
    """Return the start of the span that contains the moment, in UTC."""
    seconds = SPAN.total_seconds()
    return datetime.fromtimestamp(moment.timestamp() // seconds * seconds, UTC)


def find_unread_spans(
    stored: Mapping[datetime, int], read: Mapping[datetime, int], now: datetime
) -> list[datetime]:
    """Return the spans with unread events, newest first; an unfinished span counts only while it is small."""
    more = (start for start, events in stored.items() if events > read.get(start, 0))
    due = (each for each in more if each + SPAN + OVERLAP <= now or stored[each] <= SMALL)
    return sorted(due, reverse=True)
