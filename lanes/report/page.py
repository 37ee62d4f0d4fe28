"""The report as two Prefect Markdown artifacts: the page that people read, and a second one with everything else.

Tables have at most seven columns, charts are images, and a page stays below 50 KB.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from lanes.report import charts, details, summary, tables
from lanes.report.links import DETAILS, INCIDENTS, REPORT, render_links, versions_page
from lanes.report.listing import format_value
from lanes.report.snapshot import Snapshot
from lanes.report.summary import lane_name
from lanes.report.table import Table, label, render_markdown
from lanes.settling.listing import AnswerExample
from lanes.text import cell, plain
from lanes.units import pluralize, seconds, usd
from lanes.words import ItemState, Lane, Standing

MOST_BYTES = 50_000
# Row limits of a table; the first that keeps a page below MOST_BYTES applies.
ROWS = (50, 25, 10, 4, 2)
MOST_ROWS = 12  # in a table of the first page
TOO_LONG = "The report is longer than an artifact can be; `lanes report --all` shows it.\n"
NOTHING_OPEN = "Nothing. No incident is open, every model answers and no rollout is proposed or waits for approval."
MEANINGS = "What each figure means: `docs/reference/report.md`."
LINKS = (
    ("Failed items", '/v2/events?events=["lanes.item.failed"]'),
    INCIDENTS,
    ("Real-time runs", "/v2/runs?tags=realtime"),
    ("Batch runs", "/v2/runs?tags=batch"),
    ("Rollouts", "/v2/runs?tags=rollout"),
    ("Replays", "/v2/runs?tags=replay"),
    ("All reports", versions_page(REPORT)),
)
TITLE = "Sample answers"
SHOWN = 180  # characters of an input and of an answer, two lines of a terminal


def main_page(
    snapshot: Snapshot,
    samples: Sequence[AnswerExample] = (),
    *,
    details_page: str = versions_page(DETAILS),
) -> str:
    """Return the page that people read; `details_page` is the address of the second page."""
    links = [("Everything else", details_page), *LINKS]
    return _fit_page(lambda most: _main_parts(snapshot, samples, links, min(most, MOST_ROWS)))


def details_page(snapshot: Snapshot) -> str:
    """Return the second page, with everything else."""
    return _fit_page(lambda most: _detail_parts(snapshot, most))


def _fit_page(parts: Callable[[int], Iterable[str]]) -> str:
    """Return a page below 50 KB, with shortened tables if needed; each states how many rows are hidden."""
    pages = ("\n\n".join(filter(None, parts(most))) + "\n" for most in ROWS)
    return next((page for page in pages if len(page.encode()) < MOST_BYTES), TOO_LONG)


def _main_parts(
    snapshot: Snapshot,
    samples: Sequence[AnswerExample],
    links: Sequence[tuple[str, str]],
    most: int,
) -> Iterator[str]:
    yield f"**{cell(summary.headline(snapshot), most=400)}**"
    yield render_links(links)
    yield "\n".join(f"- {cell(each, most=300)}" for each in summary.sentences(snapshot))
    yield "### What needs a person"
    pressing = [*tables.attention(snapshot)]
    failed = summary.items(snapshot, [ItemState.FAILED])
    for each in pressing:
        yield _section(each, most, level=4)
    if failed:
        yield f"{pluralize(failed, 'item')} failed: the second page has their reasons; `lanes retry` tries them again."
    if not pressing and not failed:
        yield NOTHING_OPEN
    if snapshot.lanes:
        yield _section(tables.lanes(snapshot), most)
    if snapshot.costs:
        cost = tables.costs(snapshot)
        yield _section(cost, most, above=charts.costs(snapshot))
    for each in (tables.deadlines(snapshot), *tables.quality(snapshot)):
        if each.rows:
            yield _section(each, most)
    if samples:
        yield "### Sample answers\n\n" + render_markdown(make_table(samples), most=most)
    yield MEANINGS


def _detail_parts(snapshot: Snapshot, most: int) -> Iterator[str]:
    drawn = {details.ROUTES: charts.draw_routing, details.BATCHES: charts.throughput}
    yield f"[The report]({versions_page(REPORT)}) · figures {summary.period(snapshot)}"
    if snapshot.lanes:
        yield "### Latency, received to answered\n\n" + charts.latency(snapshot)
    for each in details.tables(snapshot):
        if each.rows:
            chart = drawn.get(each.title.partition(":")[0])
            yield _section(each, most, above=chart(snapshot, most) if chart else "")
    yield MEANINGS


def _section(table: Table[Any], most: int, *, above: str = "", level: int = 3) -> str:
    parts = (f"{'#' * level} {table.title}", above, render_markdown(table, most=most), table.note)
    return "\n\n".join(filter(None, parts))


def render(examples: Sequence[AnswerExample]) -> RenderableType:
    """Return each example with its item, input, answer and history, always as plain text."""
    lines = RichTable.grid(padding=(0, 1))
    lines.add_column(justify="right", no_wrap=True)
    lines.add_column(style="dim", no_wrap=True)
    lines.add_column(overflow="fold")
    for place, example in enumerate(examples, 1):
        item = Text.assemble(
            (plain(example.workload, most=40), "bold"), " ", plain(example.key, most=60)
        )
        lines.add_row(f"{place}", "item", item)
        lines.add_row("", "input", Text(plain(select_text(example.payload), most=SHOWN)))
        lines.add_row("", "answer", Text(plain(answer(example), most=SHOWN), style="green"))
        lines.add_row("", "how", Text(describe_outcome(example)))
    return Group(Text(TITLE, style="bold"), lines)


def make_table(examples: Sequence[AnswerExample]) -> Table[AnswerExample]:
    """Return the examples for an artifact, without their inputs: payloads stay in Postgres."""
    return Table(
        TITLE,
        examples,
        label("Item", lambda of: f"{of.workload}: {plain(of.key, most=60)}"),
        label("Answer", lambda of: plain(answer(of), most=SHOWN)),
        label("How", describe_outcome),
    )


def select_text(payload: Mapping[str, Any]) -> str:
    """Return an item's longest text, or its whole payload as JSON if it contains no text."""
    texts = [value for value in payload.values() if isinstance(value, str)]
    return max(texts, key=len) if texts else json.dumps(payload, ensure_ascii=False)


def answer(example: AnswerExample) -> str:
    """Return an answer's fields with their values, in the order of its schema."""
    output, fields = example.output, example.fields
    ordered = [name for name in fields if name in output]
    ordered += [name for name in output if name not in fields]
    return ", ".join(f"{name}: {format_value(output[name])}" for name in ordered)


def describe_outcome(example: AnswerExample) -> str:
    """Return the lane that answered first and its time, the later confirmation or correction, and the cost."""
    parts = [f"{lane_name(example.first_lane)} after {seconds(example.first_s)}"]
    if example.standing is Standing.PROVISIONAL:
        parts.append("provisional until its batch ends")
    elif example.was:
        was = ", ".join(f"{name} was {format_value(value)}" for name, value in example.was.items())
        after = f"corrected by {lane_name(example.lane)} after {seconds(example.current_s)}"
        parts.append(f"{after} ({plain(was, most=100)})")
    elif example.first_lane is Lane.REALTIME and example.lane is Lane.BATCH:
        parts.append(f"confirmed by batch after {seconds(example.current_s)}")
    else:
        parts.append("authoritative")
    return ", ".join([*parts, usd(example.cost_usd)])
