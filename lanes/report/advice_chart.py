"""The money of an advice as charts: what a month costs at a volume, with one lane and with both, and what it costs by plan."""

from decimal import Decimal
from math import isfinite

from lanes.advice.breakeven import BreakEven
from lanes.advice.evidence import Pattern
from lanes.advice.plans import Plan
from lanes.advice.recommendation import Advice
from lanes.advice.spread import Interval
from lanes.report import advice_summary as summary
from lanes.report.charts import (
    BATCH,
    FAINT,
    INK,
    NEUTRAL,
    PADDING,
    REALTIME,
    RULE,
    WIDTH,
    Bar,
    Group,
    bars,
    card,
    fit,
    nothing,
    rect,
    text,
)
from lanes.units import count, dollars, usd

PLOT = 150
LEFT, RIGHT, TOP = 84, WIDTH - PADDING - 10, 64
MOST_STRETCH = 20  # a break-even farther than this many times the volume is named, not drawn


def break_even(even: BreakEven | None, share: float | None, surely: Interval | None = None) -> str:
    """Two lines over the volume; they cross where the second lane pays, and `surely` within the shaded volumes. Without a price
    or volume, a card says so."""
    if even is None or share is None or even.items <= 0 or even.realtime_usd <= 0:
        return nothing("no break-even to draw: no monthly volume or no price is known")
    crossing = even.volume(share)
    is_near = isfinite(crossing) and crossing <= MOST_STRETCH * even.items
    most = 1.25 * max(even.items, crossing if is_near else 0)
    designs = [
        ("All real-time", REALTIME, even.realtime_month(0), even.realtime_month(most)),
        ("Both lanes", BATCH, even.hybrid_month(0, share), even.hybrid_month(most, share)),
    ]
    highest = max(end for _, _, _, end in designs)
    floor = TOP + PLOT

    def across(items: float) -> float:
        return LEFT + (RIGHT - LEFT) * items / most

    def up(cost: float) -> float:
        return floor - PLOT * cost / highest

    body = ""
    if is_near and surely is not None:
        left, right = (across(min(max(0.0, end), most)) for end in (surely.low, surely.high))
        body += rect(left, TOP, max(right - left, 1.5), PLOT, RULE)
    for cost in (0.0, highest / 2, highest):
        body += f'<line x1="{LEFT}" x2="{RIGHT}" y1="{up(cost):.1f}" y2="{up(cost):.1f}" stroke="{RULE}"/>'
        body += text(LEFT - 8, up(cost) + 4, usd(Decimal(repr(cost))), fill=FAINT, anchor="end")
    for place, (name, color, start, end) in enumerate(designs):
        body += text(PADDING + 150 * place, PADDING + 11, name, fill=color, weight=600)
        points = f"{LEFT},{up(start):.1f} {RIGHT},{up(end):.1f}"
        body += f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="2"/>'
    body += _mark(across(even.items), up(even.realtime_month(even.items)), floor, INK)
    said = f"now {count(round(even.items))} items a month"
    if is_near:
        body += _mark(across(crossing), up(even.realtime_month(crossing)), floor, BATCH)
        said += f"; pays from {count(round(crossing))}"
    elif isfinite(crossing):
        said += f"; pays from {count(round(crossing))}, far to the right"
    else:
        said += "; pays at no volume"
    body += text(
        PADDING,
        PADDING + 31,
        fit(f"USD a month over items a month: {said}", WIDTH - 2 * PADDING),
        fill=FAINT,
    )
    body += text(LEFT, floor + 18, "0", fill=FAINT)
    body += text(RIGHT, floor + 18, f"{count(round(most))} items", fill=FAINT, anchor="end")
    return card(floor + 18 + PADDING, body)


def plans(advice: Advice) -> str:
    """What is paid in a month, lanes included: as it is, and by each plan that serves what needs real-time."""

    def bar(name: str, plan: Plan, color: str) -> Bar:
        return Bar(name, plan.paid_usd, dollars(plan.paid_usd), color)

    colors = {Pattern.REALTIME: REALTIME, Pattern.BATCH: BATCH}
    now = [] if advice.now is None else [bar("as it is", advice.now, NEUTRAL)]
    by_plan = [
        bar(summary.plan_name(advice, each), each, colors.get(each.pattern, INK))
        for each in advice.plans
    ]
    return bars([Group("Paid in a month, lanes included", [*now, *by_plan])])


def _mark(x: float, y: float, floor: float, color: str) -> str:
    line = f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y:.1f}" y2="{floor:.1f}" stroke="{color}" stroke-dasharray="3 3"/>'
    return line + f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{color}"/>'
