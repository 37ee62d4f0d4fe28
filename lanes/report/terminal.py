"""The report for a terminal or a log, in plain tables that fit 100 columns."""

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from lanes.report import details, page, summary, tables
from lanes.report.page import NOTHING_OPEN
from lanes.report.snapshot import Snapshot
from lanes.report.table import Table, render_terminal
from lanes.settling.listing import AnswerExample
from lanes.text import plain

EVERYTHING_ELSE = "Everything else: lanes report --all"


def main_page(snapshot: Snapshot, samples: Sequence[AnswerExample] = ()) -> RenderableType:
    """Return the page that people read: what needs a person, the lanes, cost, deadlines, quality, samples."""
    return _space_parts(_main_parts(snapshot, samples))


def details_page(snapshot: Snapshot) -> RenderableType:
    """Return the second page, with everything else."""
    found = [each for each in details.tables(snapshot) if each.rows]
    heading = Text(f"Everything {summary.period(snapshot)}", "bold")
    return _space_parts([heading, *(render_terminal(each, below=each.note) for each in found)])


def _main_parts(snapshot: Snapshot, samples: Sequence[AnswerExample]) -> Iterator[RenderableType]:
    yield Text(plain(summary.headline(snapshot), most=400), "bold")
    if sentences := summary.sentences(snapshot):
        yield Text("\n".join(f"  {plain(each, most=300)}" for each in sentences))
    pressing = [*tables.attention(snapshot)]
    yield from (render_terminal(each, below=each.note) for each in pressing)
    if not pressing:
        yield Text.assemble(("What needs a person: ", "bold"), NOTHING_OPEN)
    found: list[Table[Any]] = [tables.lanes(snapshot), tables.costs(snapshot)]
    for each in (*found, tables.deadlines(snapshot), *tables.quality(snapshot)):
        if each.rows:
            yield render_terminal(each, below=each.note)
    if samples:
        yield page.render(samples)
    yield Text(EVERYTHING_ELSE, "dim")


def _space_parts(parts: Sequence[RenderableType] | Iterator[RenderableType]) -> RenderableType:
    return Group(*(line for part in parts for line in (part, Text())))
