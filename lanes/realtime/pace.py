"""How many calls may be in flight on the real-time lane: as many as their length asks for, fewer when the provider says so.

A limit or a refusal is a model's: calls of other models go on. What the whole account is refused rests all of them.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from lanes.workload.version import Entitlement

DEFAULT_WAIT = timedelta(seconds=5)
LONGEST_WAIT = timedelta(minutes=5)  # the provider may name days; we ask again sooner
FREEZE = timedelta(seconds=30)
UNTOLD = 64  # calls in flight if no bound is set and the provider reports no limits
MOST = 500  # calls in flight if it does: a drain never needs more than it can keep up with
LEAST = 16  # places, however short the calls
CALLS_PER_S = 320  # what one drain keeps up with: longer calls get more places, up to the bound
AHEAD_S = 0.2  # how long a claim may take until what it brings is asked
MEMORY = 0.9  # weight of what was known of the calls' length against the newest one


@dataclass
class _Slowed:
    """A model that the provider limited, or refused: how many of its calls may be in flight, and until when none."""

    allowed: float
    rests_until: datetime


@dataclass
class Pace:
    """Places for calls.

    Little's law gives their number from the calls' length; a limit of the provider halves those of its model, and they
    creep back (additive increase, multiplicative decrease: Chiu and Jain, 1989).
    """

    most: int = UNTOLD
    bounded: bool = True  # the bound was set explicitly: the provider's limits do not change it
    call_s: float = field(default=0, init=False)  # how long a call takes, in seconds; smoothed
    rests_until: datetime | None = field(default=None, init=False)
    _workloads: Counter[str] = field(default_factory=Counter, init=False)
    _models: Counter[str] = field(default_factory=Counter, init=False)
    _measuring: Counter[str] = field(
        default_factory=Counter, init=False
    )  # of the same calls, those that only measure
    _resting: dict[str, datetime] = field(default_factory=dict, init=False)
    _slowed: dict[str, _Slowed] = field(default_factory=dict, init=False)  # by model

    @property
    def all_places(self) -> int:
        """How many calls may be in flight: as many as their length asks for."""
        return min(self.most, max(LEAST, math.ceil(self.call_s * CALLS_PER_S)))

    @property
    def ahead(self) -> int:
        """Return how many calls to claim beyond the free places, so that a call that ends is followed at once.

        As many as end while the next are claimed. Long calls are not claimed ahead: another drain may have room for them.
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
        """The calls in flight whose answers are owed, by workload; calls that only measure are left out."""
        return self._workloads - self._measuring

    def limits_are_told(self) -> None:
        """Note that the provider reports its limits and that calls are admitted by them.

        Unless a bound was set, only the duration of the calls then bounds their number. The number of a model that the provider
        slowed down rises to it by degrees.
        """
        if not self.bounded:
            self.most = MOST

    def is_resting(self, now: datetime) -> bool:
        """Return whether nothing may be asked now, because the provider refuses the whole account."""
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
        """Count a call that is now in flight; with `measures` it only measures, and its answer is not owed."""
        self._measuring[workload] += measures
        self._workloads[workload] += 1
        self._models[model] += 1

    def ended(self, workload: str, model: str, *, measures: bool = False) -> None:
        """Stop counting a call that has ended."""
        self._measuring.subtract({workload: measures})
        self._workloads.subtract({workload: 1})
        self._models.subtract({model: 1})
        self._workloads += Counter()  # forgets whom nothing is under way for
        self._models += Counter()
        self._measuring += Counter()

    def succeeded(self, model: str, seconds: float) -> None:
        """Note how long a call took that was answered: its model's allowance creeps back, by one call per round of calls."""
        self.call_s = seconds if self.call_s == 0 else MEMORY * self.call_s + (1 - MEMORY) * seconds
        if (slowed := self._slowed.get(model)) is not None:
            slowed.allowed += 1 / max(slowed.allowed, 1)
            if slowed.allowed >= self.most:
                del self._slowed[model]

    def slow_down(self, model: str, *, retry_after_s: float | None, now: datetime) -> None:
        """Heed a limit of the provider: half as many calls of the model, none before it says."""
        slowed = self._slowed.setdefault(model, _Slowed(self.most, now))
        if now >= slowed.rests_until:  # not once more for each call that was in flight
            slowed.allowed = max(1, min(slowed.allowed, self.all_places) / 2)
        wait = DEFAULT_WAIT.total_seconds() if retry_after_s is None else max(0, retry_after_s)
        self._rest_model(model, timedelta(seconds=min(LONGEST_WAIT.total_seconds(), wait)), now)

    def freeze(self, now: datetime) -> None:
        """Pay nothing for a while: the account needs a person."""
        self.rests_until = max(self.rests_until or now, now + FREEZE)

    def freeze_model(self, model: str, now: datetime) -> None:
        """Ask nothing of the model for a while: a setting needs a person. Other models go on."""
        self._rest_model(model, FREEZE, now)

    def is_model_resting(self, model: str, now: datetime) -> bool:
        """Return whether nothing of the model may be asked now, for all that the provider said of its limits."""
        slowed = self._slowed.get(model)
        return self.is_resting(now) or (slowed is not None and now < slowed.rests_until)

    def resting_models(self, now: datetime) -> list[str]:
        """Return the models that the provider limited or refused, and that rest still."""
        return [model for model, slowed in self._slowed.items() if now < slowed.rests_until]

    def room(self, model: str, now: datetime) -> int | None:
        """Return how many more calls of the model may begin now; None when the provider did not slow it down."""
        if self.is_model_resting(model, now):
            return 0
        slowed = self._slowed.get(model)
        return None if slowed is None else max(0, int(slowed.allowed) - self.of_model(model))

    def rests(self, now: datetime) -> Sequence[datetime]:
        """Return when each rest ends that the provider asked for and that is not over."""
        ends = (self.rests_until, *(each.rests_until for each in self._slowed.values()))
        return [each for each in ends if each is not None and each > now]

    def rest_workload(self, name: str, until: datetime) -> None:
        """Nothing of this workload until then. The others go on."""
        self._resting[name] = max(until, self._resting.get(name, until))

    def resting(self, now: datetime) -> list[str]:
        """The workloads of which nothing may be asked now."""
        return [name for name, until in self._resting.items() if now < until]

    def next_try(self, name: str, model: str, now: datetime) -> datetime:
        """Return when work of this workload, by this model, that was given back may be asked again."""
        slowed = self._slowed.get(model)
        rests = (
            self.rests_until,
            self._resting.get(name),
            None if slowed is None else slowed.rests_until,
        )
        return max((now, *(each for each in rests if each is not None)))

    def _rest_model(self, model: str, wait: timedelta, now: datetime) -> None:
        slowed = self._slowed.setdefault(model, _Slowed(self.most, now))
        slowed.rests_until = max(slowed.rests_until, now + wait)


