"""How many calls may be in flight on the real-time lane: as many as their length asks for, fewer when the provider says so."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

DEFAULT_WAIT = timedelta(seconds=5)
LONGEST_WAIT = timedelta(minutes=5)  # the provider may name days; we ask again sooner
FREEZE = timedelta(seconds=30)
UNTOLD = 64  # calls in flight where nobody set a bound and the provider tells no limits
MOST = 500  # and where it does: more than a drain keeps up with are never needed
LEAST = 16  # places, however short the calls
CALLS_PER_S = 320  # what one drain keeps up with: longer calls get more places, up to the bound
AHEAD_S = 0.2  # how long a claim may take until what it brings is asked
MEMORY = 0.9  # weight of what was known of the calls' length against the newest one


@dataclass
class Pace:
    """Places for calls. Little's law gives their number from the calls' length; a limit of the provider halves it, and it
    creeps back (additive increase, multiplicative decrease: Chiu and Jain, 1989).
    """

    most: int = UNTOLD
    bounded: bool = True  # somebody set the bound: it stands, whatever the provider tells
    allowed: float = field(default=0, init=False)
    call_s: float = field(default=0, init=False)  # how long a call takes, in seconds; smoothed
    rests_until: datetime | None = field(default=None, init=False)
    _workloads: Counter[str] = field(default_factory=Counter, init=False)
    _models: Counter[str] = field(default_factory=Counter, init=False)
    _measuring: Counter[str] = field(default_factory=Counter, init=False)  # of the same calls, those that only measure
    _resting: dict[str, datetime] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.allowed = self.most

    @property
    def wanted(self) -> int:
        """How many places the calls' length asks for."""
        return min(self.most, max(LEAST, math.ceil(self.call_s * CALLS_PER_S)))

    @property
    def all_places(self) -> int:
        """How many calls may be in flight."""
        return min(self.wanted, int(self.allowed))

    @property
    def ahead(self) -> int:
        """How many calls are claimed beyond the places, so that one that ends is followed at once: as many as end while the
        next are claimed. Of long calls none, because their work may find a place elsewhere meanwhile.
        """
        if self.call_s == 0:
            return 0
        return min(self.all_places, int(self.all_places * AHEAD_S / self.call_s))

    @property
    def in_flight(self) -> Mapping[str, int]:
        """The calls under way, by workload."""
        return self._workloads

    @property
    def owed(self) -> Mapping[str, int]:
        """Those of them that somebody waits for."""
        return self._workloads - self._measuring

    def limits_are_told(self) -> None:
        """The provider tells its limits, and calls are admitted by them: unless somebody set a bound, only their length bounds
        their number. Where the provider slowed us down, it creeps there."""
        if not self.bounded:
            self.allowed = MOST if self.allowed >= self.most else self.allowed
            self.most = MOST

    def is_resting(self, now: datetime) -> bool:
        """Whether nothing may be asked now, because the provider or an account said so."""
        return self.rests_until is not None and now < self.rests_until

    def places(self, now: datetime) -> int:
        """How many more calls may begin now."""
        if self.is_resting(now):
            return 0
        return max(0, self.all_places - self._workloads.total())

    def to_measure(self, now: datetime) -> int:
        """How many more calls may begin that only measure: they have half of all places, so that what is owed finds one."""
        return max(0, min(self.places(now), max(1, self.all_places // 2) - self._measuring.total()))

    def of_model(self, model: str) -> int:
        """How many calls of a model are under way."""
        return self._models[model]

    def began(self, workload: str, model: str, *, measures: bool = False) -> None:
        """A call is under way; nobody waits for what only `measures`."""
        self._measuring[workload] += measures
        self._workloads[workload] += 1
        self._models[model] += 1

    def ended(self, workload: str, model: str, *, measures: bool = False) -> None:
        """It no longer is."""
        self._measuring.subtract({workload: measures})
        self._workloads.subtract({workload: 1})
        self._models.subtract({model: 1})
        self._workloads += Counter()  # forgets whom nothing is under way for
        self._models += Counter()
        self._measuring += Counter()

    def succeeded(self, seconds: float) -> None:
        """A call was answered after so long: the allowance creeps back, by one call per round of calls."""
        self.call_s = seconds if self.call_s == 0 else MEMORY * self.call_s + (1 - MEMORY) * seconds
        self.allowed = min(self.most, self.allowed + 1 / max(self.allowed, 1))

    def slow_down(self, *, retry_after_s: float | None, now: datetime) -> None:
        """The provider limits us: half as many calls, none before it says."""
        if not self.is_resting(now):  # not once more for each call that was in flight
            self.allowed = max(1, min(self.allowed, self.wanted) / 2)
        wait = DEFAULT_WAIT.total_seconds() if retry_after_s is None else max(0, retry_after_s)
        self._rest(timedelta(seconds=min(LONGEST_WAIT.total_seconds(), wait)), now)

    def freeze(self, now: datetime) -> None:
        """Nothing paid for a while: an account or a setting needs a person."""
        self._rest(FREEZE, now)

    def freeze_workload(self, name: str, now: datetime) -> None:
        """Nothing of this workload for a while: its model needs a person. The others go on."""
        self.rest_workload(name, now + FREEZE)

    def rest_workload(self, name: str, until: datetime) -> None:
        """Nothing of this workload until then. The others go on."""
        self._resting[name] = max(until, self._resting.get(name, until))

    def go_on(self, name: str) -> None:
        """This workload rests no longer."""
        self._resting.pop(name, None)

    def resting(self, now: datetime) -> list[str]:
        """The workloads of which nothing may be asked now."""
        return [name for name, until in self._resting.items() if now < until]

    def next_try(self, name: str, now: datetime) -> datetime:
        """When work of this workload that was given back may be asked again."""
        return max(now, self.rests_until or now, self._resting.get(name, now))

    def _rest(self, wait: timedelta, now: datetime) -> None:
        self.rests_until = max(self.rests_until or now, now + wait)
