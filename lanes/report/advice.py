"""The advice on a workload for a terminal and as a Prefect Markdown artifact: recommendation, criteria, money, consumers."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import inf, isfinite
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from lanes.advice import evidence
from lanes.advice.plans import BreakEven, Plan, Sensitivity
from lanes.advice.proposals import ProposalFigures
from lanes.advice.recommendation import Advice, LaneCost
from lanes.advice.spread import Interval, Spread, spread
from lanes.report import advice_numbers as numbers
from lanes.report import charts
from lanes.report.advice_numbers import interval, plan_name
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
from lanes.report.links import REPORTS, render_links
from lanes.report.table import (
    Table,
    figure,
    label,
    phrase,
    render_legend,
    render_markdown,
    render_terminal,
)
from lanes.text import cell, plain
from lanes.units import MISSING, count, dollars, pluralize, seconds, sentence, share, usd
from lanes.words import Lane

COST = "#b91c1c"  # color of a part that increased the cost
# Bin edges of the time from answer to read.
SPANS_S = (60.0, 600.0, 3_600.0, 21_600.0, 86_400.0, 259_200.0)
PLOT = 150
LEFT, RIGHT, TOP = 84, WIDTH - PADDING - 10, 64
MOST_STRETCH = 20  # a break-even beyond this multiple of the volume is stated as text, not drawn


def break_even(even: BreakEven | None, share: float | None, surely: Interval | None = None) -> str:
    """Draw the monthly cost over the volume, real-time only and with both lanes; the lines cross at the break-even.

    The shaded band is the interval `surely`, which contains the true crossing. Without a price or volume, draw a card with the
    reason.
    """
    if even is None or share is None or even.items <= 0 or even.realtime_usd <= 0:
        return charts.draw_empty("no break-even to draw: no monthly volume or no price is known")
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
    caption = f"now {count(round(even.items))} items a month"
    if is_near:
        body += _mark(across(crossing), up(even.realtime_month(crossing)), floor, BATCH)
        caption += f"; pays from {count(round(crossing))}"
    elif isfinite(crossing):
        caption += f"; pays from {count(round(crossing))}, far to the right"
    else:
        caption += "; pays at no volume"
    caption = charts.fit(f"USD a month over items a month: {caption}", INNER)
    body += charts.text(PADDING, PADDING + 31, caption, fill=FAINT)
    body += charts.text(LEFT, floor + 18, "0", fill=FAINT)
    body += charts.text(RIGHT, floor + 18, f"{count(round(most))} items", fill=FAINT, anchor="end")
    return charts.card(floor + 18 + PADDING, body)


def plans(advice: Advice) -> str:
    """Draw the monthly cost, lanes included: the current cost, and that of each plan that meets the real-time need."""

    def bar(name: str, plan: Plan, color: str) -> charts.Bar:
        return charts.Bar(name, plan.paid_usd, dollars(plan.paid_usd), color)

    colors = {evidence.Pattern.REALTIME: REALTIME, evidence.Pattern.BATCH: BATCH}
    shown = [] if advice.now is None else [bar("as it is", advice.now, NEUTRAL)]
    for each in advice.plans:
        shown.append(bar(plan_name(advice, each), each, colors.get(each.pattern, INK)))
    return charts.bars([charts.Group("Paid in a month, lanes included", shown)])


def delays(figures: ProposalFigures) -> str:
    """Draw a histogram of the time from answer to read, and mark the reads for which a batch would have been too late."""
    ends = sorted({*SPANS_S, figures.batch_s})
    bars = list[charts.Bar]()
    for start, end in zip([0.0, *ends], [*ends, inf], strict=True):
        number = sum(n for took_s, n in figures.delays if start <= took_s < end)
        name = f"from {seconds(start)}" if end == inf else f"up to {seconds(end)}"
        color = REALTIME if end <= figures.batch_s else BATCH
        bars.append(charts.Bar(name, number, count(number), color))
    while len(bars) > 1 and not bars[-1].value and bars[-1].color == BATCH:
        bars.pop()
    unknown = charts.Bar("unknown", figures.unknown, count(figures.unknown), NEUTRAL)
    back = seconds(figures.batch_s)
    groups = [
        (f"Read before a batch is back ({back})", [each for each in bars if each.color != BATCH]),
        ("Read later", [each for each in bars if each.color == BATCH]),
        ("No read recorded", [unknown]),
    ]
    return charts.bars([charts.Group(name, of_it) for name, of_it in groups if of_it])


def steps(parts: Sequence[tuple[str, Decimal]]) -> str:
    """Draw a waterfall chart: the first amount, each part that lowered or raised it, and the last amount.

    `parts` are in US dollars; the first amount less all parts in between equals the last.
    """
    if len(parts) < 2 or max(amount for _, amount in parts) <= 0:
        return charts.draw_empty("nothing was answered, so nothing was saved")
    spans = _spans([amount for _, amount in parts])
    most = max(end for _, end in spans)
    shown = [
        usd(amount) if place in (0, len(parts) - 1) else _format_signed(-amount)
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
        label_text = charts.fit(name, label_width - 10)
        body += charts.text(PADDING, y + 15, label_text, weight=600 if is_end else 0)
        body += charts.rect(x, y + 3, width, ROW - 8, color)
        body += charts.text(x + width + 8, y + 15, value, fill="" if is_end else FAINT, weight=600)
    return charts.card(len(parts) * ROW + 2 * PADDING, body)


def _mark(x: float, y: float, floor: float, color: str) -> str:
    line = f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y:.1f}" y2="{floor:.1f}" stroke="{color}" stroke-dasharray="3 3"/>'
    return line + f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{color}"/>'


def _spans(amounts: Sequence[Decimal]) -> list[tuple[Decimal, Decimal]]:
    """Return both ends of each bar: whole amounts start at zero, each part starts where the previous bar ended."""
    spans, level = [(Decimal(0), amounts[0])], amounts[0]
    for amount in amounts[1:-1]:
        spans.append((max(Decimal(0), min(level, level - amount)), max(level, level - amount)))
        level -= amount
    return [*spans, (Decimal(0), max(Decimal(0), amounts[-1]))]


def _format_signed(amount: Decimal) -> str:
    return f"+{usd(amount)}" if amount > 0 else usd(amount)


MOST_ROWS = 20
MARKS = {
    evidence.Leaning.REALTIME: "🔵 for real-time",
    evidence.Leaning.BATCH: "🟢 for batch",
    evidence.Leaning.HYBRID: "🔵🟢 for hybrid",
    evidence.Leaning.LAMBDA: "🔵🟢 for lambda",
    evidence.Leaning.UNKNOWN: "⏳ not enough data",
}
SAVED = (
    "All parts add up to the whole. Shared tokens are estimated from instructions and schema; "
    "shadows and replays are left out."
)
MIXED = "Other versions answered in the period too, and calls cannot be split by version."
UNKNOWN = "Not enough data."
EVEN_CHART = "Cost of a month over its volume, with one lane and with both"
MOVABLE = "Move them with the playbook `realtime-to-batch`, or set their split with `set_split`."
NONE_MOVABLE = "No consumer has enough recorded reads to show that it does not read at once."
LINKS = (("Advice runs", "/v2/runs?tags=advise"), ("Rollouts", "/v2/runs?tags=rollout"), REPORTS)


@dataclass(frozen=True)
class Part:
    """A table of the advice, with its chart in the artifact (SVG and description) and the texts for no rows and below."""

    table: Table[Any]
    empty: str = UNKNOWN
    chart: tuple[str, str] | None = None
    below: str = ""


def render_page(advice: Advice) -> str:
    """Return the artifact's Markdown."""
    title, *sentences = _sentences(advice)
    parts = [f"# Advice on {cell(advice.workload)}", f"**{cell(title)}.**"]
    parts += [cell(each, most=400) for each in sentences]
    for part in _parts(advice):
        parts.append(f"## {part.table.title}")
        if part.chart:
            parts.append(charts.data_uri(*part.chart))
        if part.table.rows:
            parts += [render_markdown(part.table, most=MOST_ROWS), part.table.legend, part.below]
        else:
            parts.append(part.empty)
    return "\n\n".join(filter(None, [*parts, render_links(LINKS)])) + "\n"


