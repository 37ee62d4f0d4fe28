"""Advice on a whole workload: which pattern suits it, and every reason for that with its evidence.

Evidence is what was observed; `advise` is pure. What was not observed is said to be unknown, never guessed: a pattern is
recommended only when it is the same whatever the unknown part of the items turns out to be.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import isfinite

from lanes.breakeven import RULE_OF_THUMB, BreakEven, Overheads
from lanes.words import Lane, Mode

AT_ONCE_S = 60  # a result read within this of being answered was waited for
MIN_ITEMS = 30  # below, shares say nothing
MIN_BILLED = 20  # below, a lane's price per item is estimated
MIN_READS = 20  # below, a consumer's habit is unknown
MIN_COMPARED = 20  # below, the worth of the authoritative pass is unknown
MIN_DAYS = 1.0  # below, a month cannot be projected
DAYS_PER_MONTH = 30.4
LATE_SHARE = 0.2  # who reads fewer than this at once can be moved to batch
WORTH_CORRECTING = 0.05  # share of corrected answers from which the authoritative pass earns its place


class Pattern(StrEnum):
    """How a workload may use the lanes."""

    REALTIME = "realtime"
    BATCH = "batch"
    HYBRID = "hybrid"
    LAMBDA = "lambda"


class Leaning(StrEnum):
    """What one criterion speaks for."""

    REALTIME = "for realtime"
    BATCH = "for batch"
    HYBRID = "for hybrid"
    LAMBDA = "for lambda"
    UNKNOWN = "not enough data"


@dataclass(frozen=True)
class Criterion:
    """One line of the decision framework: what it asks, what was seen, and what that speaks for."""

    name: str
    evidence: str
    leaning: Leaning


@dataclass(frozen=True)
class LaneUse:
    """One lane in the period: items with a valid answer from it, what it billed, p95 from received to first answer."""

    answered: int = 0
    billed_usd: float = 0
    p95_s: float | None = None
    timed: int = 0


@dataclass(frozen=True)
class ConsumerUse:
    """The items of one consumer (None: of nobody named), by how they were first routed, and how they were read.

    Reads count items that real-time answered first: the first read since, whoever read it. `unread` were never read.
    """

    consumer: str | None
    routed: int
    demanded: int = 0  # pinned to real-time, urgent, or due before a batch is back
    deferred: int = 0  # pinned to batch, or the workload's batch rule holds
    realtime: int = 0  # routed to real-time, whatever the reason
    reads: int = 0
    at_once: int = 0
    median_s: float | None = None
    unread: int = 0

    @property
    def undecided(self) -> int:
        """Items that nothing but the split decided."""
        return self.routed - self.demanded - self.deferred

    @property
    def at_once_share(self) -> float | None:
        """The share of the reads that came within a minute; None: too few reads to say."""
        return self.at_once / self.reads if self.reads >= MIN_READS else None


@dataclass(frozen=True)
class Evidence:
    """What was seen of one workload in a period. Counts are of items received in it and not canceled."""

    workload: str
    mode: Mode
    days: float  # from the first item of the period to its end
    items: int
    realtime: LaneUse = LaneUse()
    batch: LaneUse = LaneUse()
    estimated_realtime_usd: float | None = None  # mean of the routes' estimates
    estimated_batch_usd: float | None = None
    with_due: int = 0
    urgent: int = 0
    due_within_5s: int = 0
    due_before_batch: int = 0  # due before a batch is usually back
    batch_expected_s: float = 3600
    peak_per_minute: int = 0
    days_arrivals: Sequence[int] = ()  # items of each whole day, the first and last cut days left out
    compared: int = 0
    corrected: int = 0
    consumers: Sequence[ConsumerUse] = ()


@dataclass(frozen=True)
class Needs:
    """Which share of the items needs real-time: at least `low`, at most `high`; the difference was never observed."""

    low: float
    high: float


@dataclass(frozen=True)
class LaneCost:
    """US dollars of one item on a lane; overheads are those of the second lane, spread over the items that can wait."""

    lane: Lane
    api_usd: float
    infra_usd: float | None
    engineering_usd: float | None
    basis: str  # billed or estimated

    @property
    def total_usd(self) -> float | None:
        """All of it; None when no item would carry the overhead."""
        if self.infra_usd is None or self.engineering_usd is None:
            return None
        return self.api_usd + self.infra_usd + self.engineering_usd


@dataclass(frozen=True)
class RuleOfThumb:
    """The 20 % rule beside the computed break-even. None: the unknown items, or a missing price, leave it open."""

    says_hybrid: bool | None
    computed_hybrid: bool | None

    @property
    def agrees(self) -> bool | None:
        """Whether both say the same."""
        if self.says_hybrid is None or self.computed_hybrid is None:
            return None
        return self.says_hybrid == self.computed_hybrid


@dataclass(frozen=True)
class Advice:
    """What is recommended, and everything it rests on. Amounts are US dollars, per item or per month."""

    workload: str
    pattern: Pattern | None  # None: inconclusive
    because: str
    items_per_month: float | None
    is_volume_stated: bool
    overheads: Overheads
    needs: Needs | None
    break_even: BreakEven | None
    lanes: Sequence[LaneCost] = ()
    rule: RuleOfThumb = RuleOfThumb(None, None)
    criteria: Sequence[Criterion] = ()
    movable: Sequence[ConsumerUse] = ()
    evidence: Evidence | None = field(default=None, repr=False)


def needs(evidence: Evidence) -> Needs | None:
    """The share that needs real-time; None when nothing was routed.

    Demanded items need it. Undecided items need it as often as their consumer reads at once; without enough reads
    they are the unknown part.
    """
    routed = sum(each.routed for each in evidence.consumers)
    if not routed:
        return None
    needed = unknown = 0.0
    for each in evidence.consumers:
        needed += each.demanded
        if each.at_once_share is None:
            unknown += each.undecided
        else:
            needed += each.undecided * each.at_once_share
    return Needs(needed / routed, (needed + unknown) / routed)


def prices(evidence: Evidence) -> tuple[float, float, str, str] | None:
    """Per item: real-time USD, batch discount, and what each lane's price rests on; None when no price is known.

    A lane without enough billed items gets the other's billed price, in the proportion of the routes' estimates.
    """
    realtime, batch = _billed(evidence.realtime), _billed(evidence.batch)
    if realtime and batch is not None:
        return realtime, 1 - batch / realtime, "billed", "billed"
    if not evidence.estimated_realtime_usd or evidence.estimated_batch_usd is None:
        return None
    ratio = evidence.estimated_batch_usd / evidence.estimated_realtime_usd
    if realtime:
        return realtime, 1 - ratio, "billed", "estimated"
    if batch and ratio:
        return batch / ratio, 1 - ratio, "estimated", "billed"
    return evidence.estimated_realtime_usd, 1 - ratio, "estimated", "estimated"


def advise(evidence: Evidence, overheads: Overheads = Overheads(), *, items_per_month: float | None = None) -> Advice:  # noqa: B008
    """The advice; `items_per_month` is a volume that somebody states instead of the projected one."""
    from lanes.criteria import criteria

    volume = items_per_month if items_per_month is not None else projected(evidence)
    share, priced = needs(evidence), prices(evidence)
    even = BreakEven(volume, priced[0], priced[1], overheads.monthly_usd) if priced and volume is not None else None
    pattern, because = _recommend(evidence, share, even, has_price=priced is not None)
    late = (each for each in evidence.consumers if each.realtime and (each.at_once_share or 0) < LATE_SHARE)
    movable = sorted((each for each in late if each.at_once_share is not None), key=lambda each: -each.realtime)
    return Advice(
        evidence.workload, pattern, because, volume, items_per_month is not None, overheads, share, even,
        _lane_costs(priced, volume, share, overheads), _rule(share, even),
        criteria(evidence, share, even, overheads), movable, evidence,
    )  # fmt: skip


def projected(evidence: Evidence) -> float | None:
    """Items a month at the period's pace; None below a day of it."""
    return evidence.items / evidence.days * DAYS_PER_MONTH if evidence.days >= MIN_DAYS else None


