"""The advice on a workload for a terminal and as a Prefect Markdown artifact: recommendation, criteria, money, consumers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from lanes.advice.evidence import (
    LONGEST_S,
    MIN_BILLED,
    ConsumerDecay,
    ConsumerUse,
    Criterion,
    Leaning,
)
from lanes.advice.plans import Plan, Sensitivity
from lanes.advice.recommendation import Advice, LaneCost
from lanes.advice.spread import Spread, spread
from lanes.report import advice_charts, charts
from lanes.report import advice_numbers as numbers
from lanes.report.advice_numbers import interval
from lanes.report.links import REPORTS, linked
from lanes.report.table import Table, explained, figure, in_markdown, in_terminal, label, phrase
from lanes.text import cell, plain
from lanes.units import MISSING, counted, dollars, seconds, sentence, share
from lanes.words import Lane

MOST_ROWS = 20
MARKS = {
    Leaning.REALTIME: "🔵 for real-time",
    Leaning.BATCH: "🟢 for batch",
    Leaning.HYBRID: "🔵🟢 for hybrid",
    Leaning.LAMBDA: "🔵🟢 for lambda",
    Leaning.UNKNOWN: "⏳ not enough data",
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
    """A table of the advice, its chart (SVG and description) in the artifact, and what is said without rows."""

    table: Table[Any]
    empty: str = UNKNOWN
    chart: tuple[str, str] | None = None
    below: str = ""


def in_page(advice: Advice) -> str:
    """Return the whole artifact."""
    title, *sentences = _sentences(advice)
    parts = [f"# Advice on {cell(advice.workload)}", f"**{cell(title)}.**"]
    parts += [cell(each, most=400) for each in sentences]
    for part in _parts(advice):
        parts.append(f"## {part.table.title}")
        if part.chart:
            parts.append(charts.data_uri(*part.chart))
        if part.table.rows:
            parts += [in_markdown(part.table, most=MOST_ROWS), part.table.legend, part.below]
        else:
            parts.append(part.empty)
    return "\n\n".join(filter(None, [*parts, linked(LINKS)])) + "\n"


def in_console(advice: Advice) -> RenderableType:
    """Return the advice for a terminal; names are shown as they are, never read as markup."""
    title, *sentences = _sentences(advice)
    shown: list[RenderableType] = [Text(plain(title), style="bold")]
    shown += [Text(plain(each, most=400)) for each in sentences]
    for part in _parts(advice):
        if part.table.rows:
            shown += [Text(), in_terminal(part.table, below=part.table.legend)]
        elif part.empty is not UNKNOWN:
            shown += [Text(), Text(f"{part.table.title}: {part.empty}", style="dim")]
        shown += [Text(each, style="dim") for each in (part.below,) if each]
    return Group(*shown)


def _sentences(advice: Advice) -> list[str]:
    """Return the recommendation, why, the month beside the one as it is, and which version the figures are about."""
    against = [sentence(advice.against)] if advice.against else []
    return [numbers.headline(advice), sentence(advice.because), *against, *_of_version(advice)]


def _of_version(advice: Advice) -> list[str]:
    seen = advice.evidence
    if seen is None or not seen.is_mixed:
        return []
    own = seen.realtime.answered + seen.batch.answered
    said = (
        f"About version {seen.version}, which is in force: {counted(own, 'answer')} of it. "
        f"{counted(seen.of_others, 'answer')} of other versions are left out of costs, tokens and corrections, "
        "and the savings cannot be split by version."
    )
    if any(each.basis == "estimated" for each in advice.lanes):
        said += f" Prices are estimates: a lane needs {MIN_BILLED} billed answers of this version."
    return [said]


def _parts(advice: Advice) -> list[Part]:
    known = spread(advice)
    share = advice.needs.low if advice.needs else None
    return [
        Part(_criteria(advice.criteria)),
        Part(_lanes(advice, known), "No item was billed or estimated in the period."),
        Part(
            _figures("Break-even", numbers.break_even(advice, known)),
            chart=(advice_charts.break_even(advice.break_even, share, known.volume), EVEN_CHART),
            below=f"{numbers.uncertainty(known)} {numbers.assumed(advice)}".strip(),
        ),
        _plans(advice),
        _savings(advice),
        Part(_cases(advice.sensitivities)),
        Part(_decays(advice), below=_half_life(advice)),
        Part(_consumers(advice.movable), NONE_MOVABLE, below=MOVABLE if advice.movable else ""),
    ]


def _criteria(found: Sequence[Criterion]) -> Table[Criterion]:
    return Table(
        "Criteria",
        found,
        label("Criterion", lambda of: of.name),
        label("Evidence", lambda of: of.evidence),
        phrase("Speaks", "for which pattern", lambda of: MARKS[of.leaning]),
    )


def _lanes(advice: Advice, known: Spread) -> Table[LaneCost]:
    totals = {Lane.REALTIME: known.realtime_total_usd, Lane.BATCH: known.batch_total_usd}
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
        note=explained({each.name: each.meaning for each in figures}),
    )


def _plans(advice: Advice) -> Part:
    now = advice.now
    rows = [] if now is None else [(f"as it is: {numbers.PATTERNS[now.pattern]}", now)]
    rows += [(numbers.plan_name(advice, each), each) for each in advice.plans if now is not None]
    is_known = advice.corrections.rate is not None

    def wrong(of: tuple[str, Plan]) -> str:
        return dollars(of[1].wrong_usd) if is_known else MISSING

    lost = figure("Lost by wrong answers", "worth of missing corrections", wrong)
    in_batch = advice.left_in_batch

    def value_left(of: tuple[str, Plan]) -> str:
        return MISSING if in_batch is None else share(of[1].value_left(in_batch))

    left = figure("Value left", "of an answer when it comes, by recorded reads", value_left)
    table = Table(
        "A month, by plan",
        rows,
        label("A month", lambda of: of[0]),
        figure("In real-time", "of the items", lambda of: share(of[1].share)),
        figure("Provider", "monthly bill in USD", lambda of: dollars(of[1].provider_usd)),
        figure("Lanes", "their monthly upkeep", lambda of: dollars(of[1].lanes_usd)),
        figure("Paid", "both", lambda of: dollars(of[1].paid_usd)),
        *([lost] if advice.corrections.each_usd is not None else []),
        *([left] if in_batch is not None else []),
    )
    chart = advice_charts.plans(advice), "What is paid in a month, as it is and by plan"
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
    drawn = advice_charts.steps(numbers.saving_parts(advice))
    return Part(table, chart=(drawn, "What each part saved of the full cost"))


def _cases(found: Sequence[Sensitivity]) -> Table[Sensitivity]:
    def recommended(of: Sensitivity) -> str:
        return numbers.PATTERNS[of.plan.pattern] if of.holds else "inconclusive"

    return Table(
        "If something were otherwise",
        found,
        label("If", lambda of: of.case),
        phrase("Recommended", "the cheapest plan then", recommended),
        figure("Paid a month", "provider and lanes", lambda of: dollars(of.plan.paid_usd)),
        label("Note", lambda of: of.note),
    )


def _decays(advice: Advice) -> Table[ConsumerDecay]:
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
            lambda of: share(of.decay.left(batch_s)),
        ),
    )


def _low(of: ConsumerDecay) -> str:
    return seconds(of.decay.low_s)


def _high(of: ConsumerDecay) -> str:
    return seconds(of.decay.high_s)


def _half_life(advice: Advice) -> str:
    """Say what to write into the definition, so that Lanes weighs waiting by these reads."""
    of = advice.decay
    if of is None:
        return ""
    written = f"half_life_s: {min(max(1, round(of.half_life_s)), LONGEST_S)}"
    return f"For all consumers together: {written}, with {of.said}. Lanes weighs waiting by it once value_usd is stated."


def _consumers(movable: Sequence[ConsumerUse]) -> Table[ConsumerUse]:
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
