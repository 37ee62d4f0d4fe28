"""Advice on a whole workload: the pattern that suits it, and every reason for it with its evidence.

Evidence is what was observed; `advise` is a pure function. Anything that was not observed is reported as unknown, never
guessed: a pattern is recommended only if it is the same whatever the unknown part of the items turns out to be.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite

from lanes.advice.criteria import criteria
from lanes.advice.evidence import (
    LATE_SHARE,
    MIN_ITEMS,
    RECORDING,
    ConsumerDecay,
    ConsumerUse,
    Criterion,
    Evidence,
    Pattern,
    Prices,
    RealtimeNeed,
    ValueDecay,
    decay,
    list_decays,
    needs,
    prices,
    project_items,
)
from lanes.advice.plans import (
    RULE_OF_THUMB,
    BreakEven,
    Corrections,
    Plan,
    Sensitivity,
    cheapest,
    correction_price_usd,
    possible,
    present_month,
    sensitivities,
    serves,
)
from lanes.money.overhead import Overheads
from lanes.units import dollars, share
from lanes.words import Lane, Mode

UNSTATED = Overheads()  # the defaults for a workload without stated overheads


@dataclass(frozen=True)
class LaneCost:
    """The cost of one item on a lane in US dollars, including the lane's overhead.

    The overhead of real-time is spread over all items, because it could serve each of them; that of batch over the items that
    can wait.
    """

    lane: Lane
    api_usd: float
    infra_usd: float | None
    engineering_usd: float | None
    basis: str  # billed or estimated

    @property
    def total_usd(self) -> float | None:
        """The whole cost; None if no item would carry the overhead."""
        if self.infra_usd is None or self.engineering_usd is None:
            return None
        return self.api_usd + self.infra_usd + self.engineering_usd


@dataclass(frozen=True)
class RuleOfThumb:
    """The 20 % rule and the computed break-even; None if unknown items or a missing price leave the result open."""

    says_hybrid: bool | None
    computed_hybrid: bool | None

    @property
    def agrees(self) -> bool | None:
        """Whether the rule and the break-even agree."""
        if self.says_hybrid is None or self.computed_hybrid is None:
            return None
        return self.says_hybrid == self.computed_hybrid


@dataclass(frozen=True)
class Advice:
    """The recommendation, and everything that it is based on. Amounts are US dollars, per item or per month."""

    workload: str
    pattern: Pattern | None  # None if inconclusive
    because: str
    items_per_month: float | None
    is_volume_stated: bool
    overheads: Overheads
    corrections: Corrections
    needs: RealtimeNeed | None
    break_even: BreakEven | None
    against: str = ""  # the recommended month compared with the current one
    now: Plan | None = None  # a month with the current routing
    plan: Plan | None = None  # the recommended plan
    plans: Sequence[Plan] = ()  # the candidates
    lanes: Sequence[LaneCost] = ()
    rule: RuleOfThumb = RuleOfThumb(None, None)
    criteria: Sequence[Criterion] = ()
    movable: Sequence[ConsumerUse] = ()
    decay: ValueDecay | None = None  # of all consumers' answers; None if there are too few reads
    decays: Sequence[ConsumerDecay] = ()
    sensitivities: Sequence[Sensitivity] = ()
    evidence: Evidence | None = field(default=None, repr=False)

    @property
    def value_left_in_batch(self) -> float | None:
        """The share of an answer's value left when a batch is back with sufficient probability; None if reads are too few."""
        if self.decay is None or self.evidence is None:
            return None
        return self.decay.compute_value_left(self.evidence.batch_expected_s)


@dataclass(frozen=True)
class Choice:
    """The recommended pattern with its reasons; without a pattern, the reasons why none is recommended."""

    because: str
    plan: Plan | None = None
    plans: Sequence[Plan] = ()


def advise(
    evidence: Evidence,
    overheads: Overheads = UNSTATED,
    *,
    items_per_month: float | None = None,
    correction_usd: float | None = None,
) -> Advice:
    """Return the advice on a workload.

    `items_per_month` is a stated volume that replaces the projected one. `correction_usd` states the worth of correcting an
    answer that is wrong as a whole; without it no such amount is counted or shown.

    The expected cost of the recommended plan, including the lanes and the loss from wrong answers, is never higher than that
    of the current routing, unless more items need real-time than get it; then `against` states this.
    """
    volume = items_per_month if items_per_month is not None else project_items(evidence)
    needed, priced = needs(evidence), prices(evidence)
    distance = 1.0 if evidence.distance is None else evidence.distance
    corrections = Corrections(
        evidence.corrected_share, distance, correction_usd, has_pass=evidence.mode is Mode.LAMBDA
    )
    even = _break_even(priced, volume, overheads)
    choice = _choice(evidence, needed, even, corrections, has_price=priced is not None)
    now = (
        present_month(evidence, even, corrections)
        if even is not None and choice.plan is not None
        else None
    )
    late = (each for each in evidence.consumers if each.at_once_bounds.high < LATE_SHARE)
    movable = sorted((each for each in late if each.realtime), key=lambda each: -each.realtime)
    return Advice(
        evidence.workload,
        choice.plan.pattern if choice.plan else None,
        choice.because,
        volume,
        items_per_month is not None,
        overheads,
        corrections,
        needed,
        even,
        against=_against(choice.plan, now, needed) if choice.plan and now and needed else "",
        now=now,
        plan=choice.plan,
        plans=choice.plans,
        lanes=_lane_costs(priced, volume, needed, overheads),
        rule=_rule(needed, even),
        criteria=criteria(evidence, needed, even, corrections),
        movable=movable,
        decay=decay(evidence.consumers),
        decays=list_decays(evidence.consumers),
        sensitivities=sensitivities(evidence, needed, even, corrections)
        if choice.plan and even and needed
        else (),
        evidence=evidence,
    )