def items_per_s(
    call_s: float, *, items_a_call: float, most_calls: int, told: bool, drains: int = 1
) -> float:
    """Return the items per second that `drains` drains can ask, by Little's law.

    `call_s` is the mean duration of a call in seconds, above 0; `items_a_call` is at least 1. `most_calls` is the bound set for
    a drain, 0 for none; `told`: the provider reports its limits.
    """
    pace = Pace(most_calls or (MOST if told else UNTOLD))
    pace.call_s = call_s
    return max(1, drains) * pace.all_places / call_s * max(1.0, items_a_call)


def divide(
    free: int,
    waiting: Mapping[str, Entitlement],
    *,
    in_flight: Mapping[str, int],
    places: int,
    rooms: Mapping[str, int],
) -> dict[str, int]:
    """Return how many of the `free` places each workload gets; a workload that gets none is left out.

    Each place goes to the workload that holds the fewest places by its weight. `in_flight` counts as held, so slow calls gather
    no places. While another workload waits or is served, no workload holds more than its largest share of all `places`, but
    always at least one; a workload that is alone takes everything. `rooms` bounds some workloads further. Among workloads that
    are owed an answer, leave calls that only measure out of `in_flight`: each holds a place but counts against no share.
    """
    alone = len(waiting.keys() | {name for name, calls in in_flight.items() if calls}) == 1

    def most(name: str) -> int:
        share = places if alone else max(1, places * waiting[name].max_share_percent // 100)
        return min(share, rooms.get(name, 0) + in_flight.get(name, 0)) if name in rooms else share

    holds = {name: in_flight.get(name, 0) for name in waiting}
    for _ in range(max(0, free)):
        open_to = [name for name in waiting if holds[name] < most(name)]
        if not open_to:
            break
        holds[
            min(
                open_to,
                key=lambda name: (holds[name] / waiting[name].weight, -waiting[name].weight, name),
            )
        ] += 1
    given = {name: held - in_flight.get(name, 0) for name, held in holds.items()}
    return {name: places for name, places in given.items() if places > 0}
