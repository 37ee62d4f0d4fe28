"""Request buffering: real-time items are collected for a short window and leave as one micro-batch."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from lanes.claims import Claimed
from lanes.words import Lane
from lanes.workload.version import Version


@dataclass
class Gathering:
    """The items of one version that wait together. The clock starts with the first of them."""

    opened_at: datetime
    items: list[Claimed] = field(default_factory=list)

    def leaves_at(self, version: Version) -> datetime:
        """When it leaves at the latest: the window is over, or the most pressing item must be asked."""
        over = self.opened_at + timedelta(seconds=version.spec.buffer_s)
        return min(over, *(each.rank_at for each in self.items))

    def leaves(self, version: Version, now: datetime) -> bool:
        """Whether it leaves now: full, pressed, or over."""
        return len(self.items) >= version.spec.pack_of(Lane.REALTIME) > 1 or now >= self.leaves_at(version)


class Buffer:
    """The windows of all versions. What failed before, and what has no window, leaves at once."""

    def __init__(self) -> None:
        self._open: dict[int, Gathering] = {}

    def add(self, claimed: Iterable[Claimed], versions: Mapping[int, Version], now: datetime) -> list[Claimed]:
        """The items wait, each in its version's window; those that wait for nothing are returned."""
        at_once: list[Claimed] = []
        for each in claimed:
            if each.travels_alone or versions[each.version_id].spec.buffer_s == 0:
                at_once.append(each)
                continue
            self._open.setdefault(each.version_id, Gathering(now)).items.append(each)
        return at_once

    def take(self, versions: Mapping[int, Version], now: datetime) -> list[Claimed]:
        """The items whose window leaves now, no longer waiting."""
        leaving = [id_ for id_, window in self._open.items() if window.leaves(versions[id_], now)]
        return [item for id_ in leaving for item in self._open.pop(id_).items]

    def next_leave(self, versions: Mapping[int, Version]) -> datetime | None:
        """When the next window leaves at the latest, None when nothing waits."""
        return min((window.leaves_at(versions[id_]) for id_, window in self._open.items()), default=None)

    @property
    def version_ids(self) -> set[int]:
        """The versions of what gathers."""
        return set(self._open)

    def of(self, workload: str) -> int:
        """How many items of a workload gather."""
        return sum(each.workload == workload for window in self._open.values() for each in window.items)

    def drain(self) -> list[Claimed]:
        """Everything that gathers, no longer waiting."""
        return [item for id_ in list(self._open) for item in self._open.pop(id_).items]

    def __len__(self) -> int:
        return sum(len(window.items) for window in self._open.values())
