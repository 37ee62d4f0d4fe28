"""The decision whether calls mark their shared prefix for the provider's cache, which they do only if measurements favor it.

A marked prefix costs more when it is written and much less when it is read. Marking pays if the share of tokens that are read
exceeds (w - 1) / (w - r), where w and r are the prices of a written and a read token relative to a plain one. The cache keeps a
prefix for five minutes in real time and for an hour in batches. Below the model's minimum length, marking has no effect and
costs nothing.
"""

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from lanes.backoff import Backoff
from lanes.ids import BatchId, VersionId
from lanes.units import pluralize, seconds
from lanes.words import Lane
from lanes.workload.prices import Usage, per_token

MARGIN = 0.05  # the hit rate above the threshold that a lane needs to be turned on
CERTAIN = 100  # the number of calls after which a hit rate close to the threshold is decided too
Z = 2.0  # with fewer calls, the hit rate must miss the threshold by this many standard deviations
PROBED, APART = (20, 10)  # a batch on trial marks this many requests, one in ten of its first ones
EVERY = range(sys.maxsize)
PROBED_EVERY_S = 1.0  # a drain on trial marks one call per interval, because simultaneous calls cannot read each other's cache
SHORTEST_CACHED = 1_024  # tokens; no model caches a shorter prefix
# Less than the full hour, because a batch's requests are not processed at once.
WARM_FOR = timedelta(minutes=50)
# US dollars; a primer must save at least this much, because all other requests wait for it.
PRIMES_FOR = Decimal("0.01")
LONGEST_REST = timedelta(days=30)
# The rest after a trial in which nothing was cached: a version's prefix does not grow.
NOTHING_RESTS = timedelta(days=7)


class Marks(StrEnum):
    """The calls of a version on a lane that mark their prefix."""

    NONE = "none"  # until measurements predict that marking pays
    SOME = "some"  # a few, as a trial; then all or none
    ALL = "all"  # until measurements show that marking does not pay


STATES = {Marks.NONE: "off", Marks.SOME: "on trial", Marks.ALL: "on"}


@dataclass(frozen=True)
class CacheTerms:
    """A lane's rules for caching.

    The provider keeps a prefix for `kept`, which its API calls `ttl`. Measurements count as far back as `measured`, and
    `fewest` marked calls are enough evidence. After a loss the lane rests for `rests`, doubled with each further loss.
    """

    ttl: str
    kept: timedelta
    measured: timedelta
    fewest: int
    rests: timedelta


TERMS: Mapping[Lane, CacheTerms] = {
    Lane.REALTIME: CacheTerms(
        "5m", timedelta(minutes=5), timedelta(hours=1), 20, timedelta(hours=6)
    ),
    Lane.BATCH: CacheTerms("1h", timedelta(hours=1), timedelta(days=3), 15, timedelta(days=7)),
}


@dataclass(frozen=True)
class CachePrices:
    """The prices of a written and a read token, relative to a plain one."""

    write: float
    read: float

    @property
    def pays_from(self) -> float:
        """Return the smallest hit rate at which marking pays, 0 to 1; infinite if it never pays."""
        if self.read >= 1 or self.write <= self.read:
            return math.inf
        return max(0.0, (self.write - 1) / (self.write - self.read))

    def factor(self, hit_rate: float) -> float:
        """Return the price of a shared token at this hit rate, relative to a plain one."""
        return self.read * hit_rate + self.write * (1 - hit_rate)


def cache_prices(model: str, lane: Lane, *, at: datetime) -> CachePrices:
    """Return a model's cache prices on a lane, as of the day of `at`.

    Raises:
        LookupError: no price is known for the model.
    """
    each = per_token(model, lane, at)
    plain = float(each.input)
    return CachePrices(float(each.cache_write(lane)) / plain, float(each.cache_read) / plain)


def build_write_usage(lane: Lane, tokens: int) -> Usage:
    """Return the usage of writing `tokens` tokens to the lane's cache."""
    return Usage(cache_write_5m=tokens) if lane is Lane.REALTIME else Usage(cache_write_1h=tokens)


@dataclass(frozen=True)
class CacheUse:
    """The recent cache use of a version on a lane: tokens read and written, in about `calls` calls.

    `marked` counts the answered calls that certainly marked their prefix; the workload starts `per_s` calls a second.
    """

    read: int = 0
    written: int = 0
    calls: int = 0
    marked: int = 0
    per_s: float = 0.0

    @property
    def hit_rate(self) -> float | None:
        """Return the share of cached tokens that were read, 0 to 1; None if nothing was cached."""
        cached = self.read + self.written
        return self.read / cached if cached else None

    def estimate_hit_rate(self, lane: Lane) -> float:
        """Return the probability that another call arrives while the cache keeps the prefix, if calls are independent."""
        return -math.expm1(-self.per_s * TERMS[lane].kept.total_seconds())


