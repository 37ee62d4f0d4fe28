"""Plans to serve a month of a workload: the cost of each, the cheapest, and the volume from which a hybrid pays off.

A plan's cost is the provider's bill, the overhead of the lanes that it uses, and the loss from wrong answers: those that a
later, authoritative pass would correct, if the plan has no such pass. Of the plans that serve every item that needs real-time,
the cheapest never costs more than the present plan, if that also serves them. The cost is linear in the share of items that
real-time answers, so no share between the ends is cheaper than both ends (the property is a test).

All amounts are US dollars; `share` is the part of the items, 0 to 1, that needs real-time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf

from lanes.advice.evidence import Evidence, ModelPrice, Pattern, RealtimeNeed
from lanes.units import count, share
from lanes.words import Mode

RULE_OF_THUMB = 0.2  # "under 20 % of the items need real-time: build the batch lane"
NEARLY = 1e-9  # shares that differ by at most this are equal


@dataclass(frozen=True)
class BreakEven:
    """One month of a workload: `items` at `realtime_usd` each; batch is cheaper by `discount`; its lane costs `fixed_usd`.

    A discount of 0 or below means that batch saves nothing. `realtime_fixed_usd` is the fixed cost of the real-time lane.
    """

    items: float
    realtime_usd: float
    discount: float
    fixed_usd: float
    realtime_fixed_usd: float = 0

    @property
    def batch_usd(self) -> float:
        """The provider's bill for an item on the batch lane."""
        return self.realtime_usd * (1 - self.discount)

    @property
    def share(self) -> float:
        """r* = 1 - F / (N c d): at this real-time share the saving exactly pays for the batch lane; -inf if it never does."""
        possible = self.items * self.realtime_usd * self.discount
        return 1 - self.fixed_usd / possible if possible > 0 else -inf

    def bill(self, items: float, share: float) -> float:
        """Return the provider's bill in US dollars for `items` items: `share` of them on real-time, the others on batch."""
        return items * self.realtime_usd * (1 - (1 - share) * self.discount)

    def volume(self, share: float) -> float:
        """Return the items a month from which a hybrid pays off at this real-time share; inf if it never does."""
        saved_per_item = self.realtime_usd * (1 - share) * self.discount
        return self.fixed_usd / saved_per_item if saved_per_item > 0 else inf

    def saving(self, share: float) -> float:
        """Return a hybrid's saving on a month's bill, (1 - r) d of it, before the cost of the batch lane."""
        return self.items * self.realtime_usd * (1 - share) * self.discount

    def net(self, share: float) -> float:
        """Return the saving less the cost of the batch lane; negative if the lane costs more than it saves."""
        return self.saving(share) - self.fixed_usd

    @property
    def batch_net(self) -> float:
        """The saving of batch alone over real-time alone, including the fixed costs; negative if batch costs more."""
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

    `rate`, 0 to 1, is the share of answers that it corrects; if too few were compared it is None, and no correction counts.
    `distance`, 0 to 1, is the share of a corrected answer's fields that changed. `whole_usd` is the worth of correcting an
    answer that is wrong as a whole. If it is None, no amount is assumed: the workload then keeps its second pass or keeps
    having none (`has_pass`), unless the pass is known to correct nothing.
    """

    rate: float | None = None
    distance: float = 1.0
    whole_usd: float | None = None
    has_pass: bool = False

    @property
    def each_usd(self) -> float | None:
        """The worth of one correction, in proportion to the changed fields; None if no worth is stated."""
        return None if self.whole_usd is None else self.whole_usd * self.distance


@dataclass(frozen=True)
class Plan:
    """A plan for one month: real-time answers `share` of the items. Amounts are US dollars."""

    pattern: Pattern
    share: float
    provider_usd: float
    lanes_usd: float  # the overhead of the lanes in use
    wrong: float  # wrong answers a month that nothing corrects, as far as is known
    wrong_usd: float | None  # the loss from these answers; None if it is not stated

    @property
    def paid_usd(self) -> float:
        """The cost of the provider and the lanes."""
        return self.provider_usd + self.lanes_usd

    def value_left(self, in_batch: float) -> float:
        """Return the share of the answers' value that is left on arrival, if `in_batch` of it is left on batch."""
        return self.share + (1 - self.share) * in_batch

    @property
    def expected_usd(self) -> float:
        """The total cost, including the loss from wrong answers if that is stated."""
        return self.paid_usd + (self.wrong_usd or 0.0)


def plan(pattern: Pattern, share: float, even: BreakEven, corrections: Corrections) -> Plan:
    """Return the plan of a pattern with this real-time share; a pattern of one lane has a share of 1 or 0."""
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
    """Return the plans that answer all items in real time that need it."""
    patterns = (
        [Pattern.REALTIME, Pattern.BATCH]
        if share <= 0
        else [Pattern.REALTIME, Pattern.HYBRID, Pattern.LAMBDA]
    )
    return [plan(each, share, even, corrections) for each in patterns]


def cheapest(plans: Sequence[Plan], corrections: Corrections) -> Plan:
    """Return the plan with the lowest expected cost; of equal ones the first, which has fewer lanes and passes.

    If the worth of a correction is not stated, the candidates are only plans with a second pass, or only plans without one,
    as the workload has it.
    """
    if corrections.whole_usd is None:
        has_pass = corrections.has_pass and corrections.rate != 0
        plans = [each for each in plans if (each.pattern is Pattern.LAMBDA) == has_pass] or plans
    return min(plans, key=lambda each: each.expected_usd)


def present_month(evidence: Evidence, even: BreakEven, corrections: Corrections) -> Plan | None:
    """Return the plan that corresponds to the first routes of the period; None if no item was routed."""
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
    """Return the additional price of each corrected answer, compared with the cheapest plan without a second pass.

    None if no plan has a second pass, or if no correction is known.
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
    """One changed assumption: the cheapest plan at the least share that needs real-time, and a note on the provider's limits.

    `holds` is False if another plan is the cheapest at the greatest share, so that no plan would be recommended.
    """

    case: str
    plan: Plan
    holds: bool
    note: str = ""


def sensitivities(
    evidence: Evidence, needs: RealtimeNeed, even: BreakEven, corrections: Corrections
) -> list[Sensitivity]:
    """Return the effect of changing each assumption by itself; another model is assumed to use the same tokens."""
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
    """Return a sentence on whether the busiest minute would fit the scarcest limit if all of it were real-time."""
    scarcest = evidence.scarcest
    if scarcest is None:
        return "no limit of the provider is known"
    takes = times * evidence.peak_share(scarcest)
    what = f"{share(takes)} of {count(scarcest.per_minute)} {scarcest.name} a minute"
    return f"the busiest minute in real-time would take {what}" + (
        "" if takes <= 1 else ": more than there is"
    )
