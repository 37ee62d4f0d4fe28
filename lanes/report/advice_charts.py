"""The money of an advice as charts: a month by volume and by plan, and what each part saved."""

from collections.abc import Sequence
from decimal import Decimal
from math import inf, isfinite

from lanes.advice.evidence import Pattern
from lanes.advice.plans import BreakEven, Plan
from lanes.advice.proposals import ProposalFigures
from lanes.advice.recommendation import Advice
from lanes.advice.spread import Interval
from lanes.report import charts
from lanes.report.advice_numbers import plan_name
from lanes.report.charts import (
    BATCH,
    FAINT,
    INK,
    INNER,
    NEUTRAL,
    PADDING,
    REALTIME,
    ROW,
    RULE,
    WIDTH,
)
from lanes.units import count, dollars, seconds, usd

COST = "#b91c1c"  # of a part that added to the cost
SPANS_S = (60.0, 600.0, 3_600.0, 21_600.0, 86_400.0, 259_200.0)  # until read
PLOT = 150
LEFT, RIGHT, TOP = 84, WIDTH - PADDING - 10, 64
MOST_STRETCH = 20  # a break-even farther than this many times the volume is named, not drawn


def break_even(even: BreakEven | None, share: float | None, surely: Interval | None = None) -> str:
    """Draw a month with one lane and with both over the volume; they cross where the second lane pays.

    The true crossing lies within the shaded volumes (`surely`). Without a price or volume, a card says so.
    """
    if even is None or share is None or even.items <= 0 or even.realtime_usd <= 0:
        return charts.nothing("no break-even to draw: no monthly volume or no price is known")
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
        body += charts.rect(left, TOP, max(right - left, 1.5), PLOT, RULE)
    for cost in (0.0, highest / 2, highest):
        body += f'<line x1="{LEFT}" x2="{RIGHT}" y1="{up(cost):.1f}" y2="{up(cost):.1f}" stroke="{RULE}"/>'
        amount = usd(Decimal(repr(cost)))
        body += charts.text(LEFT - 8, up(cost) + 4, amount, fill=FAINT, anchor="end")
    for place, (name, color, start, end) in enumerate(designs):
        body += charts.text(PADDING + 150 * place, PADDING + 11, name, fill=color, weight=600)
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
    said = charts.fit(f"USD a month over items a month: {said}", INNER)
    body += charts.text(PADDING, PADDING + 31, said, fill=FAINT)
    body += charts.text(LEFT, floor + 18, "0", fill=FAINT)
    body += charts.text(RIGHT, floor + 18, f"{count(round(most))} items", fill=FAINT, anchor="end")
    return charts.card(floor + 18 + PADDING, body)


def plans(advice: Advice) -> str:
    """Draw what is paid in a month, lanes included: as it is, and by each plan that serves what needs real-time."""

    def bar(name: str, plan: Plan, color: str) -> charts.Bar:
        return charts.Bar(name, plan.paid_usd, dollars(plan.paid_usd), color)

    colors = {Pattern.REALTIME: REALTIME, Pattern.BATCH: BATCH}
    shown = [] if advice.now is None else [bar("as it is", advice.now, NEUTRAL)]
    for each in advice.plans:
        shown.append(bar(plan_name(advice, each), each, colors.get(each.pattern, INK)))
    return charts.bars([charts.Group("Paid in a month, lanes included", shown)])


def delays(of: ProposalFigures) -> str:
    """Draw how many answers were read how long after they came, and which of them a batch would have come too late for."""
    ends = sorted({*SPANS_S, of.batch_s})
    bars = list[charts.Bar]()
    for start, end in zip([0.0, *ends], [*ends, inf], strict=True):
        number = sum(n for took_s, n in of.delays if start <= took_s < end)
        name = f"from {seconds(start)}" if end == inf else f"up to {seconds(end)}"
        color = REALTIME if end <= of.batch_s else BATCH
        bars.append(charts.Bar(name, number, count(number), color))
    while len(bars) > 1 and not bars[-1].value and bars[-1].color == BATCH:
        bars.pop()
    unknown = charts.Bar("unknown", of.unknown, count(of.unknown), NEUTRAL)
    back = seconds(of.batch_s)
    groups = [
        (f"Read before a batch is back ({back})", [each for each in bars if each.color != BATCH]),
        ("Read later", [each for each in bars if each.color == BATCH]),
        ("No read recorded", [unknown]),
    ]
    return charts.bars([charts.Group(name, of_it) for name, of_it in groups if of_it])


def steps(parts: Sequence[tuple[str, Decimal]]) -> str:
    """Draw a bar for the first amount, one for each part that lowered or raised it, and one for the last.

    `parts` are US dollars; the first less all between is the last.
    """
    if len(parts) < 2 or max(amount for _, amount in parts) <= 0:
        return charts.nothing("nothing was answered, so nothing was saved")
    spans = _spans([amount for _, amount in parts])
    most = max(end for _, end in spans)
    shown = [
        usd(amount) if place in (0, len(parts) - 1) else _signed(-amount)
        for place, (_, amount) in enumerate(parts)
    ]
    label_width = min(max(charts.text_width(name) for name, _ in parts), 0.45 * INNER) + 12
    room = INNER - label_width - max(charts.text_width(each) for each in shown) - 10
    left, body = PADDING + label_width, ""
    rows = zip(parts, spans, shown, strict=True)
    for place, ((name, amount), (start, end), value) in enumerate(rows):
        y = PADDING + place * ROW
        is_end = place in (0, len(parts) - 1)
        color = (INK if place == 0 else NEUTRAL) if is_end else (BATCH if amount >= 0 else COST)
        x, width = left + room * float(start / most), max(room * float((end - start) / most), 1.5)
        said = charts.fit(name, label_width - 10)
        body += charts.text(PADDING, y + 15, said, weight=600 if is_end else 0)
        body += charts.rect(x, y + 3, width, ROW - 8, color)
        body += charts.text(x + width + 8, y + 15, value, fill="" if is_end else FAINT, weight=600)
    return charts.card(len(parts) * ROW + 2 * PADDING, body)


def _mark(x: float, y: float, floor: float, color: str) -> str:
    line = f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y:.1f}" y2="{floor:.1f}" stroke="{color}" stroke-dasharray="3 3"/>'
    return line + f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{color}"/>'


def _spans(amounts: Sequence[Decimal]) -> list[tuple[Decimal, Decimal]]:
    """Return both ends of each bar: whole amounts start at zero, parts where the bar before ended."""
    spans, level = [(Decimal(0), amounts[0])], amounts[0]
    for amount in amounts[1:-1]:
        spans.append((max(Decimal(0), min(level, level - amount)), max(level, level - amount)))
        level -= amount
    return [*spans, (Decimal(0), max(Decimal(0), amounts[-1]))]


def _signed(amount: Decimal) -> str:
    return f"+{usd(amount)}" if amount > 0 else usd(amount)
