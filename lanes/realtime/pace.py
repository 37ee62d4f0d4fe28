"""The number of calls that may be in flight, their timeouts, and the length of their claims.

The number of places follows from the duration of the calls; the provider's answers may reduce it.
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
LONGEST_WAIT = timedelta(minutes=5)  # the provider may demand days; we call again sooner
FREEZE = timedelta(seconds=30)
UNTOLD = 64  # calls in flight if no bound is set and the provider reports no limits
MOST = 500  # calls in flight if no bound is set and it reports limits: more than a drain can handle
LEAST = 16  # places, however short the calls
CALLS_PER_S = 320  # throughput of one drain: longer calls get more places, up to the bound
AHEAD_S = 0.2  # longest time from claiming work to sending it
YIELDS = 0.5  # largest fraction of the places for shadows and replays; live work gets the rest
# A smaller fraction for replays if live work was sent within the last seconds: each call takes processor time of the drain.
YIELDS_TO_LIVE, LIVE_FOR = 1 / 16, timedelta(seconds=10)
REPLAYS_EVERY = timedelta(seconds=0.1)  # between the starts of two replay calls
MEMORY = 0.9  # weight of the known call duration against the newest call


class Places(Limiter):
    """The places for calls. Little's law gives their number from the duration of the calls.

    Shadows and replays get at most half of the places, so that other work finds a free place.
    """

    def __init__(self, most: int = UNTOLD, *, bounded: bool = True) -> None:
        self.most, self._bounded = most, bounded  # bounded: a person set `most`
        self.call_s = 0.0  # smoothed duration of a call; 0: unknown
        self._running, self._measuring = Counter[str](), Counter[str]()  # by workload
        self._replaying = 0
        self._live_until = self._replays_at = datetime.min.replace(tzinfo=UTC)

    @property
    def all(self) -> int:
        """The number of places, occupied or free."""
        return min(self.most, max(LEAST, math.ceil(self.call_s * CALLS_PER_S)))

    @property
    def free(self) -> int:
        """The number of calls that may start."""
        return max(0, self.all - self._running.total())

    @property
    def ahead(self) -> int:
        """The number of calls to claim beyond the places, so that the next call starts as soon as one ends.

        It is the number of calls that end during a claim: 0 for long calls, whose work may find a place in another drain
        sooner.
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
        """Raise the bound to `MOST`, because the provider reports its limits; a bound that a person set stays."""
        if not self._bounded:
            self.most = MOST

    def record_answer(self, seconds: float) -> None:
        """Update the smoothed call duration with an answered call."""
        self.call_s = seconds if self.call_s == 0 else MEMORY * self.call_s + (1 - MEMORY) * seconds

    def admits(self, pack: Pack, now: datetime) -> MayStart | Wait:
        """Admit a pack if a place is free; shadows and replays must also be within their fraction of the places."""
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
        """Return whether live work was sent within the last seconds (`LIVE_FOR`)."""
        return now < self._live_until

    def started(self, pack: Pack, now: datetime) -> None:
        """Occupy a place."""
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
    """A model that the provider limited or refused: its bound on calls in flight, and the end of its rest."""

    allowed: float
    rests_until: datetime


