"""Request buffering: collect real-time items for a short window and send them as one micro-batch.

The items wait only while another item is expected, and never so long that their call would end after the earliest due time
among them. BentoML's dispatcher works alike: it waits for one more request only if that is worth the delay. Here the window
states what the delay is worth (`service`).
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
SILENCE_S = 0.5  # and so long at least: a drain claims in turns, and what arrives between two of them comes at once
MOST_GROUPS = 10_000  # whose arrivals are remembered: senders choose the names of consumers
Size = Callable[[Version], int]  # how many items of a version may share a call
# a version, and the consumer whose items alone share a call, None where any may
Group = tuple[VersionId, str | None]
# seconds that a call with this number of items of a version takes; 0: unknown
Takes = Callable[[VersionId, int], float]


def count_allowed(version: Version) -> int:
    """Return as many items as the workload allows."""
    return version.spec.pack_of(Lane.REALTIME)


@dataclass(frozen=True, slots=True)
class Waiting:
    """An item that gathers, and since when."""

    item: ClaimedWork
    since: datetime


@dataclass
class Gathering:
    """The items of one group that wait together, never empty.

    Each item's clock starts when it arrives; the window is that of the first item. `per_s` is the arrival rate of other items
    when the last one came, None while it is unknown.
    """

    waiting: list[Waiting] = field(default_factory=list)
    last_at: datetime | None = None
    per_s: float | None = None

    def compute_departure(self, version: Version, takes: Takes) -> tuple[datetime, FlushReason]:
        """Return the latest departure if no other item arrives, and its reason.

        The window has passed, the most pressing item must be asked, or no other item is expected any more.
        """
        over = self.waiting[0].since + timedelta(seconds=version.spec.buffer_s)
        moments = (
            (over, FlushReason.OVER),
            (
                self._compute_pressed_at(
                    timedelta(seconds=takes(version.id, len(self.waiting))), over
                ),
                FlushReason.PRESSED,
            ),
            (self._compute_hopeless_at(over), FlushReason.HOPELESS),
        )
        return min(moments, key=lambda each: each[0])

    def _compute_pressed_at(self, call: timedelta, over: datetime) -> datetime:
        """Return the earliest moment at which one of the waiting items needs its call to begin."""
        ranks = (_compute_ask_at(each.item, over) for each in self.waiting)
        dues = (each.item.due_at - call for each in self.waiting if each.item.due_at is not None)
        return min((*ranks, *dues))

    def _compute_hopeless_at(self, over: datetime) -> datetime:
        """Return the time from which no other item is expected within the rest of the window.

        That is a mean gap before its end, or earlier, after a silence that chance hardly explains.
        """
        if self.per_s is None or self.last_at is None:
            return over
        left_s = (over - self.last_at).total_seconds()
        if self.per_s * left_s < 1:
            return self.last_at
        gap_s = 1 / self.per_s
        return self.last_at + timedelta(
            seconds=min(left_s - gap_s, max(SILENCE_S, SURPRISE * gap_s))
        )


class Buffer:
    """Hold the windows of all groups. Work leaves at once if it failed before, has no window, or can share no call."""

    def __init__(
        self,
        size: Size = count_allowed,
        takes: Takes = lambda _, __: 0.0,
        most_groups: int = MOST_GROUPS,
    ) -> None:
        self._open: dict[Group, Gathering] = {}
        # the group that items came of last comes last
        self._arrivals: OrderedDict[Group, Arrivals] = OrderedDict()
        self._size, self._takes, self._most_groups = size, takes, most_groups

    def add(
        self, claimed: Iterable[ClaimedWork], versions: Mapping[VersionId, Version], now: datetime
    ) -> list[ClaimedWork]:
        """Let the items wait, each in its group's window; return those that wait for nothing."""
        at_once: list[ClaimedWork] = []
        joined: dict[Group, int] = {}
        for each in claimed:
            version = versions[each.version_id]
            if each.travels_alone or each.measures or not self._gathers(version):
                at_once.append(each)
                continue
            group = (each.version_id, each.shares_with(version.spec.pack_scope))
            self._open.setdefault(group, Gathering()).waiting.append(Waiting(each, now))
            joined[group] = joined.get(group, 0) + 1
        for group, number in joined.items():
            arrivals, window = self._arrivals.setdefault(group, Arrivals()), self._open[group]
            self._arrivals.move_to_end(group)
            arrivals.add(number, now)
            window.last_at, window.per_s = now, arrivals.per_s(now, but=window.waiting[0].since)
        while len(self._arrivals) > self._most_groups:
            self._arrivals.popitem(last=False)
        return at_once

    def take(self, versions: Mapping[VersionId, Version], now: datetime) -> list[ClaimedWork]:
        """Remove and return the items that leave now: full packs of the most urgent, and windows that end."""
        return [
            item
            for group in list(self._open)
            for item in self._take_from(group, versions[group[0]], now)
        ]

    def next_leave(self, versions: Mapping[VersionId, Version]) -> datetime | None:
        """Return when the next window leaves at the latest; None if nothing waits."""
        return min(
            (
                window.compute_departure(versions[id_], self._takes)[0]
                for (id_, _), window in self._open.items()
            ),
            default=None,
        )

    @property
    def version_ids(self) -> set[VersionId]:
        """The versions of what gathers."""
        return {id_ for id_, _ in self._open}

    def of(self, workload: str) -> int:
        """Return how many items of a workload gather."""
        return sum(
            each.item.workload == workload
            for window in self._open.values()
            for each in window.waiting
        )

    def drain(self) -> list[ClaimedWork]:
        """Remove and return everything that gathers."""
        return [each.item for group in list(self._open) for each in self._open.pop(group).waiting]

    def _gathers(self, version: Version) -> bool:
        """Return whether items of the version wait for each other.

        Where calls are not shared though they may be, there is nothing to wait for; a window of single calls is what
        its workload asks for.
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


def _compute_ask_at(item: ClaimedWork, over: datetime) -> datetime:
    """Return when the item must be asked.

    What is urgent goes before others, and gathers all the same, until its window is over or for its due time: where
    everything is urgent, calls would never be shared otherwise.
    """
    if not item.urgent:
        return item.rank_at
    return over if item.due_at is None else item.due_at - EXPECTED_CALL


def _record_stay(of: Waiting, why: FlushReason, now: datetime) -> ClaimedWork:
    return of.item._replace(
        gathered=BufferStay(why, round((now - of.since).total_seconds() * 1000))
    )


MEMORY_S = 10.0  # an arrival counts for 1/e after so long: two of the longest windows
LEAST_S = 1.0  # so long has to be looked at least: a burst of a moment is no rate


@dataclass
class Arrivals:
    """The arrivals of one kind at one place; the caller supplies the clock."""

    _faded: float = field(default=0.0, init=False)
    _since: datetime | None = field(default=None, init=False)
    _at: datetime | None = field(default=None, init=False)

    def add(self, number: int, now: datetime) -> None:
        """Count `number` arrivals at `now`."""
        self._faded = self._faded * self._fading(now) + number
        self._since, self._at = self._since or now, max(self._at or now, now)

    def per_s(self, now: datetime, *, but: datetime) -> float | None:
        """Return the arrivals per second without the one at `but`: one arrival does not make another more likely.

        None if no earlier arrival was counted: the rate is unknown.
        """
        if self._since is None or self._since >= but:
            return None
        looked_s = max(LEAST_S, (now - self._since).total_seconds())
        own = math.exp(-max(0.0, (now - but).total_seconds()) / MEMORY_S)
        others = max(0.0, self._faded * self._fading(now) - own)
        return others / (MEMORY_S * (1 - math.exp(-looked_s / MEMORY_S)))

    def _fading(self, now: datetime) -> float:
        """Return the part of the count that remains since the newest arrival."""
        return (
            1.0
            if self._at is None
            else math.exp(-max(0.0, (now - self._at).total_seconds()) / MEMORY_S)
        )


MEMORY = 0.98  # weight of what was known of a version's calls against the newest one: some fifty of them count
UNSURE = 1.25  # times what calls take on average: many take longer
ALIKE = 1e-6  # spread of the sizes below which they tell nothing of more or fewer items


@dataclass
class _CallTimes:
    """Sums over calls, fading: their number, items, seconds, items squared, and items times seconds."""

    calls: float = 0
    items: float = 0
    seconds: float = 0
    squares: float = 0
    products: float = 0

    def add(self, items: int, seconds: float) -> None:
        """Count one more call."""
        self.calls = MEMORY * self.calls + 1
        self.items = MEMORY * self.items + items
        self.seconds = MEMORY * self.seconds + seconds
        self.squares = MEMORY * self.squares + items * items
        self.products = MEMORY * self.products + items * seconds

    def at(self, items: int) -> float:
        """Return the expected seconds of a call with `items` items: at least 0, and never less for more items."""
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
        """Return the seconds within which nearly every call with `items` items is answered; 0 while unknown."""
        line = self._lines.get(version_id)
        return 0.0 if line is None else UNSURE * line.at(items)