def render_console(advice: Advice) -> RenderableType:
    """Return the advice for a terminal, with names as literal text that is never parsed as markup."""
    title, *sentences = _sentences(advice)
    renderables: list[RenderableType] = [Text(plain(title), style="bold")]
    renderables += [Text(plain(each, most=400)) for each in sentences]
    for part in _parts(advice):
        if part.table.rows:
            renderables += [Text(), render_terminal(part.table, below=part.table.legend)]
        elif part.empty is not UNKNOWN:
            renderables += [Text(), Text(f"{part.table.title}: {part.empty}", style="dim")]
        renderables += [Text(each, style="dim") for each in (part.below,) if each]
    return Group(*renderables)


def _sentences(advice: Advice) -> list[str]:
    """Return the recommendation, its reason, the comparison with the current month, and the version that the figures cover."""
    against = [sentence(advice.against)] if advice.against else []
    return [
        numbers.headline(advice),
        sentence(advice.because),
        *against,
        *_describe_version(advice),
    ]


def _describe_version(advice: Advice) -> list[str]:
    seen = advice.evidence
    if seen is None or not seen.is_mixed:
        return []
    own = seen.realtime.answered + seen.batch.answered
    note = (
        f"About version {seen.version}, which is in force: {pluralize(own, 'answer')} of it. "
        f"{pluralize(seen.of_others, 'answer')} of other versions are left out of costs, tokens and corrections, "
        "and the savings cannot be split by version."
    )
    if any(each.basis == "estimated" for each in advice.lanes):
        note += f" Prices are estimates: a lane needs {evidence.MIN_BILLED} billed answers of this version."
    return [note]


