"""Whether calls mark what they share for the provider's cache: only where what was measured says that it pays. Pure.

A marked prefix is dearer when it is written and much cheaper when it is read: it pays where the share that is read exceeds
(w - 1) / (w - r), w and r being what a written and a read token cost beside a plain one. Real time keeps a prefix for five
minutes, a batch for an hour. Below the model's minimum marking silently does nothing, and costs nothing.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from lanes.backoff import Backoff
from lanes.ids import VersionId
from lanes.units import counted, seconds
from lanes.words import Lane
from lanes.workload.prices import Usage, per_token

MARGIN = 0.05  # of the hit rate: what is off must promise so much more than what is on
CERTAIN = 100  # calls by which it is decided however near the hit rate is to what it pays from
Z = 2.0  # standard deviations: fewer calls say that it does not pay only where it is so sure
PROBED, APART = (
    20,
    10,
)  # to find out, so many requests of a batch are marked, every tenth of the first: what a try costs
PROBED_EVERY_S = 1.0  # and in real time a call of a drain in so long: those that begin together read nothing of each other
LONGEST_REST = timedelta(days=30)
NOTHING_RESTS = timedelta(days=7)  # where nothing was cached: the prefix of a version does not grow


class Marks(StrEnum):
    """Which calls of a version's lane mark what they share."""

    NONE = "none"  # until what was seen promises that it pays
    SOME = "some"  # few of them, to find out; then all or none
    ALL = "all"  # until it is seen not to pay


STATES = {Marks.NONE: "off", Marks.SOME: "on trial", Marks.ALL: "on"}


@dataclass(frozen=True)
class Terms:
    """How a lane caches: how long a prefix is kept (`ttl` as the provider calls it), how far back what was measured counts, how
    many marked calls are evidence, and how long it rests once it did not pay: twice as long each time."""

    ttl: str
    kept: timedelta
    measured: timedelta
    fewest: int
    rests: timedelta


TERMS: Mapping[Lane, Terms] = {
    Lane.REALTIME: Terms("5m", timedelta(minutes=5), timedelta(hours=1), 20, timedelta(hours=6)),
    Lane.BATCH: Terms("1h", timedelta(hours=1), timedelta(days=3), 15, timedelta(days=7)),
}


@dataclass(frozen=True)
class CachePrices:
    """What a token costs that is written to the cache, and one that is read from it, beside a plain one."""

    write: float
    read: float

    @property
    def pays_from(self) -> float:
        """The hit rate from which on marking pays, 0 to 1; infinite where it never does."""
        if self.read >= 1 or self.write <= self.read:
            return math.inf
        return max(0.0, (self.write - 1) / (self.write - self.read))

    def factor(self, hit_rate: float) -> float:
        """What a shared token costs at that hit rate, beside one that is not cached."""
        return self.read * hit_rate + self.write * (1 - hit_rate)


def cache_prices(model: str, lane: Lane, *, at: datetime) -> CachePrices:
    """Those of the lane's way to cache, as of that day.

    Raises:
        LookupError: no price is known for the model.
    """
    each = per_token(model, lane, at)
    plain = float(each.input)
    return CachePrices(float(each.cache_write(lane)) / plain, float(each.cache_read) / plain)


def written(lane: Lane, tokens: int) -> Usage:
    """So many tokens as the lane writes them to the cache."""
    return Usage(cache_write_5m=tokens) if lane is Lane.REALTIME else Usage(cache_write_1h=tokens)


@dataclass(frozen=True)
class Measured:
    """What the cache did for a version's lane of late: tokens that were read from it and written to it, in about so many calls.

    `marked` are the calls that were answered and marked what they share, as far as is certain. `per_s` are the calls a second
    that the workload begins on the lane.
    """

    read: int = 0
    written: int = 0
    calls: int = 0
    marked: int = 0
    per_s: float = 0.0

    @property
    def hit_rate(self) -> float | None:
        """Which part of the tokens was read, 0 to 1; None where nothing was cached."""
        cached = self.read + self.written
        return self.read / cached if cached else None

    def expected(self, lane: Lane) -> float:
        """The probability that another call came while the prefix is kept, where calls come independently of each other."""
        return -math.expm1(-self.per_s * TERMS[lane].kept.total_seconds())


