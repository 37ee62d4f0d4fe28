"""Ways to serve a month of a workload: what each costs, which costs least, and from which volume on a hybrid pays off.

A plan costs the provider's bill, what the lanes that it runs cost to keep, and what its wrong answers lose: those that a later,
authoritative pass would correct, if the plan has no such pass. Of the plans that serve every item that needs real-time, the
cheapest never costs more than the present plan, if that serves them too: cost is linear in the share of the items that
real-time answers, so nothing between the ends is cheaper than both (the property is a test).

All amounts are US dollars; `share` is the part of the items, 0 to 1, that needs real-time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf

from lanes.advice.evidence import Evidence, ModelPrice, Pattern, RealtimeNeed
from lanes.units import count, share
from lanes.words import Mode

RULE_OF_THUMB = 0.2  # "under 20 % of the items need real-time: build the batch lane"
NEARLY = 1e-9  # shares that are this close are one


@dataclass(frozen=True)
class BreakEven:
    """One month of a workload: `items` at `realtime_usd` each; batch is cheaper by `discount`; its lane costs `fixed_usd`.

    A discount of 0 or below means that batch saves nothing. `realtime_fixed_usd` is what the real-time lane costs.
    """

    items: float
    realtime_usd: float
    discount: float
    fixed_usd: float
    realtime_fixed_usd: float = 0

    @property
    def batch_usd(self) -> float:
        """An item on the batch lane, the provider's bill alone."""
        return self.realtime_usd * (1 - self.discount)

    @property
    def share(self) -> float:
        """r* = 1 - F / (N c d): at this real-time share the saving pays exactly for the lane. -inf: it never does."""
        possible = self.items * self.realtime_usd * self.discount
        return 1 - self.fixed_usd / possible if possible > 0 else -inf

    def bill(self, items: float, share: float) -> float:
        """Return the provider's bill in US dollars for `items` items: `share` of them on real-time, the others on batch."""
        return items * self.realtime_usd * (1 - (1 - share) * self.discount)

    def volume(self, share: float) -> float:
        """Return the items a month from which a hybrid pays at that real-time share; inf if it never does."""
        saved_per_item = self.realtime_usd * (1 - share) * self.discount
        return self.fixed_usd / saved_per_item if saved_per_item > 0 else inf

    def saving(self, share: float) -> float:
        """Return what a hybrid takes off a month's bill, (1 - r) d of it, before the cost of the lane."""
        return self.items * self.realtime_usd * (1 - share) * self.discount

    def net(self, share: float) -> float:
        """Return the saving less the cost of the lane; negative if the lane costs more than it saves."""
        return self.saving(share) - self.fixed_usd

    @property
    def batch_net(self) -> float:
        """The savings of batch alone against real-time alone, each lane paid; negative: it costs more."""
        return self.net(0) + self.realtime_fixed_usd

    def realtime_month(self, items: float) -> float:
        """Return the monthly cost in US dollars of `items` items on real-time alone, including the lane's fixed cost."""
        return self.bill(items, 1) + self.realtime_fixed_usd

    def hybrid_month(self, items: float, share: float) -> float:
        """Return the monthly cost in US dollars of `items` items on both lanes, including the fixed costs of both."""
        return self.bill(items, share) + self.realtime_fixed_usd + self.fixed_usd


@dataclass(frozen=True)
class Corrections:
    """The corrections that the authoritative pass makes to real-time answers, and their worth.

    `rate` of them, 0 to 1; None: too few were compared to say, and nothing is counted. `distance`, 0 to 1, is the share of the
    fields of a corrected answer that changed. `whole_usd` is what it is worth to correct an answer that is wrong as a whole;
    None: it is not stated, and no amount is made up: whether there is a second pass then stays as it is (`has_pass`), unless it
    is known to correct nothing.
    """

    rate: float | None = None
    distance: float = 1.0
    whole_usd: float | None = None
    has_pass: bool = False

    @property
    def each_usd(self) -> float | None:
        """The worth of one correction, by how much it changes; None where no worth is stated."""
        return None if self.whole_usd is None else self.whole_usd * self.distance


@dataclass(frozen=True)
class Plan:
    """One month as it would be served: `share` of the items is answered in real-time. Amounts are US dollars."""

    pattern: Pattern
    share: float
    provider_usd: float
    lanes_usd: float  # what keeping the lanes takes that it runs
    wrong: float  # answers a month that nothing corrects, as far as that is known
    wrong_usd: float | None  # and what they lose; None: not stated

    @property
    def paid_usd(self) -> float:
        """The provider and the lanes."""
        return self.provider_usd + self.lanes_usd

    def value_left(self, in_batch: float) -> float:
        """Return the share of the answers' value that is left when they come, if `in_batch` of it is left on batch."""
        return self.share + (1 - self.share) * in_batch

    @property
    def expected_usd(self) -> float:
        """The whole cost, with the loss by its wrong answers where that is stated."""
        return self.paid_usd + (self.wrong_usd or 0.0)


