"""The advice as a Prefect Markdown artifact: the recommendation, its reasons, the break-even with a chart, the consumers."""

from collections.abc import Sequence

from lanes.advice.evidence import Leaning
from lanes.advice.recommendation import Advice
from lanes.escaping import cell
from lanes.report import advice_chart, charts
from lanes.report import advice_summary as summary

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
    chart = advice_chart.break_even(advice.break_even, advice.needs.low if advice.needs else None)
    parts = [
        f"# Advice on {cell(advice.workload)}",
        f"**{cell(summary.headline(advice))}.** {cell(summary.reason(advice), most=400)}",
        "## Criteria\n\n" + _table(
            ["Criterion", "Evidence", "Speaks"],
            [(each.name, each.evidence, MARKS[each.leaning]) for each in advice.criteria],
        ),
        "## Cost of an item\n\n" + _costs(advice),
        "## Break-even\n\n" + charts.data_uri(chart, "Cost of a month over its volume, with one lane and with both"),
        _table(["What", "Number"], summary.break_even_rows(advice)),
        "## Consumers who do not read at once\n\n" + _consumers(advice),
        LINKS,
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _costs(advice: Advice) -> str:
    if not advice.lanes:
        return "No item was billed or estimated in the period."
    headings = ["Lane", "API", "Infrastructure", "Engineering", "Total", "API price"]
    return _table(headings, summary.lane_rows(advice), numbers=(1, 2, 3, 4))


def _consumers(advice: Advice) -> str:
    rows = summary.consumer_rows(advice)
    if not rows:
        return "None has enough recorded reads to say so."
    headings = ["Consumer", "Reads", "Median until read", "Within 60 s, of all", "Never read", "Items on real-time"]
    table = _table(headings, rows[:MOST_CONSUMERS], numbers=(1, 2, 3, 4, 5))
    more = len(rows) - MOST_CONSUMERS
    rest = f"\n\n{more} more are not shown." if more > 0 else ""
    return f"{table}{rest}\n\nMove them with the playbook `realtime-to-batch`, or set their split with `act`."


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Sequence[int] = ()) -> str:
    rule = ["--:" if place in numbers else "---" for place in range(len(headings))]
    lines = [headings, rule, *([cell(value, most=300) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
