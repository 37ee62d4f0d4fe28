"""Room for items that may wait: in real time, within its limits and without the reserve, and in the turns of the router."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from lanes.ids import VersionId
from lanes.money.budget import BudgetStatus
from lanes.money.cost import estimate_shared_tokens
from lanes.money.estimates import Sharing
from lanes.routing.capacity import RESERVE, WINDOW, Limit, Need, assume_prediction
from lanes.routing.load import AddedItems, Load
from lanes.units import pluralize, seconds
from lanes.words import Lane
from lanes.workload.version import Version

AT_ONCE_S = 1.0  # an item asked within it did not wait
LOOKED_AHEAD = 64  # items of a group whose room is looked up at once


class Room:
    """The room of one snapshot, until the next; a router adds the items that it sends to real time.

    Unknown facts bound nothing: without limits only measured places do; without measurements of a workload its
    settings, and how calls share at present, give an item's need.
    """

    def __init__(self, load: Load, sharing: Sharing | None = None) -> None:
        limits = {model: [*_less_the_reserve(told, load.at)] for model, told in load.limits.items()}
        self._load, self._sharing = replace(load, limits=limits), sharing or Sharing()
        self._known = self._load.as_known()
        self._added: dict[str, AddedItems] = {}
        self._next: dict[VersionId, AddedItems] = {}
        self._needs: dict[VersionId, Need] = {}
        # the group that was asked about last, and up to how many of it are known to have room
        self._group: tuple[VersionId, timedelta, datetime] | None = None
        self._fit = 0

    def add(self, version: Version) -> None:
        """Add an item ahead of the next one."""
        if self._group is not None and version.id != self._group[0]:
            self._group = None
        self._added[version.workload] = self._one_more(version)
        self._next.clear()

    def lacks(self, version: Version, within: timedelta, *, now: datetime) -> str | None:
        """Return why an item that may wait would not be asked within that time, None where it would, as far as is known.

        Items of one version that are asked about in a row, with the same time, are a group. The more of it are added, the
        longer the next one takes, so where a later one has room, those before it do.
        """
        group, more = (version.id, within, now), self._one_more(version)
        again = group == self._group
        if again and more.items <= self._fit:
            return None
        within_s = max(AT_ONCE_S, within.total_seconds())
        load, until = self._known, now + within
        since_s = max(0.0, (now - load.at).total_seconds())
        beside = self._added
        workload, model = version.workload, version.spec.realtime_model
        takes_s = load.drain_s(workload, model, until=until, more=more, beside=beside)
        if takes_s - since_s <= within_s:
            self._group, self._fit = group, more.items
            if again:
                # One more than is trusted, because sums of floats differ by the order of their parts.
                last = more.plus(self._several(version, LOOKED_AHEAD + 1))
                ahead_s = load.drain_s(workload, model, until=until, more=last, beside=beside)
                self._fit += LOOKED_AHEAD * (ahead_s - since_s <= within_s)
            return None
        line = load.line(workload, until=until, more=more, beside=beside)
        ahead, by_places = round(line.items) - 1, takes_s <= line.places / load.per_s
        why = (
            f"{load.per_s:.3g} a second"
            if by_places
            else f"the limits of {model}, less the reserve"
        )
        return (
            f"real time is full: with {pluralize(ahead, 'item')} before it, its call would start in "
            f"{seconds(takes_s - since_s)} ({why}), but it may wait only {seconds(within_s)}"
        )

    def takes_s(self, version: Version, items: int) -> float:
        """Return the seconds until `items` more that may wait are answered, behind everything that waits."""
        model = version.spec.realtime_model
        more = self._several(version, items).plus(self._added.get(version.workload))
        return self._load.drain_s(version.workload, model, more=more, beside=self._added)

    def need_of(self, version: Version) -> Need:
        """Return an item's use of the limits: measured of its workload, else its part of a full call."""
        known = self._needs.get(version.id)
        if known is None:
            known = self._needs[version.id] = self._load.needs.get(
                version.workload
            ) or self._part_of_a_call(version)
        return known

    def _part_of_a_call(self, version: Version) -> Need:
        spec, pack = version.spec, self._sharing.pack_of(version, Lane.REALTIME)
        # which no limit counts
        read = estimate_shared_tokens(spec) * self._sharing.hit_rates.get(
            (version.id, Lane.REALTIME), 0.0
        )
        return assume_prediction(spec).usual(spec, 0, pack).less(Need(read, 0, 0)).times(1 / pack)

    def _one_more(self, version: Version) -> AddedItems:
        """Return what was added of its workload and one item more; callers usually add the item that they ask about."""
        more = self._next.get(version.id)
        if more is None:
            one = AddedItems(version.spec.realtime_model, 1, self.need_of(version))
            more = self._next[version.id] = one.plus(self._added.get(version.workload))
        return more

    def _several(self, version: Version, items: int) -> AddedItems:
        return AddedItems(version.spec.realtime_model, items, self.need_of(version).times(items))