def _parts(advice: Advice) -> list[Part]:
    intervals = spread(advice)
    share = advice.needs.low if advice.needs else None
    return [
        Part(_criteria(advice.criteria)),
        Part(_lanes(advice, intervals), "No item was billed or estimated in the period."),
        Part(
            _figures("Break-even", numbers.break_even(advice, intervals)),
            chart=(break_even(advice.break_even, share, intervals.volume), EVEN_CHART),
            below=f"{numbers.uncertainty(intervals)} {numbers.describe_assumed_costs(advice)}".strip(),
        ),
        _plans(advice),
        _savings(advice),
        Part(_cases(advice.sensitivities)),
        Part(_decays(advice), below=_half_life(advice)),
        Part(_consumers(advice.movable), NONE_MOVABLE, below=MOVABLE if advice.movable else ""),
    ]


def _criteria(found: Sequence[evidence.Criterion]) -> Table[evidence.Criterion]:
    return Table(
        "Criteria",
        found,
        label("Criterion", lambda of: of.name),
        label("Evidence", lambda of: of.evidence),
        phrase("Speaks", "for which pattern", lambda of: MARKS[of.leaning]),
    )


def _lanes(advice: Advice, intervals: Spread) -> Table[LaneCost]:
    totals = {Lane.REALTIME: intervals.realtime_total_usd, Lane.BATCH: intervals.batch_total_usd}
    fixed = "the lane's monthly cost over its monthly items"
    return Table(
        "Cost of an item",
        advice.lanes,
        label("Lane", lambda of: numbers.PATTERNS[of.lane].removesuffix(" only")),
        figure("API", "the provider's bill, US dollars", lambda of: dollars(of.api_usd)),
        figure("Infrastructure", fixed, lambda of: dollars(of.infra_usd)),
        figure("Engineering", fixed, lambda of: dollars(of.engineering_usd)),
        figure("Total", "all three", lambda of: dollars(of.total_usd)),
        figure(f"Total with {numbers.SURE}", "its interval", lambda of: interval(totals[of.lane])),
        phrase("API price", "billed, or estimated where too little was", lambda of: of.basis),
    )


def _figures(title: str, figures: Sequence[numbers.Figure]) -> Table[numbers.Figure]:
    return Table(
        title,
        figures,
        label("What", lambda of: of.name),
        label("Number", lambda of: of.value),
        note=render_legend({each.name: each.meaning for each in figures}),
    )


