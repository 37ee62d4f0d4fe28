"""The scheduler of a drain: it decides how much of each workload to claim and which packs start now, using the limiters."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from lanes.ids import VersionId
from lanes.money.pack_size import PackSizes
from lanes.packing import ClaimedWork, packs
from lanes.realtime.buffer import Buffer, ServiceTimes
from lanes.realtime.circuit import Circuit
from lanes.realtime.health import Health
from lanes.realtime.limiter import BudgetLimit, FairShare, Limiter, Pack, Wait, WaitReason, divide
from lanes.realtime.pace import Backpressure, Places
from lanes.realtime.token_buckets import RateLimits
from lanes.routing.capacity import Need
from lanes.words import Lane
from lanes.workload.version import Version

# How often a workload's first item is claimed to check whether it may use the reserve.
PEEK = timedelta(seconds=0.5)
# Delay of the next claim after a claim found owed work behind shadows.
AGAIN = timedelta(seconds=0.05)
ASIDE = 5  # calls per workload and claim, if the read includes replays while live work is served


class Scheduler:
    """The claimed work that a drain has not sent yet: in windows, or in packs that wait for a limiter.

    `sizes` gives the pack sizes, `times` the expected durations of calls.
    """

    def __init__(
        self,
        places: Places,
        backpressure: Backpressure,
        health: Health,
        rates: RateLimits,
        *,
        sizes: PackSizes,
        times: ServiceTimes,
    ) -> None:
        self._places, self._backpressure, self._health, self._rates = (
            places,
            backpressure,
            health,
            rates,
        )
        self._sizes, self._share, self.budget = sizes, FairShare(), BudgetLimit()
        # The order matters: the first limiter that returns `Wait` gives the reason.
        self._limiters: tuple[Limiter, ...] = (backpressure, health, places, self._share, rates)
        self._bounds: tuple[Limiter, ...] = (backpressure, health, rates)
        self._buffer = Buffer(self._size, times.takes_s)
        self._versions: Mapping[VersionId, Version] = {}  # of the buffered and waiting work
        self._waiting: list[Pack] = []
        # The reason why each pack did not start at its last try.
        self.waits: list[tuple[Pack, Wait]] = []
        self._peeked_at: dict[str, datetime] = {}  # workloads with only the reserve left
        # Workloads whose last claim ended with shadows or replays, which rank behind owed work.
        self._only_shadows: set[str] = set()
        self._claims_again_at: datetime | None = None

    # Claiming

    def plan_claims(
        self, waiting: Mapping[str, Version], now: datetime, *, aside: bool = False
    ) -> dict[str, int]:
        """Return the number of items to claim of each workload; `waiting` maps workloads with work to their versions.

        The number fills the workload's free places and a few that are free soon, or its window. It is 1 if shadows wait here
        and the last claim found nothing else: that item may be owed. It is small if the read includes replays (`aside`) while
        live work is being served, because a large claim would delay live work.
        """
        direct = {name: version for name, version in waiting.items() if version.spec.buffer_s == 0}
        most = {
            name: number * self._size(waiting[name])
            for name, number in self._soon_free(direct, now).items()
        }
        for name in waiting.keys() - direct.keys():
            room = self._room(waiting[name], now, claims=True)
            calls = self._places.all if room is None else min(self._places.all, room)
            gathered = self._buffer.of(name) + sum(
                len(pack.items) for pack in self._list_owed(name)
            )
            most[name] = max(0, calls * self._size(waiting[name]) - gathered)
        self._peek(direct, most, now)
        if any(pack.measures for pack in self._waiting):
            most |= {name: min(most[name], 1) for name in self._only_shadows & most.keys()}
        if aside and self._places.serves_live(now):
            most = {
                name: min(number, ASIDE * self._size(waiting[name]))
                for name, number in most.items()
            }
        return {name: number for name, number in most.items() if number > 0}

    def take_in(
        self, claimed: Sequence[ClaimedWork], versions: Mapping[VersionId, Version], now: datetime
    ) -> None:
        """Add claimed work, the most urgent first, to its windows; work without a window waits for a place."""
        last = {each.workload: each.measures for each in claimed}
        if any(name in self._only_shadows and not measures for name, measures in last.items()):
            self._claims_again_at = now + AGAIN
        self._only_shadows = (self._only_shadows - last.keys()) | {
            name for name, measures in last.items() if measures
        }
        self._versions = {each.id: each for each in self.held_versions} | dict(versions)
        self._add(self._buffer.add(claimed, self._versions, now), now)

    def is_supplied(self, now: datetime) -> bool:
        """Return whether no place is free and enough work is claimed ahead, so that skipping a claim loses nothing."""
        taken = self._places.free == 0 and not self.is_held_back(now)
        return taken and self._ahead.total() > self._places.ahead // 2

    # Starting

    def start(self, now: datetime) -> list[Pack]:
        """Start and return the packs that every limiter admits, the most urgent first; the others wait.

        Packs are tried while a place is free. `waits` has the reasons of the packs that were tried.
        """
        self._add(self._buffer.take(self._versions, now), now)
        if not self._waiting or self._places.free == 0:
            return []
        self._plan_shares(now)
        started, waits, owed_waits = list[Pack](), list[tuple[Pack, Wait]](), False
        for pack in self._waiting:
            if self._places.free == 0:
                break
            wait = self._wait(pack, now, owed_waits=owed_waits)
            if wait is None:
                self.begin(pack, now)
                started.append(pack)
            else:
                owed_waits = owed_waits or not pack.measures
                waits.append((pack, wait))
        tried = len(started) + len(waits)
        self._waiting = [*(pack for pack, _ in waits), *self._waiting[tried:]]
        self.waits = waits
        return started

    def begin(self, pack: Pack, now: datetime) -> None:
        """Report the start of a call to all limiters."""
        for limiter in self._limiters:
            limiter.started(pack, now)

    def ended(self, pack: Pack, used: Need | None, now: datetime) -> None:
        """Report the end of a call to all limiters; `used`: its use of the rate limits, None if unknown."""
        for limiter in self._limiters:
            limiter.ended(pack, used, now)

    def reasons(self, now: datetime) -> Counter[tuple[str, WaitReason]]:
        """Return the number of packs that wait now, by workload and reason."""
        reasons, owed_waits = Counter[tuple[str, WaitReason]](), False
        for pack in self._waiting:
            if (wait := self._wait(pack, now, owed_waits=owed_waits)) is not None:
                reasons[pack.workload, wait.reason] += 1
            owed_waits = owed_waits or not pack.measures
        return reasons

    def next_moment(self, now: datetime) -> datetime | None:
        """Return the next time at which a window or a rest ends or a claim is due; None if there is none."""
        moments = [
            self._buffer.next_leave(self._versions),
            self._claims_again_at,
            *(limiter.next_change(now) for limiter in self._limiters),
            *(wait.until for _, wait in self.waits),
        ]
        return min((each for each in moments if each is not None and each > now), default=None)

    def is_held_back(self, now: datetime) -> bool:
        """Return whether the provider limits this drain's calls: another drain would not help."""
        limited = any(
            wait.reason is WaitReason.RATE_LIMIT and not pack.measures for pack, wait in self.waits
        )
        return (
            limited
            or self._backpressure.next_change(now) is not None
            or self._health.holds_back(now)
        )

    # Circuits

    @property
    def held_versions(self) -> list[Version]:
        """The versions of the work that the scheduler has, in windows or packs."""
        waiting = self._buffer.version_ids | {pack.version.id for pack in self._waiting}
        return [self._versions[id_] for id_ in waiting]

    @property
    def held_models(self) -> set[str]:
        """The models of the work that the scheduler has."""
        return {each.spec.realtime_model for each in self.held_versions}

    def due_probes(self, now: datetime) -> Mapping[str, Circuit]:
        """Return the circuits that may be probed now, by model."""
        can_ask = self._places.free > 0 and not self._backpressure.is_frozen(now)
        return self._health.circuits.to_probe(now) if can_ask else {}

    def list_idle_probes(self, now: datetime) -> set[str]:
        """Return the models whose probe this drain holds without having work for it."""
        return set(self._health.circuits.probes(now)) - self.held_models

    def is_askable(self, version: Version, now: datetime) -> bool:
        """Return whether a call of this version could start now, apart from its model's circuit."""
        rests = self._backpressure.compute_rest_end(version, now) > now
        return not rests and self._rates.room(version, now) != 0

    def list_skipped_models(self, now: datetime) -> set[str]:
        """Return the models whose work is not claimed now, so that claims reach the work for other models behind it."""
        return {*self._health.circuits.open_models(now), *self._backpressure.resting_models(now)}

    # Giving up

    def give_up_stranded(self, now: datetime) -> list[ClaimedWork]:
        """Give up and return the items of packs that cannot start soon, because of a rest, the reserve or an open circuit."""
        probes = self._probes(now)
        return self._give_up(
            lambda pack: (
                self._stays(pack, now)
                if pack.version.spec.buffer_s == 0
                else self._outlasts_window(pack, probes, now)
            )
        )

    def give_up_shadows(self) -> list[ClaimedWork]:
        """Give up and return all shadows while owed work waits for a place, else the shadows beyond the number of places."""
        owed = any(not pack.measures for pack in self._waiting)
        kept = [] if owed else [pack for pack in self._waiting if pack.measures]
        stay = set(map(id, kept[: self._places.all]))
        return self._give_up(lambda pack: not pack.measures or id(pack) in stay)

    def give_up_all(self) -> list[ClaimedWork]:
        """Give up and return all work that was not sent."""
        return [*self._give_up(lambda _: False), *self._buffer.drain()]

    def _give_up(self, keeps: Callable[[Pack], bool]) -> list[ClaimedWork]:
        given_up = [pack for pack in self._waiting if not keeps(pack)]
        if given_up:
            gone = set(map(id, given_up))
            self._waiting = [pack for pack in self._waiting if id(pack) not in gone]
            self.waits = [(pack, wait) for pack, wait in self.waits if id(pack) not in gone]
        return [each for pack in given_up for each in pack.items]

    def _stays(self, pack: Pack, now: datetime) -> bool:
        """Return whether a pack without a window may start soon; if only the reserve is left, only a pressing pack may."""
        if self._room(pack.version, now) == 0:
            return False
        return pack.presses(now) or not self._rates.only_reserve(pack.version, now)

    def _outlasts_window(self, pack: Pack, probes: Mapping[str, Pack], now: datetime) -> bool:
        """Return whether a pack that left its window stays; with an open circuit only the probe does, others may use batch."""
        return self._health.circuits.of(pack.model, now) is None or probes.get(pack.model) is pack

    def _probes(self, now: datetime) -> Mapping[str, Pack]:
        """Return the most urgent pack by model, for the models whose probe this drain holds."""
        first: dict[str, Pack] = {}
        if not self._health.circuits.has_open(now):
            return first
        for pack in self._waiting:
            first.setdefault(pack.model, pack)
        return {
            model: pack for model, pack in first.items() if self._health.circuits.room(model, now)
        }

    # Rooms and shares

    @property
    def _ahead(self) -> Counter[str]:
        """The number of packs that wait for a place, by workload; without shadows and workloads with a window."""
        return Counter(
            pack.workload
            for pack in self._waiting
            if pack.version.spec.buffer_s == 0 and not pack.measures
        )

    def _list_owed(self, workload: str) -> list[Pack]:
        return [pack for pack in self._waiting if pack.workload == workload and not pack.measures]

    def _wait(self, pack: Pack, now: datetime, *, owed_waits: bool) -> Wait | None:
        """Return the first `Wait` of a limiter, None if all admit the pack; shadows also wait while owed work waits."""
        if pack.measures and owed_waits:
            return Wait(None, WaitReason.SHADOW)
        for limiter in self._limiters:
            if isinstance(admission := limiter.admits(pack, now), Wait):
                return admission
        return None

    def _room(self, version: Version, now: datetime, *, claims: bool = False) -> int | None:
        """Return the number of calls of the version that may start soon, None without a bound; a budget bounds only claims."""
        limiters = (*self._bounds, self.budget) if claims else self._bounds
        rooms = (limiter.room(version, now) for limiter in limiters)
        return min((room for room in rooms if room is not None), default=None)

    def _rooms(
        self, versions: Mapping[str, Version], now: datetime, *, claims: bool = False
    ) -> dict[str, int]:
        rooms = {
            name: self._room(version, now, claims=claims) for name, version in versions.items()
        }
        return {name: room for name, room in rooms.items() if room is not None}

    def _plan_shares(self, now: datetime) -> None:
        """Divide the free places among the workloads with waiting owed work; without any, among those with shadows."""
        owed = {pack.workload: pack.version for pack in self._waiting if not pack.measures}
        versions = owed or {pack.workload: pack.version for pack in self._waiting}
        self._share.plan(
            divide(
                self._places.free,
                {name: version.entitlement for name, version in versions.items()},
                in_flight=self._places.owed_calls if owed else self._places.in_flight,
                places=self._places.all,
                rooms=self._rooms(versions, now),
            )
        )

    def _soon_free(self, versions: Mapping[str, Version], now: datetime) -> dict[str, int]:
        """Return the number of places, free now or soon, that each workload gets beyond its waiting packs."""
        if self._backpressure.is_frozen(now):
            return {}
        queued, more = self._ahead, self._places.ahead
        rooms = self._rooms(versions, now, claims=True)
        return divide(
            self._places.free + max(0, more - queued.total()),
            {name: version.entitlement for name, version in versions.items()},
            in_flight=queued + Counter(self._places.owed_calls),
            places=self._places.all + more,
            rooms={name: max(0, room - queued[name]) for name, room in rooms.items()},
        )

    def _peek(self, direct: Mapping[str, Version], most: dict[str, int], now: datetime) -> None:
        """Limit the claims of workloads with only the reserve left to one call every `PEEK`: its items may be pressing."""
        for name in direct.keys() & most.keys():
            if not self._rates.only_reserve(direct[name], now):
                self._peeked_at.pop(name, None)
            elif now - self._peeked_at.get(name, now - PEEK) >= PEEK:
                self._peeked_at[name] = now
                most[name] = min(most[name], self._size(direct[name]))
            else:
                most[name] = 0

    def _add(self, claimed: Iterable[ClaimedWork], now: datetime) -> None:
        """Add claimed work to the packs that wait for a place, in the order of their ranks."""
        if made := self._pack(claimed, now):
            self._waiting = sorted([*self._waiting, *made], key=lambda pack: pack.rank)

    def _pack(self, claimed: Iterable[ClaimedWork], now: datetime) -> list[Pack]:
        by_version: dict[VersionId, list[ClaimedWork]] = {}
        for each in claimed:
            by_version.setdefault(each.version_id, []).append(each)
        made: list[Pack] = []
        for id_, theirs in by_version.items():
            version = self._versions[id_]
            most = self._sizes.most_bytes(version, Lane.REALTIME, now)
            calls = packs(theirs, self._size(version), most=most, scope=version.spec.pack_scope)
            made += [Pack(version, items, now) for items in calls]
        return made

    def _size(self, version: Version) -> int:
        """Return the current pack size of a version."""
        return self._sizes.of(version, Lane.REALTIME)
