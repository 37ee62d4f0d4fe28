"""Room for items that may wait: in real time, within its limits and without the reserve, and in the portions of the router."""

from collections.abc import Collection, Iterable, Mapping, Sequence, Set
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

AT_ONCE_S = 1.0  # seconds; an item whose call starts within this time did not wait
LOOKED_AHEAD = 64  # items of a group whose room is checked in one step


class Room:
    """The room in one snapshot of the load, valid until the next; a router adds the items that it sends to real time.

    Unknown values bound nothing: without limits, only measured places do. Without measurements of a workload, an item's need
    comes from its settings and from the present sharing of calls.
    """

    def __init__(self, load: Load, sharing: Sharing | None = None) -> None:
        limits = {model: [*_less_the_reserve(told, load.at)] for model, told in load.limits.items()}
        self._load, self._sharing = replace(load, limits=limits), sharing or Sharing()
        self._known = self._load.as_known()
        self._added: dict[str, AddedItems] = {}
        self._next: dict[VersionId, AddedItems] = {}
        self._needs: dict[VersionId, Need] = {}
        # the group of the last query, and the number of its items that are known to have room
        self._group: tuple[VersionId, timedelta, datetime] | None = None
        self._fit = 0

    def add(self, version: Version) -> None:
        """Count an item of this version as ahead of the next one."""
        if self._group is not None and version.id != self._group[0]:
            self._group = None
        self._added[version.workload] = self._add_one(version)
        self._next.clear()

    def lacks(self, version: Version, within: timedelta, *, now: datetime) -> str | None:
        """Return why the call of an item that may wait would not start in that time, None if it would or if nothing is known.

        Consecutive queries with the same version and time are a group. Each added item of the group makes the next item wait
        longer, so if a later item has room, the earlier items do as well.
        """
        group, more = (version.id, within, now), self._add_one(version)
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
                # Checks one more item than it trusts, because sums of floats depend on the order of their terms.
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
        """Return the seconds until `items` more items that may wait are answered, behind all waiting work."""
        model = version.spec.realtime_model
        more = self._several(version, items).plus(self._added.get(version.workload))
        return self._load.drain_s(version.workload, model, more=more, beside=self._added)

    def need_of(self, version: Version) -> Need:
        """Return an item's use of the limits: the measured use of its workload, else its part of a full call."""
        known = self._needs.get(version.id)
        if known is None:
            known = self._needs[version.id] = self._load.needs.get(
                version.workload
            ) or self._part_of_a_call(version)
        return known

    def _part_of_a_call(self, version: Version) -> Need:
        spec, pack = version.spec, self._sharing.pack_of(version, Lane.REALTIME)
        # tokens read from the cache, which no limit counts
        read = estimate_shared_tokens(spec) * self._sharing.hit_rates.get(
            (version.id, Lane.REALTIME), 0.0
        )
        return assume_prediction(spec).usual(spec, 0, pack).less(Need(read, 0, 0)).times(1 / pack)

    def _add_one(self, version: Version) -> AddedItems:
        """Return the items added for the workload plus one more; cached, because callers usually add the item they checked."""
        more = self._next.get(version.id)
        if more is None:
            one = AddedItems(version.spec.realtime_model, 1, self.need_of(version))
            more = self._next[version.id] = one.plus(self._added.get(version.workload))
        return more

    def _several(self, version: Version, items: int) -> AddedItems:
        return AddedItems(version.spec.realtime_model, items, self.need_of(version).times(items))


class AccountRooms:
    """The rooms of all accounts, by provider block; an item uses the room of the block that its version names."""

    def __init__(self, rooms: Mapping[str, Room]) -> None:
        self._of = rooms

    def add(self, version: Version) -> None:
        """Count an item as ahead of the next one of its account."""
        if (room := self._of.get(version.spec.provider)) is not None:
            room.add(version)

    def lacks(self, version: Version, within: timedelta, *, now: datetime) -> str | None:
        """Return the result of `Room.lacks` for the item's account; None also if the account is not open yet."""
        room = self._of.get(version.spec.provider)
        return None if room is None else room.lacks(version, within, now=now)


@dataclass(frozen=True)
class Guards:
    """The guards that send an item that may wait to a batch: a budget beyond its soft limit, or real time without room."""

    budgets: Sequence[BudgetStatus] = ()
    room: Room | AccountRooms | None = None  # None: real time has room


