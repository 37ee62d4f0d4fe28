"""What the advice would be if something were otherwise: twice the volume, another batch discount, another model."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from lanes.advice.breakeven import BreakEven
from lanes.advice.evidence import Evidence, ModelPrice, RealtimeNeed
from lanes.advice.plans import Corrections, Plan, cheapest, possible
from lanes.units import count, share

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