class AccountRooms:
    """The rooms of all accounts, by provider block: an item takes of the one that its version names."""

    def __init__(self, rooms: Mapping[str, Room]) -> None:
        self._of = rooms

    def add(self, version: Version) -> None:
        """Add an item ahead of the next one of its account."""
        if (room := self._of.get(version.spec.provider)) is not None:
            room.add(version)

    def lacks(self, version: Version, within: timedelta, *, now: datetime) -> str | None:
        """Return what `Room.lacks` says; None also where the account is not open yet."""
        room = self._of.get(version.spec.provider)
        return None if room is None else room.lacks(version, within, now=now)


@dataclass(frozen=True)
class Guards:
    """The guards that send an item that may wait to a batch: a budget beyond its soft limit, or real time without room."""

    budgets: Sequence[BudgetStatus] = ()
    room: Room | AccountRooms | None = None  # None: real time has room


NO_GUARDS = Guards()


def _less_the_reserve(limits: Iterable[Limit], at: datetime) -> Iterable[Limit]:
    """Return what is left of the limits for items that may wait."""
    for each in limits:
        yield Limit(
            each.kind,
            each.limit,
            max(0.0, each.estimate_remaining(at) - RESERVE * each.limit),
            at + WINDOW,
            at,
        )


FEW = 20  # of the first portion after something came: it may be urgent, and waits for no more than these
LEAST = 100  # of a backlog's portion: fewer cost mostly their transaction
MOST = 1_000  # items of one transaction
WITHIN_S = 0.05  # how much longer than a small portion another may take, and how long an urgent item may wait for its route
LONGEST_REST = 9.0  # in portions: a backlog has a tenth of the time, however late urgent items are


class Portions:
    """The sizes of the router's portions, and the rests of a backlog between them. Moments are seconds of any one clock.

    A portion of a backlog delays the urgent items that come meanwhile, and takes processor time from their answers. The router
    assumes nothing of the machine: it measures how long its portions take, and how long urgent items waited for their routes.

    The size of a backlog's portions grows by `LEAST` while everything is in time, and is halved when a portion takes too long
    or an urgent item waited too long. Where a small portion takes long too, others may take longer. While answers are under
    way a backlog rests after each portion: as long as that took, and longer in proportion as urgent items are late.
    """

    def __init__(self) -> None:
        self.urgent = FEW  # urgent items that the next portion may take beyond its size
        self._backlog, self._late, self._few_s = LEAST, 0.0, 0.0
        self._is_new, self._rests_until = True, float("-inf")

    def begin(self) -> None:
        """Make the next portion small, because something new came that may be urgent."""
        self._is_new = True

    def size(self, at: float) -> int:
        """Return how many items the next portion takes: few while a backlog rests."""
        return FEW if self._is_new or at < self._rests_until else self._backlog

    def rest_s(self, at: float) -> float:
        """Return the seconds until a backlog goes on; 0 if it may now."""
        return max(0.0, self._rests_until - at)

    def record_portion(
        self, size: int, seconds: float, *, urgent: int, waited_s: float, busy: bool, at: float
    ) -> None:
        """Learn from a portion of that size, which ended `at` this moment.

        `urgent` of its items were urgent, and the one that came first had waited `waited_s` until the portion ended. `busy`
        says that answers are under way.
        """
        self._is_new = False
        self.urgent = MOST if urgent >= self.urgent else FEW
        self._late = max(waited_s / WITHIN_S, self._late / 2)
        if size <= FEW:
            self._few_s = seconds
            return
        if self._late > 1 or seconds > self._few_s + WITHIN_S:
            self._backlog = max(LEAST, self._backlog // 2)
        else:
            self._backlog = min(MOST, self._backlog + LEAST)
        if busy:
            self._rests_until = at + seconds * min(max(1.0, self._late), LONGEST_REST)
