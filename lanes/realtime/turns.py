"""Whose turn it is in a drain: how much of each workload to claim, and which packs are asked now. Pure: `now` comes in."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from lanes.ids import VersionId
from lanes.money.pack_size import PackSizes
from lanes.packing import ClaimedWork, packs
from lanes.realtime.buffer import Buffer, ServiceTimes
from lanes.realtime.call_limits import CallLimits
from lanes.realtime.circuit import Circuit
from lanes.realtime.health import Health
from lanes.realtime.pace import Pace, divide
from lanes.realtime.rate_limits import presses
from lanes.words import Lane
from lanes.workload.version import Version

SOON = timedelta(seconds=1)  # what fits the provider's limits by then is claimed, and kept
PEEK = timedelta(
    seconds=0.5
)  # how often the most urgent of a workload is claimed to see whether it may have the reserve
AGAIN = timedelta(
    seconds=0.05
)  # after something owed was found where only what measures was, all of it is claimed
STEPS_BACK = timedelta(
    seconds=30
)  # what measures makes room so long, where what is owed wants its place


class Turns:
    """The work that one drain has claimed and not yet sent: gathering windows, and packs that wait for a place or a limit.

    `sizes` holds the items that may share a call, `times` how long a call of that size takes.
    """

    def __init__(
        self,
        pace: Pace,
        health: Health,
        limits: CallLimits | None = None,
        sizes: PackSizes | None = None,
        times: ServiceTimes | None = None,
    ) -> None:
        self._pace, self._health, self._limits, self._sizes = (
            pace,
            health,
            limits or CallLimits(),
            sizes or PackSizes(),
        )
        self._peeked_at: dict[
            str, datetime
        ] = {}  # workloads of which only what presses may be asked
        self._versions: Mapping[VersionId, Version] = {}  # of what gathers or waits for a place
        self._measured: set[str] = (
            set()
        )  # workloads of which only what measures was left when they were claimed last
        self._looks_again_at: datetime | None = None
        self._buffer = Buffer(self._size, (times or ServiceTimes()).takes_s)
        self._leaving: list[list[ClaimedWork]] = []

    def wanted(self, waiting: Mapping[str, Version], now: datetime) -> dict[str, int]:
        """Return how many items to claim of each waiting workload, by its version.

        Enough for its free places and those that are soon free, or for the window that it gathers in; one, which may
        be owed, where only work that measures was waiting.
        """
        direct = {name: version for name, version in waiting.items() if version.spec.buffer_s == 0}
        places = self._soon_free(direct, now)
        most = {name: number * self._size(waiting[name]) for name, number in places.items()}
        for name in waiting.keys() - direct.keys():
            room, places = self._room(waiting[name], now), self._pace.all_places
            whole = (places if room is None else min(places, room)) * self._size(waiting[name])
            most[name] = max(0, whole - self._buffer.of(name) - sum(map(len, self._owed(name))))
        self._peek(direct, most, now)
        if any(pack[0].measures for pack in self._leaving):
            most |= {name: min(most[name], 1) for name in self._measured & most.keys()}
        return {name: number for name, number in most.items() if number > 0}

    def take_in(
        self, claimed: Iterable[ClaimedWork], versions: Mapping[VersionId, Version], now: datetime
    ) -> None:
        """Put claimed items, the most urgent first, into their windows.

        `versions` holds the version of every item. An item that needs no window waits for a place at once.
        """
        claimed = list(claimed)
        last = {each.workload: each.measures for each in claimed}
        if any(name in self._measured and not measures for name, measures in last.items()):
            self._looks_again_at = now + AGAIN
        self._measured = (self._measured - last.keys()) | {
            name for name, measures in last.items() if measures
        }
        carried = self._buffer.version_ids | {pack[0].version_id for pack in self._leaving}
        self._versions = {id_: self._versions[id_] for id_ in carried} | dict(versions)
        self._leaving += self._packed(self._buffer.add(claimed, self._versions, now), now)

    def next_packs(self, now: datetime) -> list[tuple[Version, list[ClaimedWork]]]:
        """The packs that need not gather any longer and have a place, most urgent first. The others wait for one."""
        self._leaving += self._packed(self._buffer.take(self._versions, now), now)
        if not self._leaving:
            return []
        self._leaving.sort(key=_turn)
        owed = {
            pack[0].workload: self._version(pack) for pack in self._leaving if not pack[0].measures
        }
        of, in_flight = (owed, self._pace.owed) if owed else (self._waiting(), self._pace.in_flight)
        places = self._divided(of, in_flight, now)
        asked: list[tuple[Version, list[ClaimedWork]]] = []
        waiting: list[list[ClaimedWork]] = []
        of_model = Counter[str]()
        to_measure = self._pace.to_measure(now)
        for pack in self._leaving:
            name, version = pack[0].workload, self._version(pack)
            measures = pack[0].measures
            steps_back = measures and (
                to_measure == 0 or any(not each[0].measures for each in waiting)
            )
            well = self._well(model := version.spec.realtime_model, now)
            fits = (
                not steps_back
                and places.get(name, 0) > 0
                and (well is None or of_model[model] < well)
            )
            if fits and self._limits.begins(version, pack, now):
                places[name] -= 1
                to_measure -= measures
                of_model[model] += 1
                asked.append((version, pack))
            else:
                waiting.append(pack)
        self._leaving = waiting
        self._limits.still_held(self._version(pack) for pack in waiting if not pack[0].measures)
        return asked

    def is_supplied(self, now: datetime) -> bool:
        """Whether every place is taken, and what was claimed ahead lasts for a while: nothing is missed by no claim now."""
        taken = self._pace.places(now) == 0 and not self.held_back(now)
        return taken and self._ahead.total() > self._pace.ahead // 2

    def next_moment(self, now: datetime) -> datetime | None:
        """When something changes by itself: a window or a rest is over, or more is claimed. None when nothing is to come."""
        moments = [
            self._buffer.next_leave(self._versions),
            self._health.next_try(now),
            *self._pace.rests(now),
            self._limits.next_moment(now),
            self._looks_again_at,
        ]
        return min((each for each in moments if each is not None and each > now), default=None)

    def held_back(self, now: datetime) -> bool:
        """Whether the provider takes less than is asked: another drain would change nothing."""
        return bool(self._pace.rests(now)) or self._health.holds_back(now) or self._limits.hold_back

    @property
    def held_models(self) -> set[str]:
        """The models that would be asked of what gathers or waits for a place here."""
        return {each.spec.realtime_model for each in self.held}

    def due_probes(self, now: datetime) -> Mapping[str, Circuit]:
        """Return the circuits that may be probed now, by model."""
        return self._health.circuits.to_probe(now) if self._pace.places(now) > 0 else {}

    def probes(self, now: datetime) -> set[str]:
        """Return the models to probe for which nothing is held here: their probe is ours and not asked yet."""
        return set(self._health.circuits.probes(now)) - self.held_models

    def askable(self, version: Version, now: datetime) -> bool:
        """Return whether a call by this version could begin now, for all but its model's circuit."""
        model, rests = version.spec.realtime_model, version.workload in self._pace.resting(now)
        limited = (
            self._pace.is_model_resting(model, now)
            or self._limits.room(version, pressing=True, now=now) == 0
        )
        return not (rests or limited)

    def open_models(self, now: datetime) -> list[str]:
        """Return the models whose calls wait for their circuits."""
        return self._health.circuits.open_models(now)

    def passed_over(self, now: datetime) -> set[str]:
        """Return the models of which nothing is claimed now, so that work which asks others is found behind theirs."""
        return {*self._health.circuits.open_models(now), *self._pace.resting_models(now)}

    def give_up_ahead(self, now: datetime) -> list[ClaimedWork]:
        """What was claimed ahead of its place, or left its window, and may not be asked now: no longer waiting here."""
        probes = self._probes(now)
        stranded = [
            pack
            for pack in self._leaving
            if not (
                self._stays(pack, now)
                if self._is_direct(pack)
                else self._outlasts_window(pack, probes, now)
            )
        ]
        gone = set(map(id, stranded))
        self._leaving = [pack for pack in self._leaving if id(pack) not in gone]
        return [each for pack in stranded for each in pack]

    def give_up_measuring(self) -> list[ClaimedWork]:
        """Return the claimed work to give back.

        That is work that only measures while owed work waits for a place, and otherwise what exceeds all places.
        """
        measuring = [pack for pack in self._leaving if pack[0].measures]
        owed = [pack for pack in self._leaving if not pack[0].measures]
        kept = 0 if owed else self._pace.all_places
        self._leaving = owed + measuring[:kept]
        return [each for pack in measuring[kept:] for each in pack]

    def give_up(self) -> list[ClaimedWork]:
        """Everything that was not asked, no longer waiting."""
        unasked = [each for pack in (*self._leaving, self._buffer.drain()) for each in pack]
        self._leaving = []
        return unasked

    @property
    def _ahead(self) -> Counter[str]:
        """The packs that wait for a place and have no window, by workload, but for what only measures."""
        return Counter(
            pack[0].workload
            for pack in self._leaving
            if self._is_direct(pack) and not pack[0].measures
        )

    def _owed(self, workload: str) -> list[list[ClaimedWork]]:
        """Return the packs of a workload that wait for a place and whose answers are owed: they do not only measure."""
        return [
            pack for pack in self._leaving if pack[0].workload == workload and not pack[0].measures
        ]

    @property
    def held(self) -> list[Version]:
        """The versions of what gathers or waits for a place here."""
        return [
            self._versions[id_]
            for id_ in self._buffer.version_ids | {pack[0].version_id for pack in self._leaving}
        ]

    def _is_direct(self, pack: Sequence[ClaimedWork]) -> bool:
        return self._version(pack).spec.buffer_s == 0

    def _stays(self, pack: Sequence[ClaimedWork], now: datetime) -> bool:
        """Whether a pack may be asked soon enough to be kept. Where it only lacks the reserve, the next look is for another."""
        version = self._version(pack)
        return self._room(version, now) != 0 and not (
            self._only_presses(version, now) and not presses(pack, now)
        )

    def _outlasts_window(
        self, pack: list[ClaimedWork], probes: Mapping[str, list[ClaimedWork]], now: datetime
    ) -> bool:
        """Whether a pack that left its window waits here: for no circuit, unless it probes it. So it may leave for a batch."""
        model = self._version(pack).spec.realtime_model
        return self._health.circuits.of(model, now) is None or probes.get(model) is pack

    def _probes(self, now: datetime) -> Mapping[str, list[ClaimedWork]]:
        """By model, the packs that are asked next to probe it, where this drain holds the probe: the most urgent ones."""
        first: dict[str, list[ClaimedWork]] = {}
        if not self._health.circuits.any_open(now):
            return first
        for pack in sorted(self._leaving, key=_turn):
            first.setdefault(self._version(pack).spec.realtime_model, pack)
        return {
            model: pack for model, pack in first.items() if self._health.circuits.room(model, now)
        }

    def _only_presses(self, version: Version, now: datetime) -> bool:
        """Whether nothing but the reserve is left of what the provider allows soon."""
        return self._limits.room(version, pressing=False, now=now + SOON) == 0

    def _peek(self, direct: Mapping[str, Version], most: dict[str, int], now: datetime) -> None:
        """Where only the reserve is left, the most urgent of a workload is looked at, now and then: it may press."""
        for name in direct.keys() & most.keys():
            if not self._only_presses(direct[name], now):
                self._peeked_at.pop(name, None)
            elif now - self._peeked_at.get(name, now - PEEK) >= PEEK:
                self._peeked_at[name] = now
                most[name] = min(most[name], self._size(direct[name]))
            else:
                most[name] = 0

    def _version(self, pack: Sequence[ClaimedWork]) -> Version:
        return self._versions[pack[0].version_id]

    def _soon_free(self, of: Mapping[str, Version], now: datetime) -> dict[str, int]:
        """How many places each of these workloads gets that has none yet, those among them that are soon free."""
        if self._pace.is_resting(now):
            return {}
        held, more = self._ahead, self._pace.ahead
        entitled = {name: version.entitlement for name, version in of.items()}
        rooms = {name: max(0, room - held[name]) for name, room in self._rooms(of, now).items()}
        free = self._pace.places(now) + max(0, more - held.total())
        in_flight = held + Counter(self._pace.owed)
        return divide(
            free, entitled, in_flight=in_flight, places=self._pace.all_places + more, rooms=rooms
        )

    def _divided(
        self, of: Mapping[str, Version], in_flight: Mapping[str, int], now: datetime
    ) -> dict[str, int]:
        entitled, places = (
            {name: version.entitlement for name, version in of.items()},
            self._pace.all_places,
        )
        return divide(
            self._pace.places(now),
            entitled,
            in_flight=in_flight,
            places=places,
            rooms=self._rooms(of, now),
        )

    def _waiting(self) -> Mapping[str, Version]:
        return {pack[0].workload: self._version(pack) for pack in self._leaving}

    def _rooms(self, of: Mapping[str, Version], now: datetime) -> dict[str, int]:
        return {
            name: room
            for name, version in of.items()
            if (room := self._room(version, now)) is not None
        }

    def _room(self, version: Version, now: datetime) -> int | None:
        """How many calls of a workload may begin for all that its model and its settings say; None when nothing is said."""
        if self._pace.is_resting(now) or version.workload in self._pace.resting(now):
            return 0
        well = self._well(version.spec.realtime_model, now)
        fits = self._limits.room(version, pressing=True, now=now + SOON)
        return min((room for room in (well, fits) if room is not None), default=None)

    def _well(self, model: str, now: datetime) -> int | None:
        """How many calls of the model may begin for all that is known of how it answers."""
        rooms = (
            self._pace.room(model, now),
            self._health.room(model, self._pace.of_model(model), now=now),
        )
        return min((room for room in rooms if room is not None), default=None)

    def _packed(self, claimed: Iterable[ClaimedWork], now: datetime) -> list[list[ClaimedWork]]:
        by_version: dict[VersionId, list[ClaimedWork]] = {}
        for each in claimed:
            by_version.setdefault(each.version_id, []).append(each)
        made: list[list[ClaimedWork]] = []
        for id_, theirs in by_version.items():
            version = self._versions[id_]
            most = self._sizes.most_bytes(version, Lane.REALTIME, now)
            made += packs(theirs, self._size(version), most=most, scope=version.spec.pack_scope)
        return made

    def _size(self, version: Version) -> int:
        """How many items of a version may share a call."""
        return self._sizes.of(version, Lane.REALTIME)


def _turn(pack: Sequence[ClaimedWork]) -> tuple[bool, datetime]:
    """Sorts packs, the most urgent first."""
    return pack[0].measures, min(each.rank_at for each in pack)