def pattern_at(share: float, even: BreakEven, *, corrects: bool) -> Pattern:
    """The pattern that suits a known real-time share."""
    if corrects and share > 0:
        return Pattern.LAMBDA
    if share <= 0:
        return Pattern.BATCH if even.discount > 0 else Pattern.REALTIME
    return Pattern.HYBRID if share < even.share else Pattern.REALTIME


def _recommend(
    evidence: Evidence, share: Needs | None, even: BreakEven | None, *, has_price: bool
) -> tuple[Pattern | None, str]:
    routed = sum(each.routed for each in evidence.consumers)
    if share is None or routed < MIN_ITEMS:
        return None, f"only {routed} items were routed in the period; {MIN_ITEMS} are needed"
    if not has_price:
        return None, "no item was billed or estimated, so no lane has a price"
    corrects = evidence.compared >= MIN_COMPARED and evidence.corrected / evidence.compared >= WORTH_CORRECTING
    if even is None:
        if corrects and share.low > 0:
            return Pattern.LAMBDA, _REASONS[Pattern.LAMBDA]
        return None, "the items seen span less than a day, so no month can be projected from them; state a volume"
    least, most = (pattern_at(each, even, corrects=corrects) for each in (share.low, share.high))
    if least is most:
        return least, _REASONS[least]
    return None, (
        f"it is {least} if the items whose reads nobody recorded can wait, and {most} if somebody waits for them: "
        "read results with lanes.read_result or client.wait, or declare the urgency"
    )


_REASONS = {
    Pattern.REALTIME: "a second lane would cost more than it saves at this volume, price and share of items that can wait",
    Pattern.BATCH: "no item needs an answer at once and batch is cheaper",
    Pattern.HYBRID: "the items that can wait save more on the batch lane than the lane costs",
    Pattern.LAMBDA: "items need an answer at once, and the authoritative pass changes enough of these answers to be worth "
    "its price",
}  # fmt: skip


def _rule(share: Needs | None, even: BreakEven | None) -> RuleOfThumb:
    def both(limit: float) -> bool | None:
        assert share is not None
        return share.low < limit if (share.low < limit) == (share.high < limit) else None

    if share is None:
        return RuleOfThumb(None, None)
    return RuleOfThumb(both(RULE_OF_THUMB), both(even.share) if even else None)


def _lane_costs(
    priced: tuple[float, float, str, str] | None, volume: float | None, share: Needs | None, overheads: Overheads
) -> list[LaneCost]:
    if priced is None:
        return []
    realtime, discount, realtime_basis, batch_basis = priced
    waiting = volume * (1 - share.low) if volume is not None and share is not None else 0

    def spread(amount: float) -> float | None:
        return amount / waiting if waiting > 0 and isfinite(waiting) else None

    return [
        LaneCost(Lane.REALTIME, realtime, 0, 0, realtime_basis),
        LaneCost(
            Lane.BATCH, realtime * (1 - discount), spread(overheads.infra_usd), spread(overheads.engineering_usd), batch_basis
        ),
    ]


def _billed(use: LaneUse) -> float | None:
    return use.billed_usd / use.answered if use.answered >= MIN_BILLED else None
