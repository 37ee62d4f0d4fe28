"""Advice on a whole workload: which pattern suits it, and every reason for that with its evidence.

Evidence is what was observed; `advise` is pure. What was not observed is said to be unknown, never guessed: a pattern is
recommended only when it is the same whatever the unknown part of the items turns out to be.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite

from lanes.advice.breakeven import RULE_OF_THUMB, BreakEven, Overheads
from lanes.advice.criteria import criteria
from lanes.advice.evidence import (
    LATE_SHARE,
    MIN_ITEMS,
    WORTH_CORRECTING,
    ConsumerUse,
    Criterion,
    Evidence,
    Needs,
    Pattern,
    Prices,
    needs,
    prices,
    projected,
)
from lanes.units import dollars
from lanes.words import Lane


@dataclass(frozen=True)
class LaneCost:
    """US dollars of one item on a lane, the lane's overhead included.

    Real-time's is spread over every item, because it could serve each; batch's over the items that can wait.
    """

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


def advise(evidence: Evidence, overheads: Overheads = Overheads(), *, items_per_month: float | None = None) -> Advice:  # noqa: B008
    """The advice; `items_per_month` is a volume that somebody states instead of the projected one."""
    volume = items_per_month if items_per_month is not None else projected(evidence)
    share, priced = needs(evidence), prices(evidence)
    even = _break_even(priced, volume, overheads)
    pattern, because = _recommend(evidence, share, even, overheads, has_price=priced is not None)
    late = (each for each in evidence.consumers if each.realtime and (each.at_once_share or 0) < LATE_SHARE)
    movable = sorted((each for each in late if each.at_once_share is not None), key=lambda each: -each.realtime)
    return Advice(
        evidence.workload, pattern, because, volume, items_per_month is not None, overheads, share, even,
        _lane_costs(priced, volume, share, overheads), _rule(share, even),
        criteria(evidence, share, even, overheads), movable, evidence,
    )  # fmt: skip


def pattern_at(share: float, even: BreakEven) -> Pattern:
    """The pattern that suits a known real-time share, answers being right the first time. Each lane that runs is paid."""
    if share <= 0:
        return Pattern.BATCH if even.batch_net > 0 else Pattern.REALTIME
    return Pattern.HYBRID if share < even.share else Pattern.REALTIME


def _break_even(priced: Prices | None, volume: float | None, overheads: Overheads) -> BreakEven | None:
    if priced is None or volume is None:
        return None
    fixed = overheads.monthly_usd, overheads.realtime_monthly_usd
    return BreakEven(volume, priced.realtime_usd, priced.discount, *fixed)


def _recommend(
    evidence: Evidence, share: Needs | None, even: BreakEven | None, overheads: Overheads, *, has_price: bool
) -> tuple[Pattern | None, str]:
    routed = sum(each.routed for each in evidence.consumers)
    if share is None or routed < MIN_ITEMS:
        return None, f"only {routed} items were routed in the period; {MIN_ITEMS} are needed"
    if not has_price:
        return None, "no item was billed or estimated, so no lane has a price"
    if even is None:
        return None, "the items seen span less than a day, so no month can be projected from them; state a volume"
    ends = [_with_lambda(each, even, evidence, overheads) for each in (share.low, share.high)]
    (least, because), (most, _) = ends
    if least is most:
        return least, because
    return None, (
        f"it is {least} if the items whose reads nobody recorded can wait, and {most} if somebody waits for them: "
        "read results with lanes.read_result or client.wait, or declare the urgency"
    )


def _with_lambda(share: float, even: BreakEven, evidence: Evidence, overheads: Overheads) -> tuple[Pattern, str]:
    """The pattern at that share and why; lambda where an answer that the second pass corrects is worth its price."""
    without = pattern_at(share, even)
    rate = evidence.corrected_share
    if share <= 0 or rate is None or rate < WORTH_CORRECTING:
        return without, _REASONS[without]
    price, worth = dollars(even.correction_usd(share, rate)), dollars(overheads.correction_usd)
    if even.correction_usd(share, rate) <= overheads.correction_usd:
        return Pattern.LAMBDA, f"{_REASONS[Pattern.LAMBDA]}: each costs {price} more and is worth {worth}"
    return without, f"{_REASONS[without]}; a corrected answer would cost {price} more and is worth {worth}"


_REASONS = {
    Pattern.REALTIME: "a batch lane would cost more than it saves at this volume, price and share of items that can wait",
    Pattern.BATCH: "no item needs an answer at once, and batch saves more than its lane costs",
    Pattern.HYBRID: "the items that can wait save more on the batch lane than the lane costs",
    Pattern.LAMBDA: "items need an answer at once, and the authoritative pass corrects enough of these answers",
}


def _rule(share: Needs | None, even: BreakEven | None) -> RuleOfThumb:
    def both(limit: float) -> bool | None:
        assert share is not None
        return share.low < limit if (share.low < limit) == (share.high < limit) else None

    if share is None:
        return RuleOfThumb(None, None)
    return RuleOfThumb(both(RULE_OF_THUMB), both(even.share) if even else None)


def _lane_costs(priced: Prices | None, volume: float | None, share: Needs | None, overheads: Overheads) -> list[LaneCost]:
    if priced is None:
        return []
    every = volume or 0
    waiting = volume * (1 - share.low) if volume is not None and share is not None else 0

    def spread(amount: float, over: float) -> float | None:
        return amount / over if over > 0 and isfinite(over) else None

    return [
        LaneCost(
            Lane.REALTIME, priced.realtime_usd, spread(overheads.realtime_infra_usd, every),
            spread(overheads.realtime_engineering_usd, every), priced.realtime_basis,
        ),
        LaneCost(
            Lane.BATCH, priced.realtime_usd * (1 - priced.discount), spread(overheads.infra_usd, waiting),
            spread(overheads.engineering_usd, waiting), priced.batch_basis,
        ),
    ]  # fmt: skip
