"""The number of calls that may be in flight, their longest time, and the length of their claims.

There are as many places as the length of the calls needs, and fewer when the provider says so.
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from lanes.realtime.limiter import MAY_START, Limiter, MayStart, Pack, Wait, WaitReason
from lanes.routing.capacity import Need
from lanes.workload.version import Version

DEFAULT_WAIT = timedelta(seconds=5)
LONGEST_WAIT = timedelta(minutes=5)  # the provider may name days; we ask again sooner
FREEZE = timedelta(seconds=30)
UNTOLD = 64  # calls in flight if no bound is set and the provider reports no limits
MOST = 500  # calls in flight if it does: a drain never needs more than it can keep up with
LEAST = 16  # places, however short the calls
CALLS_PER_S = 320  # what one drain keeps up with: longer calls get more places, up to the bound
AHEAD_S = 0.2  # how long it may take to claim work and ask it
YIELDS = 0.5  # of the places: the most that shadows and replays have together, so that live work finds one free
# Less for replays, while live work was asked within the last seconds: each call takes time of the drain.
YIELDS_TO_LIVE, LIVE_FOR = 1 / 16, timedelta(seconds=10)
REPLAYS_EVERY = timedelta(seconds=0.1)  # between the starts of two calls of replays
MEMORY = 0.9  # weight of the known call length against the newest call


class Places(Limiter):
    """The places for calls. Little's law gives their number from the length of the calls.

    Shadows and replays have at most half of the places, so that other work finds one free.
    """

    def __init__(self, most: int = UNTOLD, *, bounded: bool = True) -> None:
        self.most, self._bounded = most, bounded  # bounded: a person set the bound, and it stands
        self.call_s = 0.0  # smoothed length of a call
        self._running, self._measuring = Counter[str](), Counter[str]()  # by workload
        self._replaying = 0
        self._live_until = self._replays_at = datetime.min.replace(tzinfo=UTC)

    @property
    def all(self) -> int:
        """The number of places, taken or free."""
        return min(self.most, max(LEAST, math.ceil(self.call_s * CALLS_PER_S)))

    @property
    def free(self) -> int:
        """The number of calls that may start."""
        return max(0, self.all - self._running.total())

    @property
    def ahead(self) -> int:
        """The calls to claim beyond the places, so that a call that ends is followed at once.

        As many as end during a claim. None of long calls: their work may meanwhile find a place in another drain.
        """
        return 0 if self.call_s == 0 else min(self.all, int(self.all * AHEAD_S / self.call_s))

    @property
    def in_flight(self) -> Mapping[str, int]:
        """The calls in flight, by workload."""
        return self._running

    @property
    def owed_calls(self) -> Mapping[str, int]:
        """The calls in flight without shadows, by workload."""
        return self._running - self._measuring

    def raise_bound(self) -> None:
        """Let only the length of calls bound their number, now that the provider tells its limits, unless a bound was set."""
        if not self._bounded:
            self.most = MOST

    def record_answer(self, seconds: float) -> None:
        """Learn how long an answered call took."""
        self.call_s = seconds if self.call_s == 0 else MEMORY * self.call_s + (1 - MEMORY) * seconds

    def admits(self, pack: Pack, now: datetime) -> MayStart | Wait:
        """Admit a pack while a place is free, and one that no sender waits for while such have less than half of them."""
        if self.free == 0:
            return Wait(None, WaitReason.PLACES)
        if pack.measures and self._measuring.total() >= max(1, int(self.all * YIELDS)):
            return Wait(None, WaitReason.SHADOW)
        if pack.replays and self.serves_live(now):
            if self._replaying >= max(1, int(self.all * YIELDS_TO_LIVE)):
                return Wait(None, WaitReason.SHADOW)
            if now < self._replays_at:
                return Wait(self._replays_at, WaitReason.SHADOW)
        return MAY_START

    def serves_live(self, now: datetime) -> bool:
        """Return whether live work was asked within the last seconds."""
        return now < self._live_until

    def started(self, pack: Pack, now: datetime) -> None:
        """Take a place."""
        self._running[pack.workload] += 1
        self._measuring[pack.workload] += pack.measures
        if pack.replays:
            self._replaying += 1
            self._replays_at = now + REPLAYS_EVERY
        if not pack.measures:
            self._live_until = now + LIVE_FOR

    def ended(self, pack: Pack, used: Need | None, now: datetime) -> None:
        """Free the place."""
        self._running -= Counter({pack.workload: 1})
        self._measuring -= Counter({pack.workload: int(pack.measures)})
        self._replaying -= pack.replays


@dataclass
class _Slowed:
    """A model that the provider limited or refused: the calls it may have in flight, and until when none may start."""

    allowed: float
    rests_until: datetime


class Backpressure(Limiter):
    """Heed the provider: a limit halves the calls of its model, and they creep back with each answer.

    Additive increase, multiplicative decrease (Chiu and Jain, 1989). A limit or a refusal is a model's: other models go on.
    A refusal of the whole account rests all of them, and one of a version rests its workload.
    """

    def __init__(self, places: Places) -> None:
        self._places = places
        self._frozen_until: datetime | None = None
        self._workloads: dict[str, datetime] = {}
        self._slowed: dict[str, _Slowed] = {}
        self._models = Counter[str]()  # calls in flight

    def record_answer(self, model: str) -> None:
        """Let the model have one more call for each round of answered calls."""
        if (slowed := self._slowed.get(model)) is not None:
            slowed.allowed += 1 / max(slowed.allowed, 1)
            if slowed.allowed >= self._places.most:
                del self._slowed[model]

    def slow_down(self, model: str, *, retry_after_s: float | None, now: datetime) -> None:
        """Halve the calls of the model, and start none before the provider allows it."""
        slowed = self._slowed.setdefault(model, _Slowed(self._places.most, now))
        if now >= slowed.rests_until:  # not once more for each call that was in flight
            slowed.allowed = max(1, min(slowed.allowed, self._places.all) / 2)
        wait = DEFAULT_WAIT.total_seconds() if retry_after_s is None else max(0, retry_after_s)
        self._rest(model, timedelta(seconds=min(LONGEST_WAIT.total_seconds(), wait)), now)

    def freeze(self, now: datetime, *, model: str | None = None) -> None:
        """Start no call of the model, or of the account, for 30 s: a person must act."""
        if model is None:
            self._frozen_until = max(self._frozen_until or now, now + FREEZE)
        else:
            self._rest(model, FREEZE, now)

    def freeze_workload(self, workload: str, now: datetime) -> None:
        """Start no call of the workload for 30 s: the provider refuses its version."""
        self._workloads[workload] = max(now + FREEZE, self._workloads.get(workload, now))

    def is_frozen(self, now: datetime) -> bool:
        """Return whether the provider refuses the account."""
        return self._frozen_until is not None and now < self._frozen_until

    def resting_models(self, now: datetime) -> list[str]:
        """Return the models that the provider limited or refused, and that still rest."""
        return [model for model, slowed in self._slowed.items() if now < slowed.rests_until]

    def compute_rest_end(self, version: Version, now: datetime) -> datetime:
        """Return when calls of the version may start again; `now` if they may."""
        slowed = self._slowed.get(version.spec.realtime_model)
        ends = (
            self._frozen_until,
            self._workloads.get(version.workload),
            slowed and slowed.rests_until,
        )
        return max((now, *(each for each in ends if each is not None)))

    def admits(self, pack: Pack, now: datetime) -> MayStart | Wait:
        """Admit a pack of which nothing rests, and whose model has fewer calls in flight than it may."""
        until = self.compute_rest_end(pack.version, now)
        if until > now:
            slowed = pack.model in self.resting_models(now) and not self.is_frozen(now)
            return Wait(until, WaitReason.SLOWED if slowed else WaitReason.FROZEN)
        return Wait(None, WaitReason.SLOWED) if self.room(pack.version, now) == 0 else MAY_START

    def room(self, version: Version, now: datetime) -> int | None:
        """Return 0 while something of the version rests, else what its model may still start; None if it was not slowed."""
        if self.compute_rest_end(version, now) > now:
            return 0
        slowed = self._slowed.get(model := version.spec.realtime_model)
        return None if slowed is None else max(0, int(slowed.allowed) - self._models[model])

    def started(self, pack: Pack, now: datetime) -> None:
        """Count a call of the model."""
        self._models[pack.model] += 1

    def ended(self, pack: Pack, used: Need | None, now: datetime) -> None:
        """Count a call of the model no longer."""
        self._models -= Counter({pack.model: 1})

    def next_change(self, now: datetime) -> datetime | None:
        """Return when the first rest ends that the provider asked for."""
        ends = (self._frozen_until, *(each.rests_until for each in self._slowed.values()))
        return min((each for each in ends if each is not None and each > now), default=None)

    def _rest(self, model: str, wait: timedelta, now: datetime) -> None:
        slowed = self._slowed.setdefault(model, _Slowed(self._places.most, now))
        slowed.rests_until = max(slowed.rests_until, now + wait)


def items_per_s(
    call_s: float, *, items_a_call: float, most_calls: int, told: bool, drains: int = 1
) -> float:
    """Return how many items a second the places answer, by Little's law.

    Calls take `call_s` seconds on average, above 0, and carry `items_a_call` items, at least 1. `most_calls` is the bound
    set for a drain, 0 for none; `told`: the provider reports its limits.
    """
    places = Places(most_calls or (MOST if told else UNTOLD))
    places.call_s = call_s
    return max(1, drains) * places.all / call_s * max(1.0, items_a_call)


CONNECT_S = 5.0
FIRST_TOKEN_S = 20.0  # the longest wait for a well provider's first token
TOKENS_PER_S = 25.0  # the slowest that a model writes while it is well
LONGEST_S = 600.0  # the provider asks for streaming beyond ten minutes
MOST_PATIENCE = 4  # times as long: what was cut before may take so much longer
# for how long work is claimed; renewed for as long as it is held, however long its call takes
LEASE = timedelta(seconds=20)
RENEW_EVERY = timedelta(seconds=5)
RENEWED_WITHIN_S = 10.0  # a call begins only for work that was claimed or renewed so lately: half of its lease is left


def longest_call_s(max_tokens: int, *, patience: int = 1) -> float:
    """Return the seconds after which a call of at most `max_tokens` is given up, whatever trickles in.

    A due time never shortens a call: the provider bills a call that was cut, and the item would only be asked again.
    `patience` is how many times as long it may take, because calls like it were cut before.
    """
    return min(LONGEST_S, patience * (FIRST_TOKEN_S + max_tokens / TOKENS_PER_S))