@dataclass(frozen=True)
class CachingDecision:
    """The caching state of a version on a lane, its start and its reason; `decided_at` is the time of the last decision.

    Caching failed to pay `losses` times in a row and is not tried again before `again_at`. `hit_rate` is the last measured
    hit rate, from about `calls` calls; None before the first measurement.
    """

    marks: Marks
    why: str
    pays_from: float
    since: datetime
    decided_at: datetime
    hit_rate: float | None = None
    calls: int = 0
    losses: int = 0
    again_at: datetime | None = None

    def describe(self, lane: Lane) -> str:
        """Return the state in words: `on in real time (hit rate 0.93 of 1,204 calls, pays from 0.22)`."""
        where = "in real time" if lane is Lane.REALTIME else "in batches"
        measured = (
            []
            if self.hit_rate is None
            else [f"hit rate {self.hit_rate:.2f} of {pluralize(self.calls, 'call')}"]
        )
        pays = (
            f"pays from {self.pays_from:.2f}"
            if math.isfinite(self.pays_from)
            else "never pays at its prices"
        )
        return f"{STATES[self.marks]} {where} ({', '.join([*measured, pays])})"


def start_unmarked(prices: CachePrices, *, now: datetime) -> CachingDecision:
    """Return the initial state: nothing is marked before the first measurement."""
    return CachingDecision(
        Marks.NONE, "nothing was seen yet", prices.pays_from, since=now, decided_at=now
    )


def decide(
    before: CachingDecision, use: CacheUse, prices: CachePrices, *, lane: Lane, now: datetime
) -> CachingDecision:
    """Return the next caching state of a lane, from the measurements since the lane entered the state `before`.

    A lane that is off is tried with a few calls: in real time once calls are frequent enough, in batches at once, and in
    both after a rest. The trial measures whether all calls should mark their prefix or none; until the result is certain,
    the trial continues with a few calls. The lane stays on until measurements show that it does not pay.
    """
    decision = replace(before, pays_from=prices.pays_from, decided_at=now)
    if before.marks is Marks.NONE:
        return _begin(decision, use, lane, now)
    terms, cached = TERMS[lane], use.read + use.written
    if not cached and use.marked >= terms.fewest:
        why = f"the provider cached nothing of {pluralize(use.marked, 'call')}: what they share is too short for it"
        return replace(_off(decision, why, now + NOTHING_RESTS, now), hit_rate=None, calls=0)
    if use.calls >= terms.fewest and use.hit_rate is not None:
        return _decide_by_hit_rate(
            replace(decision, hit_rate=use.hit_rate, calls=use.calls), lane, now
        )
    if lane is Lane.REALTIME and use.estimate_hit_rate(lane) < prices.pays_from - MARGIN:
        return _off(decision, _expects(use, lane), None, now)
    return decision


def _begin(decision: CachingDecision, use: CacheUse, lane: Lane, now: datetime) -> CachingDecision:
    if decision.again_at is not None and now < decision.again_at:
        return decision
    if not math.isfinite(decision.pays_from):
        return replace(
            decision, why="a token that is read from the cache costs no less than another"
        )
    if lane is Lane.BATCH:
        return _on(
            decision, Marks.SOME, "a few requests of a batch find out what its cache brings", now
        )
    why = _expects(use, lane)
    if use.estimate_hit_rate(lane) < decision.pays_from + MARGIN:
        return replace(decision, why=why)
    return _on(decision, Marks.SOME, f"a few calls find out: {why}", now)


def _decide_by_hit_rate(decision: CachingDecision, lane: Lane, now: datetime) -> CachingDecision:
    on, hit_rate = decision.marks is Marks.ALL, decision.hit_rate or 0.0
    why = f"hit rate {hit_rate:.2f} of {pluralize(decision.calls, 'call')}, it pays from {decision.pays_from:.2f}"
    if hit_rate >= decision.pays_from + (0 if on else MARGIN):
        return (
            replace(decision, why=why, losses=0)
            if on
            else replace(_on(decision, Marks.ALL, why, now), losses=0)
        )
    if decision.calls < CERTAIN and _upper_bound(hit_rate, decision.calls) >= decision.pays_from:
        return replace(decision, why=f"{why}: too few to tell")
    losses = decision.losses + 1
    rests = Backoff(TERMS[lane].rests, LONGEST_REST).rest_after(losses)
    return replace(
        _off(decision, f"{why}; tried again in {seconds(rests.total_seconds())}", now + rests, now),
        losses=losses,
    )


def _upper_bound(hit_rate: float, calls: int) -> float:
    """Return the upper end of Wilson's interval for a hit rate."""
    spread = Z * math.sqrt(hit_rate * (1 - hit_rate) / calls + Z**2 / (4 * calls**2))
    return (hit_rate + Z**2 / (2 * calls) + spread) / (1 + Z**2 / calls)


def _on(decision: CachingDecision, marks: Marks, why: str, now: datetime) -> CachingDecision:
    return replace(decision, marks=marks, why=why, since=now, again_at=None)


