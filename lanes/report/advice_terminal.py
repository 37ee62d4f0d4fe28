"""The advice for a terminal: the recommendation first, then why, the numbers, and who could be moved."""

from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lanes.advice.evidence import Leaning
from lanes.advice.recommendation import Advice
from lanes.advice.spread import spread
from lanes.report import advice_legends as legends
from lanes.report import advice_summary as summary
from lanes.report.section import Legend, explained, of_shown
from lanes.text import plain

STYLES = {
    Leaning.REALTIME: "blue",
    Leaning.BATCH: "green",
    Leaning.HYBRID: "cyan",
    Leaning.LAMBDA: "cyan",
    Leaning.UNKNOWN: "dim",
}


def render(advice: Advice) -> RenderableType:
    """The whole advice; names are shown as they are, never read as markup."""
    known = spread(advice)
    parts: list[RenderableType] = [
        Text(plain(summary.headline(advice)), style="bold"),
        Text(plain(summary.reason(advice), most=400)),
        *([Text(plain(summary.compared(advice), most=400))] if advice.against else []),
        *([Text(plain(said, most=400), "dim")] if (said := summary.of_version(advice)) else []),
        Text(),
        _criteria(advice),
        Text(),
    ]
    if advice.lanes:
        rows = summary.lane_rows(advice, known)
        parts += [_explained("Cost of an item", summary.LANE_HEADINGS, rows, legends.LANES), Text()]
    rows = summary.break_even_rows(advice, known)
    legend = of_shown(legends.BREAK_EVEN, [name for name, _ in rows])
    parts += [_explained("Break-even", ("What", "Number"), rows, legend), Text()]
    if advice.now is not None:
        rows = summary.plan_rows(advice)
        headings = summary.plan_headings(advice)
        parts += [
            _explained("A month, by plan", headings, rows, of_shown(legends.PLANS, headings)),
            Text(),
        ]
    if saved := summary.saving_rows(advice):
        title = "What was saved in the period"
        parts += [
            _explained(title, summary.SAVING_HEADINGS, saved, legends.SAVINGS, summary.SAVED),
            Text(),
        ]
    if advice.sensitivities:
        rows = summary.case_rows(advice)
        parts += [
            _explained("If something were otherwise", summary.CASE_HEADINGS, rows, legends.CASES),
            Text(),
        ]
    notes = [
        summary.uncertainty(known),
        *([assumed] if (assumed := summary.assumed(advice)) else []),
    ]
    parts += [*(Text(each, style="dim") for each in notes), Text()]
    rows = summary.consumer_rows(advice)
    if rows:
        title = "Consumers who do not read at once, and could be moved to batch"
        parts.append(_explained(title, summary.CONSUMER_HEADINGS, rows, legends.CONSUMERS))
    else:
        parts.append(
            Text(
                "No consumer has enough recorded reads to say that it does not read at once.",
                style="dim",
            )
        )
    return Group(*parts)


def _criteria(advice: Advice) -> RenderableType:
    table = _table("Criteria", ("Criterion", "Evidence", "Speaks"), [])
    for each in advice.criteria:
        table.add_row(
            each.name,
            Text(plain(each.evidence, most=300)),
            Text(each.leaning, style=STYLES[each.leaning]),
        )
    return Group(table, Text(explained(legends.CRITERIA), style="dim"))


def _explained(
    title: str,
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    legend: Legend,
    note: str = "",
) -> RenderableType:
    """A table with what its figures mean below it."""
    return Group(_table(title, headings, rows), Text(explained(legend, note), style="dim"))


def _table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    table.pad_edge, table.show_edge = False, False
    for heading in headings:
        table.add_column(heading)
    for row in rows:
        table.add_row(*(Text(plain(value, most=200), overflow="fold") for value in row))
    return table