def plan(pattern: Pattern, share: float, even: BreakEven, corrections: Corrections) -> Plan:
    """Return the month of a pattern with that real-time share; a single lane gets all items or none."""
    share = {Pattern.REALTIME: 1.0, Pattern.BATCH: 0.0}.get(pattern, share)
    provider = even.bill(even.items, share)
    if pattern is Pattern.LAMBDA:
        provider += even.items * share * even.batch_usd
    lanes = 0.0 if pattern is Pattern.BATCH else even.realtime_fixed_usd
    lanes += 0.0 if pattern is Pattern.REALTIME else even.fixed_usd
    wrong = 0.0 if pattern is Pattern.LAMBDA else even.items * share * (corrections.rate or 0)
    return Plan(
        pattern,
        share,
        provider,
        lanes,
        wrong,
        None if corrections.each_usd is None else wrong * corrections.each_usd,
    )


def possible(share: float, even: BreakEven, corrections: Corrections) -> list[Plan]:
    """Return the plans that give real-time to all items that need it."""
    patterns = (
        [Pattern.REALTIME, Pattern.BATCH]
        if share <= 0
        else [Pattern.REALTIME, Pattern.HYBRID, Pattern.LAMBDA]
    )
    return [plan(each, share, even, corrections) for each in patterns]


def cheapest(plans: Sequence[Plan], corrections: Corrections) -> Plan:
    """Return the plan that is expected to cost least; of equal ones the first, which has fewer lanes and passes.

    Where the worth of a correction is not stated, only plans with a second pass, or only plans without one, are held against
    each other: as the workload has it.
    """
    if corrections.whole_usd is None:
        has_pass = corrections.has_pass and corrections.rate != 0
        plans = [each for each in plans if (each.pattern is Pattern.LAMBDA) == has_pass] or plans
    return min(plans, key=lambda each: each.expected_usd)


def present_month(evidence: Evidence, even: BreakEven, corrections: Corrections) -> Plan | None:
    """Return the month that the first routes of the period amount to; None if nothing was routed."""
    routed = sum(each.routed for each in evidence.consumers)
    if not routed:
        return None
    share = sum(each.realtime for each in evidence.consumers) / routed
    if share <= 0:
        pattern = Pattern.BATCH
    elif evidence.mode is Mode.LAMBDA:
        pattern = Pattern.LAMBDA
    else:
        pattern = Pattern.HYBRID if share < 1 else Pattern.REALTIME
    return plan(pattern, share, even, corrections)


def serves(now: Plan, share: float) -> bool:
    """Return whether at least as many items get real-time as need it."""
    return now.share >= share - NEARLY


def correction_price_usd(plans: Sequence[Plan]) -> float | None:
    """Return the price of a corrected answer, over the cheapest plan without a second pass.

    None: none of the plans has such a pass, or nothing is known to be corrected.
    """
    with_pass = [each for each in plans if each.pattern is Pattern.LAMBDA]
    if not with_pass:
        return None
    without = min(
        (each for each in plans if each.pattern is not Pattern.LAMBDA),
        key=lambda each: each.expected_usd,
    )
    return (with_pass[0].paid_usd - without.paid_usd) / without.wrong if without.wrong > 0 else None


DISCOUNTS = (0.0, 0.25, 0.5)


@dataclass(frozen=True)
class Sensitivity:
    """One change: the cheapest plan then, at the least share that needs real-time, and what the provider's limits say to it.

    `holds` is False where it is another plan at the greatest share, so that nothing would be recommended.
    """

    case: str
    plan: Plan
    holds: bool
    note: str = ""


def sensitivities(
    evidence: Evidence, needs: RealtimeNeed, even: BreakEven, corrections: Corrections
) -> list[Sensitivity]:
    """Change each assumption by itself; another model is assumed to use the same tokens."""
    found: list[Sensitivity] = []
    for case, changed, note in _cases(evidence, even):
        least, most = (
            cheapest(possible(each, changed, corrections), corrections)
            for each in (needs.low, needs.high)
        )
        found.append(Sensitivity(case, least, least.pattern is most.pattern, note))
    return found


def _cases(evidence: Evidence, even: BreakEven) -> Iterator[tuple[str, BreakEven, str]]:
    yield "twice the volume", replace(even, items=2 * even.items), _fits(evidence, 2)
    full_usd = (
        even.batch_usd / (1 - evidence.provider_discount)
        if evidence.provider_discount < 1
        else None
    )
    if full_usd is not None and even.realtime_usd > 0:
        for discount in DISCOUNTS:
            if abs(discount - evidence.provider_discount) > 0.005:
                cheaper = 1 - full_usd * (1 - discount) / even.realtime_usd
                yield f"a batch discount of {share(discount)}", replace(even, discount=cheaper), ""
    for model in evidence.models:
        yield f"{model.name} on both lanes", _with(model, even), ""


def _with(model: ModelPrice, even: BreakEven) -> BreakEven:
    realtime_usd = even.realtime_usd * model.realtime_factor
    batch_usd = even.batch_usd * model.batch_factor
    return replace(
        even,
        realtime_usd=realtime_usd,
        discount=1 - batch_usd / realtime_usd if realtime_usd > 0 else 0.0,
    )


def _fits(evidence: Evidence, times: float) -> str:
    """Say whether the busiest minute would fit the scarcest limit if all of it were real-time."""
    scarcest = evidence.scarcest
    if scarcest is None:
        return "no limit of the provider is known"
    takes = times * evidence.peak_share(scarcest)
    what = f"{share(takes)} of {count(scarcest.per_minute)} {scarcest.name} a minute"
    return f"the busiest minute in real-time would take {what}" + (
        "" if takes <= 1 else ": more than there is"
    )
