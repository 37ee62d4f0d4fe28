"""Request buffering: collect real-time items for a short window and send them as one micro-batch.

Items wait only while another item is expected, and never so long that their call would end after their earliest due time.
BentoML's dispatcher works in a similar way: it waits for one more request only if the gain outweighs the delay. Here the
workload's window (`service`) states the acceptable delay.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from lanes.ids import VersionId
from lanes.packing import BufferStay, ClaimedWork
from lanes.routing.lane_rules import EXPECTED_CALL
from lanes.words import FlushReason, Lane
from lanes.workload.version import Version

SURPRISE = 7.0  # mean gaps without an arrival: one gap in a thousand is longer, so no further item is expected
SILENCE_S = 0.5  # the shortest such silence: a drain claims at intervals, so items arrive in bursts
MOST_GROUPS = 10_000  # bounds the remembered arrivals: senders choose the consumers' names
Size = Callable[[Version], int]  # returns the largest pack size of a version
# A version, and the consumer if only its own items may share a call, else None.
Group = tuple[VersionId, str | None]
# Returns the duration in seconds of a call with that many items of a version, 0 while unknown.
Takes = Callable[[VersionId, int], float]


def count_allowed(version: Version) -> int:
    """Return the largest number of items per real-time call that the workload allows."""
    return version.spec.pack_of(Lane.REALTIME)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A buffered item and the time when it entered the buffer."""

    item: ClaimedWork
    since: datetime


@dataclass
class Gathering:
    """The buffered items of one group, never empty.

    `waiting[0]` opens the window. `per_s` is the arrival rate of other items at the time of the last arrival, None while
    unknown.
    """

    waiting: list[Waiting] = field(default_factory=list)
    last_at: datetime | None = None
    per_s: float | None = None

    def compute_departure(self, version: Version, takes: Takes) -> tuple[datetime, FlushReason]:
        """Return the departure time if no other item arrives, and its reason.

        The items leave when their window ends, when the most pressing item must be sent, or when no other item is expected any
        more, whichever comes first.
        """
        window_end = self.waiting[0].since + timedelta(seconds=version.spec.buffer_s)
        moments = (
            (window_end, FlushReason.OVER),
            (
                self._compute_pressed_at(
                    timedelta(seconds=takes(version.id, len(self.waiting))), window_end
                ),
                FlushReason.PRESSED,
            ),
            (self._compute_hopeless_at(window_end), FlushReason.HOPELESS),
        )
        return min(moments, key=lambda each: each[0])

    def _compute_pressed_at(self, call: timedelta, window_end: datetime) -> datetime:
        """Return the earliest time at which the call of one of the waiting items must begin."""
        ranks = (_compute_ask_at(each.item, window_end) for each in self.waiting)
        dues = (each.item.due_at - call for each in self.waiting if each.item.due_at is not None)
        return min((*ranks, *dues))

    def _compute_hopeless_at(self, window_end: datetime) -> datetime:
        """Return the time from which no other item is expected within the window.

        This is one mean gap before the window's end, or earlier, after a silence that is too long to be chance.
        """
        if self.per_s is None or self.last_at is None:
            return window_end
        left_s = (window_end - self.last_at).total_seconds()
        if self.per_s * left_s < 1:
            return self.last_at
        gap_s = 1 / self.per_s
        return self.last_at + timedelta(
            seconds=min(left_s - gap_s, max(SILENCE_S, SURPRISE * gap_s))
        )


class Buffer:
    """The windows of all groups.

    Work that must travel alone, shadows and replays do not wait; neither do items of a version without a window (`_gathers`).
    """

    def __init__(
        self,
        size: Size = count_allowed,
        takes: Takes = lambda _, __: 0.0,
        most_groups: int = MOST_GROUPS,
    ) -> None:
        self._open: dict[Group, Gathering] = {}
        # Ordered by the groups' latest arrivals, the newest last.
        self._arrivals: OrderedDict[Group, Arrivals] = OrderedDict()
        self._size, self._takes, self._most_groups = size, takes, most_groups

    def add(
        self, claimed: Iterable[ClaimedWork], versions: Mapping[VersionId, Version], now: datetime
    ) -> list[ClaimedWork]:
        """Add the items to their groups' windows, and return the items that do not wait."""
        at_once: list[ClaimedWork] = []
        counts: dict[Group, int] = {}
        for work in claimed:
            version = versions[work.version_id]
            if work.travels_alone or work.measures or not self._gathers(version):
                at_once.append(work)
                continue
            group = (work.version_id, work.shares_with(version.spec.pack_scope))
            self._open.setdefault(group, Gathering()).waiting.append(Waiting(work, now))
            counts[group] = counts.get(group, 0) + 1
        for group, number in counts.items():
            arrivals, window = self._arrivals.setdefault(group, Arrivals()), self._open[group]
            self._arrivals.move_to_end(group)
            arrivals.add(number, now)
            window.last_at, window.per_s = now, arrivals.per_s(now, but=window.waiting[0].since)
        while len(self._arrivals) > self._most_groups:
            self._arrivals.popitem(last=False)
        return at_once

    def take(self, versions: Mapping[VersionId, Version], now: datetime) -> list[ClaimedWork]:
        """Remove and return the items that leave now: full packs, the most urgent items first, and windows that end."""
        return [
            item
            for group in list(self._open)
            for item in self._take_from(group, versions[group[0]], now)
        ]

    def next_leave(self, versions: Mapping[VersionId, Version]) -> datetime | None:
        """Return the time when the next window leaves at the latest; None if the buffer is empty."""
        return min(
            (
                window.compute_departure(versions[id_], self._takes)[0]
                for (id_, _), window in self._open.items()
            ),
            default=None,
        )

    @property
    def version_ids(self) -> set[VersionId]:
        """The versions of the buffered items."""
        return {id_ for id_, _ in self._open}

    def of(self, workload: str) -> int:
        """Return the number of buffered items of a workload."""
        return sum(
            each.item.workload == workload
            for window in self._open.values()
            for each in window.waiting
        )

    def drain(self) -> list[ClaimedWork]:
        """Remove and return all buffered items."""
        return [each.item for group in list(self._open) for each in self._open.pop(group).waiting]

    def _gathers(self, version: Version) -> bool:
        """Return whether items of the version wait in a window.

        If the workload allows packs but the current pack size is 1, waiting gains nothing. If the workload itself allows only
        single calls, its window applies all the same.
        """
        return version.spec.buffer_s > 0 and (
            self._size(version) > 1 or count_allowed(version) == 1
        )

    def _take_from(self, group: Group, version: Version, now: datetime) -> list[ClaimedWork]:
        window, size = self._open[group], self._size(version)
        leaving: list[ClaimedWork] = []
        whole = len(window.waiting) // size * size if size > 1 else 0
        if whole:
            window.waiting.sort(key=lambda each: each.item.rank_at)
            leaving += [
                _record_stay(each, FlushReason.FULL, now) for each in window.waiting[:whole]
            ]
            window.waiting = sorted(window.waiting[whole:], key=lambda each: each.since)
        if window.waiting:
            moment, why = window.compute_departure(version, self._takes)
            if now >= moment:
                leaving += [_record_stay(each, why, now) for each in window.waiting]
                window.waiting = []
        if not window.waiting:
            del self._open[group]
        return leaving

    def __len__(self) -> int:
        return sum(len(window.waiting) for window in self._open.values())