def _break_even(
    priced: Prices | None, volume: float | None, overheads: Overheads
) -> BreakEven | None:
    if priced is None or volume is None:
        return None
    fixed = overheads.monthly_usd(Lane.BATCH), overheads.monthly_usd(Lane.REALTIME)
    return BreakEven(volume, priced.realtime_usd, priced.discount, *fixed)


def _choice(
    evidence: Evidence,
    needed: RealtimeNeed | None,
    even: BreakEven | None,
    corrections: Corrections,
    *,
    has_price: bool,
) -> Choice:
    routed = sum(each.routed for each in evidence.consumers)
    if needed is None or routed < MIN_ITEMS:
        return Choice(f"only {routed} items were routed in the period; {MIN_ITEMS} are needed")
    if not has_price:
        return Choice(
            f"no item was billed or estimated by version {evidence.version} in force, so no lane has a price"
        )
    if even is None:
        return Choice(
            "the items seen span less than a day, so no month can be projected from them; state a volume"
        )
    plans = possible(needed.low, even, corrections)
    least, most = (
        cheapest(each, corrections) for each in (plans, possible(needed.high, even, corrections))
    )
    if least.pattern is most.pattern:
        return Choice(_reason(evidence, least, plans, corrections), least, plans)
    return Choice(
        f"it is {least.pattern} if the items without recorded reads can wait, and {most.pattern} if a reader waits for "
        f"them: take results by {RECORDING}, or declare the urgency"
    )


def _reason(evidence: Evidence, plan: Plan, plans: Sequence[Plan], corrections: Corrections) -> str:
    """Explain the choice, with the cost of the second pass if it is known."""
    sentence, price = _REASONS[plan.pattern], correction_price_usd(plans)
    if corrections.rate == 0 and evidence.mode is Mode.LAMBDA:
        return f"{sentence}; the second pass corrected nothing and is not worth its price"
    if price is None:
        return sentence
    if corrections.each_usd is None:
        if plan.pattern is Pattern.LAMBDA:
            sentence = (
                "items need an answer at once, and the workload asks for an authoritative pass"
            )
        return f"{sentence}; a corrected answer costs {dollars(price)} more, and what one is worth is not stated"
    cost, worth = dollars(price), dollars(corrections.each_usd)
    if plan.pattern is Pattern.LAMBDA:
        return f"{sentence}: each costs {cost} more and is worth {worth}"
    sentence += f"; a corrected answer would cost {cost} more and is worth {worth}"
    return sentence + (
        ": the second pass is not worth its price" if evidence.mode is Mode.LAMBDA else ""
    )


def _against(plan: Plan, now: Plan, needed: RealtimeNeed) -> str:
    """Compare the recommended month with the current one, in a sentence."""
    month = (
        f"a month of it ({_describe_pattern(plan)}) costs {dollars(plan.paid_usd)}, lanes included"
    )
    stays = f"as it is ({_describe_pattern(now)}) {dollars(now.paid_usd)}"
    if not serves(now, needed.low):
        need = f"{share(needed.low)} of the items need real-time and {share(now.share)} have it"
        dearer = plan.expected_usd > now.expected_usd
        return f"{month}, {stays}; {need}, which {'demands the higher cost' if dearer else 'costs no more'}"
    if plan.paid_usd > now.paid_usd and now.wrong_usd is not None and plan.wrong_usd is not None:
        return (
            f"{month}, {stays}; it costs {dollars(plan.paid_usd - now.paid_usd)} more and corrects answers worth "
            f"{dollars(now.wrong_usd - plan.wrong_usd)}"
        )
    return f"{month}, {stays}"


def _describe_pattern(plan: Plan) -> str:
    alone = plan.pattern in (Pattern.REALTIME, Pattern.BATCH)
    return f"{plan.pattern} alone" if alone else f"{plan.pattern}, {share(plan.share)} in real-time"


_REASONS = {
    Pattern.REALTIME: "a batch lane would cost more than it saves at this volume, price and share of items that can wait",
    Pattern.BATCH: "no item needs an answer at once, and batch saves more than its lane costs",
    Pattern.HYBRID: "the items that can wait save more on the batch lane than the lane costs",
    Pattern.LAMBDA: "items need an answer at once, and the authoritative pass corrects enough of these answers",
}


def _rule(needed: RealtimeNeed | None, even: BreakEven | None) -> RuleOfThumb:
    def both(limit: float) -> bool | None:
        assert needed is not None
        return needed.low < limit if (needed.low < limit) == (needed.high < limit) else None

    if needed is None:
        return RuleOfThumb(None, None)
    return RuleOfThumb(both(RULE_OF_THUMB), both(even.share) if even else None)


def _lane_costs(
    priced: Prices | None, volume: float | None, needed: RealtimeNeed | None, overheads: Overheads
) -> list[LaneCost]:
    if priced is None:
        return []
    waiting = volume * (1 - needed.low) if volume is not None and needed is not None else 0
    of = {
        Lane.REALTIME: (priced.realtime_usd, volume or 0, priced.realtime_basis),
        Lane.BATCH: (priced.realtime_usd * (1 - priced.discount), waiting, priced.batch_basis),
    }

    def spread(amount: float, over: float) -> float | None:
        return amount / over if over > 0 and isfinite(over) else None

    return [
        LaneCost(
            lane,
            usd,
            spread(overheads.infra_usd(lane), over),
            spread(overheads.engineering_usd(lane), over),
            basis,
        )
        for lane, (usd, over, basis) in of.items()
    ]