def _off(
    decision: CachingDecision, why: str, again_at: datetime | None, now: datetime
) -> CachingDecision:
    return replace(decision, marks=Marks.NONE, why=why, since=now, again_at=again_at)


def _expects(use: CacheUse, lane: Lane) -> str:
    came = f"a call every {seconds(1 / use.per_s)}" if use.per_s else "hardly any calls"
    return f"with {came} a hit rate of {use.estimate_hit_rate(lane):.2f} is expected"


def select_marked(marks: Marks, *, warm: bool | None = None) -> range:
    """Return the numbers, from 0, of a batch's requests that mark their prefix.

    `warm` states whether an earlier batch left the prefix in the cache; None if the prefix is probably too short to be cached.
    Requests of one batch hardly ever read each other's prefix. So a cold batch marks only its first request, for the batches
    after it, and a trial without a warm cache spreads its few marked requests.
    """
    match marks, warm:
        case Marks.NONE, _:
            return range(0)
        case _, False:
            return range(1)
        case Marks.ALL, _:
            return EVERY
        case _, True:
            return range(PROBED)
        case _:
            return range(APART - 1, APART * PROBED, APART)


class PrimerStep(StrEnum):
    """The priming step of a departing batch. A primer is a batch of one marked request; others wait to read its prefix."""

    NONE = "none"  # the batch leaves whole
    SEND = "send"  # the batch's first request leaves as a primer
    WAIT = "wait"  # the batch waits for a primer in flight


@dataclass(frozen=True)
class BatchCache:
    """The state of the provider's cache after earlier marked batches of a version.

    `warm` states that such a batch was answered recently. `primer` is a batch of one request in flight, expected to end by
    `until`; `primed` states that a primer is in flight or was sent recently, even if it failed.
    """

    warm: bool = False
    primer: BatchId | None = None
    until: datetime | None = None
    primed: bool = False

    def step(self, *, saves: Decimal, endangers: bool, now: datetime) -> PrimerStep:
        """Return a batch's step, where a primer saves `saves` US dollars and `endangers` states that waiting risks a due time.

        A primer without effect is not repeated while the cache could still hold its prefix.
        """
        if self.warm or endangers or saves < PRIMES_FOR:
            return PrimerStep.NONE
        if self.until is not None and now < self.until:
            return PrimerStep.WAIT
        return PrimerStep.NONE if self.primed else PrimerStep.SEND


def primer_saves(requests: int, shared: int, *, model: str, at: datetime) -> Decimal:
    """Return what a primer saves, in US dollars, if `requests` requests share a prefix of `shared` tokens.

    The primer writes the prefix once and the other requests read it; without a primer each would pay for the whole prefix.
    With few requests the result is negative.

    Raises:
        LookupError: no price is known for the model.
    """
    return compute_saved_usd(
        max(0, requests - 1) * shared, shared, model=model, lane=Lane.BATCH, at=at
    )


class Marking:
    """The marking of a drain's calls, by the caching decisions for their versions.

    During a trial, one call of a version in `trial_s` seconds is marked; `at` is in seconds of a single clock.
    """

    def __init__(self, trial_s: float = PROBED_EVERY_S) -> None:
        self._trial_s = trial_s
        self._of: Mapping[VersionId, Marks] = {}
        self._tried_at: dict[VersionId, float] = {}

    def learn(self, of: Mapping[VersionId, Marks]) -> None:
        """Use these decisions from now on; calls of other versions mark nothing."""
        self._of = of

    def of(self, version: VersionId) -> Marks:
        """Return which calls of the version mark their prefix."""
        return self._of.get(version, Marks.NONE)

    def marks(self, version: VersionId, *, at: float) -> bool:
        """Return whether the next call marks its prefix; during a trial, one call in `trial_s` seconds does."""
        if (marks := self.of(version)) is not Marks.SOME:
            return marks is Marks.ALL
        if at - self._tried_at.get(version, -math.inf) < self._trial_s:
            return False
        self._tried_at[version] = at
        return True


HitRates = Mapping[tuple[VersionId, Lane], float]  # only for lanes where all calls mark


@dataclass(frozen=True)
class CacheSavings:
    """The cache's savings for a workload on a lane, in US dollars; negative if caching cost more than it saved.

    The baseline is the price of the same tokens without a cache.
    """

    workload: str
    lane: Lane
    read: int
    written: int
    usd: Decimal

    @property
    def hit_rate(self) -> float:
        """Return the share of cached tokens that were read, 0 to 1."""
        return self.read / (self.read + self.written)


def compute_saved_usd(read: int, wrote: int, *, model: str, lane: Lane, at: datetime) -> Decimal:
    """Return the saving of reading and writing these tokens, in US dollars, at that day's prices of short prompts.

    Raises:
        LookupError: no price is known for the model.
    """
    each = per_token(model, lane, at)
    return read * (each.input - each.cache_read) - wrote * (each.cache_write(lane) - each.input)