NO_GUARDS = Guards()


def _less_the_reserve(limits: Iterable[Limit], at: datetime) -> Iterable[Limit]:
    """Yield the limits with the amounts that are left for items that may wait."""
    for limit in limits:
        yield Limit(
            limit.kind,
            limit.limit,
            max(0.0, limit.estimate_remaining(at) - RESERVE * limit.limit),
            at + WINDOW,
            at,
        )


FEW = 20  # items of a small portion: an urgent item waits for no more than these
LEAST = 100  # smallest portion of a backlog: the cost of fewer items is mostly the transaction
MOST = 1_000  # largest portion: the items of one transaction
WITHIN_S = 0.05  # how much longer than a small portion another may take; an urgent item may wait as long for its portion
LONGEST_REST = 9.0  # in durations of the last portion: a backlog gets a tenth of the time, however late urgent items are


@dataclass(frozen=True)
class PortionBounds:
    """The bounds of one routing transaction: the number of items, `most`, or `if_urgent` if an urgent item waits.

    Up to `urgent` urgent items may be routed even if these are more. Workloads in `resting` have a backlog that rests.
    """

    most: int = MOST
    if_urgent: int = MOST
    urgent: int = 0
    resting: Set[str] = frozenset()


@dataclass(frozen=True)
class RoutedPortion:
    """The result of one routing transaction: the number of items and of urgent items.

    `waited_s` is how long the earliest urgent item had waited when the transaction began. `full` are the workloads that used
    up their share of a portion of more than `FEW` items.
    """

    items: int = 0
    urgent: int = 0
    waited_s: float = 0.0
    full: Set[str] = frozenset()


class Portions:
    """The sizes of the router's portions, and the rests of a backlog between them; times are seconds of any one clock.

    A portion of a backlog delays the urgent items that arrive during it, and takes processor time from their answers. The
    router assumes nothing about the machine: it measures how long its portions take, and how long urgent items waited for them.

    After an arrival, the next portion is small if an urgent item waits. The size of other portions grows by `LEAST` while a
    backlog remains and everything is in time, and is halved when a portion takes too long or an urgent item waited too long. If
    a small portion takes long as well, other portions may take longer. While answers are in progress, workloads with a backlog
    rest after each portion: as long as the portion took, and longer in proportion as urgent items are late. Meanwhile, their
    urgent items and small portions of other workloads are routed.
    """

    def __init__(self) -> None:
        self._urgent, self._backlog = FEW, LEAST
        self._late = self._few_s = 0.0
        self._is_new, self._resting, self._rests_until = True, frozenset[str](), float("-inf")

    def begin(self) -> None:
        """Make the next portion small if an urgent item waits, because new items arrived."""
        self._is_new = True

    def bounds(self, at: float) -> PortionBounds:
        """Return the bounds of the next portion: small during a rest, and while the duration of a small portion is unknown."""
        rests = at < self._rests_until
        most = FEW if rests or self._few_s == 0 else self._backlog
        resting = self._resting if rests else frozenset[str]()
        return PortionBounds(most, FEW if self._is_new else most, self._urgent, resting)

    def rest_s(self, at: float) -> float:
        """Return the seconds until a backlog may continue; 0 if it may now."""
        return max(0.0, self._rests_until - at)

    def record_portion(
        self,
        routed: RoutedPortion,
        seconds: float,
        *,
        waiting: Collection[str],
        busy: bool,
        at: float,
    ) -> None:
        """Record a portion that ended at `at`, and adapt the next portions.

        `waiting` are the workloads with more items: those that used up their share have a backlog. `busy` is true while answers
        are in progress.
        """
        self._is_new = False
        self._urgent = MOST if routed.urgent >= self._urgent else FEW
        self._late = max(routed.waited_s / WITHIN_S, self._late / 2)
        backlogs = routed.full & {*waiting}
        if routed.items <= FEW:
            self._few_s = seconds
        elif self._late > 1 or seconds > self._few_s + WITHIN_S:
            self._backlog = max(LEAST, self._backlog // 2)
        elif backlogs:
            self._backlog = min(MOST, self._backlog + LEAST)
        if busy and backlogs:
            self._resting = frozenset(backlogs)
            self._rests_until = at + seconds * min(max(1.0, self._late), LONGEST_REST)