def _compute_ask_at(item: ClaimedWork, window_end: datetime) -> datetime:
    """Return the time at which the item must be sent.

    An urgent item precedes others but waits too, until its window ends or its due time requires the call. Otherwise a workload
    with only urgent items would never share calls.
    """
    if not item.urgent:
        return item.rank_at
    return window_end if item.due_at is None else item.due_at - EXPECTED_CALL


def _record_stay(waiting: Waiting, why: FlushReason, now: datetime) -> ClaimedWork:
    return waiting.item._replace(
        gathered=BufferStay(why, round((now - waiting.since).total_seconds() * 1000))
    )


MEMORY_S = 10.0  # after this time an arrival counts for 1/e: twice the longest window
LEAST_S = 1.0  # shortest observation: a short burst gives no rate


@dataclass
class Arrivals:
    """The arrivals of one group, as an exponentially fading count; the caller supplies the clock."""

    _faded: float = field(default=0.0, init=False)
    _since: datetime | None = field(default=None, init=False)
    _at: datetime | None = field(default=None, init=False)

    def add(self, number: int, now: datetime) -> None:
        """Count `number` arrivals at `now`."""
        self._faded = self._faded * self._remaining_part(now) + number
        self._since, self._at = self._since or now, max(self._at or now, now)

    def per_s(self, now: datetime, *, but: datetime) -> float | None:
        """Return the arrivals per second, without the arrival at `but`: one arrival does not make another more likely.

        None while the rate is unknown, because no arrival before `but` was counted.
        """
        if self._since is None or self._since >= but:
            return None
        looked_s = max(LEAST_S, (now - self._since).total_seconds())
        own = math.exp(-max(0.0, (now - but).total_seconds()) / MEMORY_S)
        others = max(0.0, self._faded * self._remaining_part(now) - own)
        return others / (MEMORY_S * (1 - math.exp(-looked_s / MEMORY_S)))

    def _remaining_part(self, now: datetime) -> float:
        """Return the fraction of the count that remains at `now` after fading since the newest arrival."""
        return (
            1.0
            if self._at is None
            else math.exp(-max(0.0, (now - self._at).total_seconds()) / MEMORY_S)
        )


MEMORY = 0.98  # decay of the sums with each call: about the last fifty calls of a version count
UNSURE = 1.25  # safety factor on the mean duration: many calls take longer
ALIKE = 1e-6  # variance of the sizes below which they reveal no duration per item


@dataclass
class _CallTimes:
    """Fading sums over calls for a linear regression: number, items, seconds, items squared, and items times seconds."""

    calls: float = 0
    items: float = 0
    seconds: float = 0
    squares: float = 0
    products: float = 0

    def add(self, items: int, seconds: float) -> None:
        """Add one call to the sums."""
        self.calls = MEMORY * self.calls + 1
        self.items = MEMORY * self.items + items
        self.seconds = MEMORY * self.seconds + seconds
        self.squares = MEMORY * self.squares + items * items
        self.products = MEMORY * self.products + items * seconds

    def at(self, items: int) -> float:
        """Return the expected seconds of a call with `items` items: at least 0, and not decreasing in `items`."""
        usual, mean_s = self.items / self.calls, self.seconds / self.calls
        spread = self.squares / self.calls - usual * usual
        a_item = (
            max(0.0, (self.products / self.calls - usual * mean_s) / spread)
            if spread > ALIKE
            else 0.0
        )
        return max(0.0, mean_s + a_item * (items - usual))


class ServiceTimes:
    """The durations of one drain's calls, by version."""

    def __init__(self) -> None:
        self._lines: dict[VersionId, _CallTimes] = {}

    def record_answer(self, version_id: VersionId, items: int, seconds: float) -> None:
        """Record that a call with `items` items was answered after `seconds`."""
        self._lines.setdefault(version_id, _CallTimes()).add(items, seconds)

    def takes_s(self, version_id: VersionId, items: int) -> float:
        """Return the seconds within which most calls with `items` items are answered; 0 while unknown."""
        line = self._lines.get(version_id)
        return 0.0 if line is None else UNSURE * line.at(items)
