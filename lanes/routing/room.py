"""Whether real time has room for what may wait: behind what waits there already, within its limits and without the reserve."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from lanes.ids import VersionId
from lanes.money.cost import shared_tokens
from lanes.money.estimates import Sharing
from lanes.routing.capacity import RESERVE, WINDOW, Limit, Need, unlearned
from lanes.routing.load import AddedItems, Load
from lanes.units import counted, seconds
from lanes.words import Lane
from lanes.workload.version import Version

AT_ONCE_S = 1.0  # what is asked within it did not wait


class Room:
    """Of one look at the load, until the next. Whoever routes adds what it sends to real time.

    What is not known bounds nothing: without limits, the places for calls do, once calls were timed; without a word of what a
    workload's items take of the limits, its settings say it, as calls are `sharing` at present.
    """

    def __init__(self, load: Load, sharing: Sharing | None = None) -> None:
        limits = {model: [*_less_the_reserve(told, load.at)] for model, told in load.limits.items()}
        self._load, self._sharing = replace(load, limits=limits), sharing or Sharing()
        self._known = self._load.as_known()
        self._added: dict[str, AddedItems] = {}
        self._next: dict[VersionId, AddedItems] = {}
        self._needs: dict[VersionId, Need] = {}

    def add(self, version: Version) -> None:
        """One item more is ahead of the next."""
        self._added[version.workload] = self._one_more(version)
        self._next.clear()

    def lacks(self, version: Version, within: timedelta, *, now: datetime) -> str | None:
        """Why an item that may wait is not asked within that time, behind what ranks before its end and what was added; None
        where it is, as far as anything is known."""
        within_s = max(AT_ONCE_S, within.total_seconds())
        load, until = self._known, now + within
        since_s, more, beside = (
            max(0.0, (now - load.at).total_seconds()),
            self._one_more(version),
            self._added,
        )
        workload, model = version.workload, version.spec.realtime_model
        takes_s = load.drain_s(workload, model, until=until, more=more, beside=beside)
        if takes_s - since_s <= within_s:
            return None
        ahead = round(load.served(workload, until=until, more=more, beside=beside)) - 1
        by_places = takes_s <= load.places_s(workload, until=until, more=more, beside=beside)
        why = (
            f"{load.per_s:.3g} a second"
            if by_places
            else f"the limits of {model}, less the reserve"
        )
        return (
            f"real time is full: with {counted(ahead, 'item')} before it, it would be asked in {seconds(takes_s - since_s)} "
            f"by {why}, and may wait {seconds(within_s)} there"
        )

    def takes_s(self, version: Version, items: int) -> float:
        """Seconds until so many more items are answered that may wait, behind whatever waits."""
        model = version.spec.realtime_model
        more = AddedItems(model, items, self.need_of(version).times(items)).plus(
            self._added.get(version.workload)
        )
        return self._load.drain_s(version.workload, model, more=more, beside=self._added)

    def need_of(self, version: Version) -> Need:
        """What an item takes of the limits: as others of its workload did of late, else its part of a full call."""
        known = self._needs.get(version.id)
        if known is None:
            known = self._needs[version.id] = self._load.needs.get(
                version.workload
            ) or self._part_of_a_call(version)
        return known

    def _part_of_a_call(self, version: Version) -> Need:
        spec, pack = version.spec, self._sharing.pack_of(version, Lane.REALTIME)
        read = shared_tokens(spec) * self._sharing.hit_rates.get(
            (version.id, Lane.REALTIME), 0.0
        )  # which no limit counts
        return unlearned(spec).usual(spec, 0, pack).less(Need(read, 0, 0)).times(1 / pack)

    def _one_more(self, version: Version) -> AddedItems:
        """What was added of its workload, and one item more: who asks about an item usually adds it."""
        more = self._next.get(version.id)
        if more is None:
            one = AddedItems(version.spec.realtime_model, 1, self.need_of(version))
            more = self._next[version.id] = one.plus(self._added.get(version.workload))
        return more


def _less_the_reserve(limits: Iterable[Limit], at: datetime) -> Iterable[Limit]:
    """What is left of them for what may wait."""
    for each in limits:
        yield Limit(
            each.kind, each.limit, max(0.0, each.left(at) - RESERVE * each.limit), at + WINDOW, at
        )