class Backpressure(Limiter):
    """The reaction to the provider's limits: a limit halves the calls of its model, and answers raise them again slowly.

    Additive increase, multiplicative decrease (Chiu and Jain, 1989). A limit or a refusal affects one model; other models
    continue. A refusal of the whole account rests all models, and a refusal of a version rests its workload.
    """

    def __init__(self, places: Places) -> None:
        self._places = places
        self._frozen_until: datetime | None = None
        self._workloads: dict[str, datetime] = {}
        self._slowed: dict[str, _Slowed] = {}
        self._models = Counter[str]()  # calls in flight

    def record_answer(self, model: str) -> None:
        """Raise the model's bound by one call for each round of answered calls."""
        if (slowed := self._slowed.get(model)) is not None:
            slowed.allowed += 1 / max(slowed.allowed, 1)
            if slowed.allowed >= self._places.most:
                del self._slowed[model]

    def slow_down(self, model: str, *, retry_after_s: float | None, now: datetime) -> None:
        """Halve the calls of the model, and start no call before the provider allows it."""
        slowed = self._slowed.setdefault(model, _Slowed(self._places.most, now))
        if now >= slowed.rests_until:  # halve only once for all calls that were in flight
            slowed.allowed = max(1, min(slowed.allowed, self._places.all) / 2)
        wait = DEFAULT_WAIT.total_seconds() if retry_after_s is None else max(0, retry_after_s)
        self._rest(model, timedelta(seconds=min(LONGEST_WAIT.total_seconds(), wait)), now)

    def freeze(self, now: datetime, *, model: str | None = None) -> None:
        """Start no call of the model, or of the account if None, for 30 s: a person must act."""
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
        """Return the models that still rest after a limit or a refusal."""
        return [model for model, slowed in self._slowed.items() if now < slowed.rests_until]

    def compute_rest_end(self, version: Version, now: datetime) -> datetime:
        """Return the time from which calls of the version may start; `now` if nothing rests."""
        slowed = self._slowed.get(version.spec.realtime_model)
        ends = (
            self._frozen_until,
            self._workloads.get(version.workload),
            slowed and slowed.rests_until,
        )
        return max((now, *(each for each in ends if each is not None)))

    def admits(self, pack: Pack, now: datetime) -> MayStart | Wait:
        """Admit a pack if its account, workload and model do not rest, and the model is below its bound of calls in flight."""
        until = self.compute_rest_end(pack.version, now)
        if until > now:
            slowed = pack.model in self.resting_models(now) and not self.is_frozen(now)
            return Wait(until, WaitReason.SLOWED if slowed else WaitReason.FROZEN)
        return Wait(None, WaitReason.SLOWED) if self.room(pack.version, now) == 0 else MAY_START

    def room(self, version: Version, now: datetime) -> int | None:
        """Return the number of calls that the version's model may still start: 0 during a rest, None without a bound."""
        if self.compute_rest_end(version, now) > now:
            return 0
        slowed = self._slowed.get(model := version.spec.realtime_model)
        return None if slowed is None else max(0, int(slowed.allowed) - self._models[model])

    def started(self, pack: Pack, now: datetime) -> None:
        """Count a call of the model in flight."""
        self._models[pack.model] += 1

    def ended(self, pack: Pack, used: Need | None, now: datetime) -> None:
        """Stop counting a call of the model."""
        self._models -= Counter({pack.model: 1})

    def next_change(self, now: datetime) -> datetime | None:
        """Return the end of the first rest of the account or of a model; None if neither rests."""
        ends = (self._frozen_until, *(each.rests_until for each in self._slowed.values()))
        return min((each for each in ends if each is not None and each > now), default=None)

    def _rest(self, model: str, wait: timedelta, now: datetime) -> None:
        slowed = self._slowed.setdefault(model, _Slowed(self._places.most, now))
        slowed.rests_until = max(slowed.rests_until, now + wait)


def items_per_s(
    call_s: float, *, items_a_call: float, most_calls: int, told: bool, drains: int = 1
) -> float:
    """Return the items per second that the places can answer, by Little's law.

    Calls take `call_s` seconds on average (above 0) and carry `items_a_call` items (at least 1). `most_calls` is the configured
    bound of a drain, 0 for none. `told`: the provider reports its limits.
    """
    places = Places(most_calls or (MOST if told else UNTOLD))
    places.call_s = call_s
    return max(1, drains) * places.all / call_s * max(1.0, items_a_call)


CONNECT_S = 5.0
FIRST_TOKEN_S = 20.0  # the longest time to the first token of a healthy provider
TOKENS_PER_S = 25.0  # the lowest output rate of a healthy model
LONGEST_S = 600.0  # the provider requires streaming for longer calls
MOST_PATIENCE = 4  # largest factor on the timeout of calls after earlier ones were cut
# The lease of a claim. The drain renews it until the work is done, however long its call takes.
LEASE = timedelta(seconds=20)
RENEW_EVERY = timedelta(seconds=5)
RENEWED_WITHIN_S = 10.0  # a call begins only if its work was claimed or renewed within this time: half of the lease is left


def longest_call_s(max_tokens: int, *, patience: int = 1) -> float:
    """Return the timeout in seconds for a whole call of at most `max_tokens`, even if its answer is still arriving.

    A due time never shortens a call: the provider bills a cut call, and the item would have to be sent again. `patience`
    multiplies the timeout, because similar calls were cut before.
    """
    return min(LONGEST_S, patience * (FIRST_TOKEN_S + max_tokens / TOKENS_PER_S))
