"""Whether real time has room for what may wait: what is ahead of it, how fast it is served, and what is added.

The provider's limits are those of `lanes.routing.capacity`; the reserve in them is never given to what may wait. How fast items
are answered counts only where some waited for long enough: before, that is how fast they come, and bounds nothing. What nothing
is known of has room.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from lanes.ids import VersionId
from lanes.money.cost import tokens
from lanes.routing.capacity import RESERVE, WINDOW_S, Kind, Limit, Need
from lanes.routing.prediction import Prediction, Tried, learn, unlearned
from lanes.units import counted, seconds
from lanes.words import Lane
from lanes.workload.version import Spec, Version

BUSY = timedelta(seconds=5)  # what waited so long shows that drains had no place for it
BELIEVED = timedelta(minutes=2)  # limits that were told longer ago say nothing: each has filled since
NOTHING = Need(0, 0, 0)


@dataclass(frozen=True, slots=True)
class Usual:
    """What the items of a workload usually take: the prediction of their calls, and the characters of an item."""

    prediction: Prediction
    characters: int = 0

    @classmethod
    def learned(cls, spec: Spec, tries: Sequence[Tried]) -> "Usual":
        """From the newest tries, which may be none."""
        return cls(learn(spec, tries), sum(each.characters for each in tries) // max(1, len(tries)))


@dataclass(frozen=True, slots=True)
class Ahead:
    """So many items of a workload wait in real time."""

    version: Version
    items: int


@dataclass(frozen=True, slots=True)
class Load:
    """What real time was up against at `seen_at`, with the provider's limits by model.

    `per_s`: items that were answered a second since `waits_since`, when the oldest that waits could first be asked; None where
    nothing waits, or nothing was answered.
    """

    seen_at: datetime
    limits: Mapping[str, Sequence[Limit]]
    ahead: Sequence[Ahead]
    waits_since: datetime | None = None
    per_s: float | None = None

    @property
    def served_per_s(self) -> float | None:
        """How many items real time answers in a second; None where it is not known."""
        busy = self.waits_since is not None and self.seen_at - self.waits_since >= BUSY
        return self.per_s if busy and self.per_s else None


class _Free(NamedTuple):
    """What may be taken of a limit now, above the reserve, and how much of it comes back in a second."""

    limit: Limit
    free: float
    per_s: float


class Room:
    """Of one look at the load, until the next. Whoever routes adds what it sends to real time. `usual` says by workload what
    its items take; without a word of it, its settings do."""

    def __init__(self, load: Load, usual: Mapping[str, Usual] | None = None) -> None:
        self._load, self._per_s, self._usual = load, load.served_per_s, usual or {}
        self._parts: dict[VersionId, tuple[float, float, float, float]] = {}
        self._free: dict[str, list[_Free]] = {}
        self._free_at: datetime | None = None
        self._items = sum(each.items for each in load.ahead)
        self._need: dict[str, Need] = {}
        for each in load.ahead:
            characters = self._usual[each.version.workload].characters if each.version.workload in self._usual else 0
            self._take(each.version.spec.realtime_model, self.need_of(each.version, characters).times(each.items))

    def add(self, version: Version, characters: int) -> None:
        """One item more is ahead of the next."""
        self._items += 1
        self._take(version.spec.realtime_model, self.need_of(version, characters))

    def lacks(self, version: Version, characters: int, within: timedelta, *, now: datetime) -> str | None:
        """Why an item that may wait does not fit behind what is ahead of it, so as to be asked within that time; None where it
        does, or where nothing is known."""
        within_s, longest_s, why = within.total_seconds(), 0.0, ""
        if self._per_s:
            ahead = self._items - self._per_s * max(0.0, (now - self._load.seen_at).total_seconds())
            if ahead / self._per_s > max(within_s, longest_s):
                longest_s = ahead / self._per_s
                why = f"{counted(round(ahead), 'item')} wait, and {self._per_s:.3g} a second are answered"
        model = version.spec.realtime_model
        if limits := self._free_of(model, now):
            taken, need = self._need.get(model, NOTHING), self.need_of(version, characters)
            for limit, free, per_s in limits:
                takes_s = (taken.of(limit.kind) + need.of(limit.kind) - free) / per_s
                if takes_s > max(within_s, longest_s):
                    longest_s, why = takes_s, _told(limit, model, now)
        if not why:
            return None
        patience = seconds(max(0.0, within_s))
        return f"real time is full: {why}, so that it would be asked in {seconds(longest_s)} and may wait {patience} there"

    def takes_s(self, version: Version, items: int, characters: int, *, now: datetime) -> float | None:
        """Seconds until so many more items, of so many characters in all, are asked behind what is ahead of them, if they may
        wait; None where nothing is known."""
        known = [(self._items + items) / self._per_s] if self._per_s else []
        model = version.spec.realtime_model
        need = self.need_of(version, characters // max(1, items)).times(items).plus(self._need.get(model, NOTHING))
        known += [max(0.0, need.of(limit.kind) - free) / per_s for limit, free, per_s in self._free_of(model, now)]
        return max(known, default=None)

    def need_of(self, version: Version, characters: int) -> Need:
        """What an item takes of the limits: its part of a full pack."""
        parts = self._parts.get(version.id)
        if parts is None:
            spec, pack = version.spec, version.spec.pack_of(Lane.REALTIME)
            usual = self._usual.get(version.workload)
            known = unlearned(spec) if usual is None else usual.prediction
            parts = self._parts[version.id] = known.input_of(spec, 0) / pack, known.input_ratio, known.output, 1 / pack
        shared, ratio, output, calls = parts
        return Need(shared + ratio * tokens(characters), output, calls)

    def _take(self, model: str, need: Need) -> None:
        self._need[model] = self._need.get(model, NOTHING).plus(need)

    def _free_of(self, model: str, now: datetime) -> list[_Free]:
        if self._free_at != now:
            self._free, self._free_at = {}, now
        if model not in self._free:
            self._free[model] = [
                _Free(each, max(0.0, each.left(now) - RESERVE * each.limit), each.limit / WINDOW_S)
                for each in self._load.limits.get(model, ())
                if now - each.seen_at <= BELIEVED
            ]
        return self._free[model]


def _told(limit: Limit, model: str, now: datetime) -> str:
    kind: Kind = limit.kind
    age = seconds(max(0.0, (now - limit.seen_at).total_seconds()))
    return f"{limit.limit:,} {kind.said} a minute of {model} (told {age} ago) are taken but for the reserve"
