"""The ways to serve a month of a workload, what each costs, which costs least, and what else it would be otherwise.

What a plan costs is the provider's bill, what keeping the lanes takes that it runs, and what its wrong answers lose: those that
a later, authoritative pass would correct and that it has none for. The cheapest of the plans that serve every item that needs
real-time is never dearer than staying as it is, where that serves them too: what each costs is linear in the share of the
items that real-time answers, so that nothing between the ends is cheaper than both (the property is a test).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from lanes.advice.breakeven import BreakEven
from lanes.advice.evidence import Evidence, ModelPrice, Pattern, RealtimeNeed
from lanes.units import count, share
from lanes.words import Mode

NEARLY = 1e-9  # shares that are this close are one


@dataclass(frozen=True)
class Corrections:
    """What the authoritative pass changes of real-time's answers, and what that is worth.

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
        """What one of them is worth: as much as it changes; None where that is not stated."""
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
        """All that it costs, what its wrong answers lose too where that is stated."""
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


def as_it_is(evidence: Evidence, even: BreakEven, corrections: Corrections) -> Plan | None:
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
