"""The advice as a Prefect Markdown artifact: the recommendation, its reasons, the money with charts, the consumers."""

from collections.abc import Sequence

from lanes.advice.evidence import Leaning
from lanes.advice.recommendation import Advice
from lanes.advice.spread import Spread, spread
from lanes.report import advice_chart, advice_legends, charts, savings_chart
from lanes.report import advice_summary as summary
from lanes.report.section import explained, of_shown
from lanes.text import cell

MOST_CONSUMERS = 20
MARKS = {
    Leaning.REALTIME: "🔵 for real-time",
    Leaning.BATCH: "🟢 for batch",
    Leaning.HYBRID: "🔵🟢 for hybrid",
    Leaning.LAMBDA: "🔵🟢 for lambda",
    Leaning.UNKNOWN: "⏳ not enough data",
}
LINKS = "[Advice runs](/v2/runs?tags=advise) · [Rollouts](/v2/runs?tags=rollout) · [Reports](/v2/artifacts/key/lanes-report)"


def render(advice: Advice) -> str:
    """The whole artifact."""
    known = spread(advice)
    chart = advice_chart.break_even(
        advice.break_even, advice.needs.low if advice.needs else None, known.volume
    )
    parts = [
        f"# Advice on {cell(advice.workload)}",
        f"**{cell(summary.headline(advice))}.** {cell(summary.reason(advice), most=400)}",
        *([cell(summary.compared(advice), most=400)] if advice.against else []),
        *([cell(said, most=400)] if (said := summary.of_version(advice)) else []),
        "## Criteria\n\n"
        + _table(
            ["Criterion", "Evidence", "Speaks"],
            [(each.name, each.evidence, MARKS[each.leaning]) for each in advice.criteria],
        ),
        explained(advice_legends.CRITERIA),
        "## Cost of an item\n\n" + _costs(advice, known),
        "## Break-even\n\n"
        + charts.data_uri(chart, "Cost of a month over its volume, with one lane and with both"),
        _table(["What", "Number"], rows := summary.break_even_rows(advice, known)),
        explained(of_shown(advice_legends.BREAK_EVEN, [name for name, _ in rows])),
        f"{summary.uncertainty(known)} {summary.assumed(advice)}".strip(),
        "## A month, by plan\n\n" + _plans(advice),
        "## What was saved\n\n" + _saved(advice),
        "## If something were otherwise\n\n" + _cases(advice),
        "## Consumers who do not read at once\n\n" + _consumers(advice),
        LINKS,
    ]
    return "\n\n".join(parts) + "\n"


def _costs(advice: Advice, known: Spread) -> str:
    if not advice.lanes:
        return "No item was billed or estimated in the period."
    table = _table(summary.LANE_HEADINGS, summary.lane_rows(advice, known), numbers=(1, 2, 3, 4, 5))
    return f"{table}\n\n{explained(advice_legends.LANES)}"


def _plans(advice: Advice) -> str:
    rows = summary.plan_rows(advice)
    if not rows:
        return "Not enough data to say what a month costs."
    chart = charts.data_uri(
        advice_chart.plans(advice), "What is paid in a month, as it is and by plan"
    )
    headings = summary.plan_headings(advice)
    table = _table(headings, rows, numbers=(1, 2, 3, 4, 5))
    return f"{chart}\n\n{table}\n\n{explained(of_shown(advice_legends.PLANS, headings))}"


def _saved(advice: Advice) -> str:
    rows = summary.saving_rows(advice)
    if not rows:
        if advice.evidence is not None and advice.evidence.is_mixed:
            return "Not told: other versions answered in the period too, and calls are not told apart by version."
        return "Not enough data: nothing was answered in the period, or what its calls share is not known."
    drawn = savings_chart.steps(summary.saving_parts(advice))
    chart = charts.data_uri(drawn, "What each part saved of what all would have cost")
    table = _table(summary.SAVING_HEADINGS, rows, numbers=(1, 2))
    return f"{chart}\n\n{table}\n\n{explained(advice_legends.SAVINGS, summary.SAVED)}"


def _cases(advice: Advice) -> str:
    rows = summary.case_rows(advice)
    if not rows:
        return "Not enough data."
    return (
        f"{_table(summary.CASE_HEADINGS, rows, numbers=(2,))}\n\n{explained(advice_legends.CASES)}"
    )


def _consumers(advice: Advice) -> str:
    rows = summary.consumer_rows(advice)
    if not rows:
        return "None has enough recorded reads to say so."
    table = _table(summary.CONSUMER_HEADINGS, rows[:MOST_CONSUMERS], numbers=(1, 2, 3, 4, 5))
    table += f"\n\n{explained(advice_legends.CONSUMERS)}"
    more = len(rows) - MOST_CONSUMERS
    rest = f"\n\n{more} more are not shown." if more > 0 else ""
    return f"{table}{rest}\n\nMove them with the playbook `realtime-to-batch`, or set their split with `set_split`."


def _table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Sequence[int] = ()
) -> str:
    rule = ["--:" if place in numbers else "---" for place in range(len(headings))]
    lines = [headings, rule, *([cell(value, most=300) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