@dataclass(frozen=True)
class Caching:
    """How a version's lane marks: since when, why, and by what; `decided_at` is when that was looked at last.

    `losses`: how often in a row it did not pay. `again_at`: what is off is not tried before. `hit_rate` is what was measured
    last, in about so many calls; None before anything was.
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

    def said(self, lane: Lane) -> str:
        """How it stands: `on in real time (hit rate 0.93 of 1,204 calls, pays from 0.22)`."""
        where = "in real time" if lane is Lane.REALTIME else "in batches"
        measured = (
            []
            if self.hit_rate is None
            else [f"hit rate {self.hit_rate:.2f} of {counted(self.calls, 'call')}"]
        )
        pays = (
            f"pays from {self.pays_from:.2f}"
            if math.isfinite(self.pays_from)
            else "never pays at its prices"
        )
        return f"{STATES[self.marks]} {where} ({', '.join([*measured, pays])})"


def begun(prices: CachePrices, *, now: datetime) -> Caching:
    """Nothing is marked before anything was seen."""
    return Caching(Marks.NONE, "nothing was seen yet", prices.pays_from, since=now, decided_at=now)


def decide(
    before: Caching, seen: Measured, prices: CachePrices, *, lane: Lane, now: datetime
) -> Caching:
    """How the lane marks from now on, by what was seen since it marks as `before`.

    What is off is tried with a few calls: in real time once enough calls come, in a batch at once, each time but after its
    rest. By what these measure, all are marked or none, and while that is not certain a few; so it stays until it is measured
    not to pay.
    """
    kept = replace(before, pays_from=prices.pays_from, decided_at=now)
    if before.marks is Marks.NONE:
        return _begin(kept, seen, lane, now)
    terms, cached = TERMS[lane], seen.read + seen.written
    if not cached and seen.marked >= terms.fewest:
        why = f"the provider cached nothing of {counted(seen.marked, 'call')}: what they share is too short for it"
        return replace(_off(kept, why, now + NOTHING_RESTS, now), hit_rate=None, calls=0)
    if seen.calls >= terms.fewest and seen.hit_rate is not None:
        return _measured(replace(kept, hit_rate=seen.hit_rate, calls=seen.calls), lane, now)
    if lane is Lane.REALTIME and seen.expected(lane) < prices.pays_from - MARGIN:
        return _off(kept, _expects(seen, lane), None, now)
    return kept


def _begin(kept: Caching, seen: Measured, lane: Lane, now: datetime) -> Caching:
    if kept.again_at is not None and now < kept.again_at:
        return kept
    if not math.isfinite(kept.pays_from):
        return replace(kept, why="a token that is read from the cache costs no less than another")
    if lane is Lane.BATCH:
        return _on(
            kept, Marks.SOME, "a few requests of a batch find out what its cache brings", now
        )
    why = _expects(seen, lane)
    if seen.expected(lane) < kept.pays_from + MARGIN:
        return replace(kept, why=why)
    return _on(kept, Marks.SOME, f"a few calls find out: {why}", now)


def _measured(kept: Caching, lane: Lane, now: datetime) -> Caching:
    on, hit_rate = kept.marks is Marks.ALL, kept.hit_rate or 0.0
    why = f"hit rate {hit_rate:.2f} of {counted(kept.calls, 'call')}, it pays from {kept.pays_from:.2f}"
    if hit_rate >= kept.pays_from + (0 if on else MARGIN):
        return (
            replace(kept, why=why, losses=0)
            if on
            else replace(_on(kept, Marks.ALL, why, now), losses=0)
        )
    if kept.calls < CERTAIN and _at_most(hit_rate, kept.calls) >= kept.pays_from:
        return replace(kept, why=f"{why}: too few to tell")
    losses = kept.losses + 1
    rests = Backoff(TERMS[lane].rests, LONGEST_REST).after(losses)
    return replace(
        _off(kept, f"{why}; tried again in {seconds(rests.total_seconds())}", now + rests, now),
        losses=losses,
    )


def _at_most(hit_rate: float, calls: int) -> float:
    """What the hit rate behind that of so many calls is below, nearly surely: the upper end of Wilson's interval."""
    spread = Z * math.sqrt(hit_rate * (1 - hit_rate) / calls + Z**2 / (4 * calls**2))
    return (hit_rate + Z**2 / (2 * calls) + spread) / (1 + Z**2 / calls)


def _on(kept: Caching, marks: Marks, why: str, now: datetime) -> Caching:
    return replace(kept, marks=marks, why=why, since=now, again_at=None)


def _off(kept: Caching, why: str, again_at: datetime | None, now: datetime) -> Caching:
    return replace(kept, marks=Marks.NONE, why=why, since=now, again_at=again_at)


def _expects(seen: Measured, lane: Lane) -> str:
    came = f"a call every {seconds(1 / seen.per_s)}" if seen.per_s else "hardly any calls"
    return f"with {came} a hit rate of {seen.expected(lane):.2f} is expected"


def is_marked(marks: Marks, number: int) -> bool:
    """Whether the request of a batch with this number, from 0, marks what it shares. Few are spread, because requests that are
    worked off together cannot read what one of them writes."""
    return marks is Marks.ALL or (
        marks is Marks.SOME and number % APART == APART - 1 and number < APART * PROBED
    )


class Marking:
    """Which of a drain's calls mark what they share, by what was decided of their versions; none until something is.

    `at` are seconds of one clock.
    """

    def __init__(self) -> None:
        self._of: Mapping[VersionId, Marks] = {}
        self._tried_at: dict[VersionId, float] = {}

    def decided(self, of: Mapping[VersionId, Marks]) -> None:
        """Calls of these versions mark so from now on, and those of others nothing."""
        self._of = of

    def of(self, version: VersionId) -> Marks:
        """How its calls mark."""
        return self._of.get(version, Marks.NONE)

    def marks(self, version: VersionId, *, at: float) -> bool:
        """Whether its next call marks what it shares: while a few find out, one in `PROBED_EVERY_S`."""
        if (marks := self.of(version)) is not Marks.SOME:
            return marks is Marks.ALL
        if at - self._tried_at.get(version, -math.inf) < PROBED_EVERY_S:
            return False
        self._tried_at[version] = at
        return True


HitRates = Mapping[tuple[VersionId, Lane], float]  # of what all calls mark


@dataclass(frozen=True)
class Saved:
    """What the cache saved on a lane of a workload in a period, in US dollars; negative where it cost more than it saved.

    Against what the same tokens would have cost without it.
    """

    workload: str
    lane: Lane
    read: int
    written: int
    usd: Decimal

    @property
    def hit_rate(self) -> float:
        """Which part of the cached tokens was read, 0 to 1."""
        return self.read / (self.read + self.written)


def saved_usd(read: int, wrote: int, *, model: str, lane: Lane, at: datetime) -> Decimal:
    """What reading and writing so many tokens saved at the prices of that day, those of short prompts; US dollars.

    Raises:
        LookupError: no price is known for the model.
    """
    each = per_token(model, lane, at)
    return read * (each.input - each.cache_read) - wrote * (each.cache_write(lane) - each.input)