def _plans(advice: Advice) -> Part:
    now = advice.now
    rows = [] if now is None else [(f"as it is: {numbers.PATTERNS[now.pattern]}", now)]
    rows += [(numbers.plan_name(advice, each), each) for each in advice.plans if now is not None]
    is_known = advice.corrections.rate is not None

    def wrong(of: tuple[str, Plan]) -> str:
        return dollars(of[1].wrong_usd) if is_known else MISSING

    loss_column = figure("Lost by wrong answers", "worth of missing corrections", wrong)
    in_batch = advice.value_left_in_batch

    def value_left(of: tuple[str, Plan]) -> str:
        return MISSING if in_batch is None else share(of[1].value_left(in_batch))

    value_column = figure("Value left", "of an answer when it comes, by recorded reads", value_left)
    table = Table(
        "A month, by plan",
        rows,
        label("A month", lambda of: of[0]),
        figure("In real-time", "of the items", lambda of: share(of[1].share)),
        figure("Provider", "monthly bill in USD", lambda of: dollars(of[1].provider_usd)),
        figure("Lanes", "their monthly upkeep", lambda of: dollars(of[1].lanes_usd)),
        figure("Paid", "both", lambda of: dollars(of[1].paid_usd)),
        *([loss_column] if advice.corrections.each_usd is not None else []),
        *([value_column] if in_batch is not None else []),
    )
    chart = plans(advice), "What is paid in a month, as it is and by plan"
    return Part(table, chart=chart if rows else None)


def _savings(advice: Advice) -> Part:
    rows = numbers.saving_rows(advice)
    table = Table(
        "What was saved",
        rows,
        label("Counted in this order", lambda of: of[0]),
        figure("USD", "in the period, each part after those above it", lambda of: of[1]),
        figure("Of the first", "its share of the first line", lambda of: of[2]),
        note=SAVED,
    )
    if not rows:
        is_mixed = advice.evidence is not None and advice.evidence.is_mixed
        return Part(table, MIXED if is_mixed else UNKNOWN)
    drawn = steps(numbers.saving_parts(advice))
    return Part(table, chart=(drawn, "What each part saved of the full cost"))


def _cases(found: Sequence[Sensitivity]) -> Table[Sensitivity]:
    def describe_recommendation(of: Sensitivity) -> str:
        return numbers.PATTERNS[of.plan.pattern] if of.holds else "inconclusive"

    return Table(
        "If something were otherwise",
        found,
        label("If", lambda of: of.case),
        phrase("Recommended", "the cheapest plan then", describe_recommendation),
        figure("Paid a month", "provider and lanes", lambda of: dollars(of.plan.paid_usd)),
        label("Note", lambda of: of.note),
    )


def _decays(advice: Advice) -> Table[evidence.ConsumerDecay]:
    batch_s = advice.evidence.batch_expected_s if advice.evidence else 0.0
    return Table(
        "How fast answers lose their value",
        advice.decays[:MOST_ROWS],
        label("Consumer", lambda of: of.consumer or "unnamed"),
        figure("Reads", "recorded, of real-time answers", lambda of: f"{of.decay.reads:,}"),
        figure("Unknown", "no read recorded", lambda of: f"{of.decay.unknown:,}"),
        figure("Half-life", "half are read by then", lambda of: seconds(of.decay.half_life_s)),
        figure("At least", "its interval, if the unknown were read at once", _low),
        figure("At most", "its interval, if the unknown were never read", _high),
        figure(
            "Left",
            f"of the value when a batch is back ({seconds(batch_s)})",
            lambda of: share(of.decay.compute_value_left(batch_s)),
        ),
    )


def _low(of: evidence.ConsumerDecay) -> str:
    return seconds(of.decay.low_s)


def _high(of: evidence.ConsumerDecay) -> str:
    return seconds(of.decay.high_s)


def _half_life(advice: Advice) -> str:
    """Return the `half_life_s` to write into the definition, so that Lanes weighs waiting by these reads."""
    decay = advice.decay
    if decay is None:
        return ""
    written = f"half_life_s: {min(max(1, round(decay.half_life_s)), evidence.LONGEST_S)}"
    return (
        f"For all consumers together: {written}, with {decay.interval_text}. "
        "Lanes weighs waiting by it once value_usd is stated."
    )


def _consumers(movable: Sequence[evidence.ConsumerUse]) -> Table[evidence.ConsumerUse]:
    return Table(
        "Consumers who do not read at once",
        movable,
        label("Consumer", lambda of: of.consumer or "unnamed"),
        figure("Reads", "recorded, of real-time answers", lambda of: f"{of.reads:,}"),
        figure("Median until read", "from answered", lambda of: seconds(of.median_s)),
        figure("Within 60 s", "of the reads", lambda of: share(of.at_once_share)),
        figure("Unknown", "no read recorded after a minute", lambda of: f"{of.unknown:,}"),
        figure("Items on real-time", "routed there", lambda of: f"{of.realtime:,}"),
    )
