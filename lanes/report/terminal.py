"""The report for a terminal or a log, in plain tables that fit 100 columns."""

from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lanes.promises import batches
from lanes.report import legends, summary
from lanes.report.figures import BatchFigures, StateFigures
from lanes.report.section import Legend, Section, explained
from lanes.report.sections import further, pressing, throughput
from lanes.report.snapshot import Snapshot
from lanes.report.titled import titled
from lanes.text import plain
from lanes.units import MISSING, aligned_usd, count, rate, seconds, share, usd
from lanes.words import Lane

MOST_ROWS = 20  # of a long table; the others are counted
STEPS_OF_THROUGHPUT = 6  # of the bar of the fastest batch


def render(
    snapshot: Snapshot, *, report_url: str | None, named: str = "With charts"
) -> RenderableType:
    """The figures as tables, and as the last line the page of the Prefect UI where a report stands with charts."""
    heading = Text.assemble(("Lanes", "bold"), f" {summary.period(snapshot)}")
    parts: list[RenderableType] = [_section(each) for each in pressing(snapshot)]
    if not summary.items(snapshot):
        parts += [Text("Nothing arrived yet.")]
    else:
        parts += [_lanes(snapshot), _section(throughput(snapshot)), _costs(snapshot)]
        parts += [_states(snapshot), _routes(snapshot)]
    parts += [
        *([_batches(snapshot)] if snapshot.batches else []),
        *([_agreement(snapshot)] if snapshot.agreement else []),
        *([_accuracy(snapshot)] if snapshot.accuracy else []),
        *(_section(each) for each in further(snapshot)),
        *([_refusals(snapshot)] if snapshot.refusals else []),
        *([_failures(snapshot)] if snapshot.failures else []),
    ]
    if report_url:
        parts.append(Text.assemble(f"{named}: ", (report_url, "underline")))
    return Group(heading, *(line for part in parts for line in (Text(), part)))


def _lanes(snapshot: Snapshot) -> RenderableType:
    where, latencies = "Workload Lane >Answered|of_items", ">Latency|p50 >|p95 >|p99"
    title = f"Lanes: items received {summary.period(snapshot)}"
    table = _table(title, f"{where} {latencies} >Failed|attempts >Cost|USD >Per_1,000|USD")
    costs = aligned_usd([each.cost_usd for each in snapshot.lanes])
    per_1000 = aligned_usd([each.usd_per_1000 for each in snapshot.lanes])
    for each, cost, thousand in zip(snapshot.lanes, costs, per_1000, strict=True):
        table.add_row(
            _word(each.workload),
            summary.lane_name(each.lane),
            f"{count(each.answered)} of {count(each.items)}",
            seconds(each.p50_s),
            seconds(each.p95_s),
            seconds(each.p99_s),
            f"{count(each.failed_attempts)} ({share(each.failure_share)})"
            if each.failed_attempts
            else "0",
            cost,
            thousand,
        )
    return _explained(table, legends.LANES)


def _costs(snapshot: Snapshot) -> RenderableType:
    title = f"Cost in USD: items received {summary.period(snapshot)}"
    table = _table(title, "Workload >Actual >All|real-time >All|batch Against|all_real-time")
    costs = snapshot.costs
    each_one = [(each, summary.saving_of(each, snapshot)) for each in costs]
    if len(costs) > 1:
        each_one.append((summary.total_costs(snapshot), summary.saving(snapshot)))
    columns = aligned_usd(
        [
            amount
            for each, _ in each_one
            for amount in (each.actual_usd, each.all_realtime_usd, each.all_batch_usd)
        ]
    )
    for place, (each, saved) in enumerate(each_one):
        actual, realtime, batch = columns[3 * place : 3 * place + 3]
        total = place == len(costs)
        style = "bold" if total else ""
        table.add_row(_word(each.workload), actual, realtime, batch, Text(str(saved)), style=style)
    aside = summary.aside(snapshot)
    notes = [Text(aside, style="dim")] if aside else []
    unknown = summary.total_costs(snapshot).unknown_usd
    if unknown:
        notes.append(
            Text(
                f"Calls whose answer was lost may have cost up to {usd(unknown)} more.",
                style="yellow",
            )
        )
    return Group(_explained(table, legends.COSTS), *notes)


def _states(snapshot: Snapshot) -> RenderableType:
    table = _table("Where the items stand now", "Workload >Items Where_they_stand")
    for workload in snapshot.workloads:
        states = [each for each in snapshot.states if each.workload == workload]
        table.add_row(
            _word(workload), count(sum(each.items for each in states)), Text(_listed(states))
        )
    return _explained(table, legends.states([each.state for each in snapshot.states]))


def _listed(states: Sequence[StateFigures]) -> str:
    return ", ".join(f"{count(each.items)} {plain(each.state, most=20)}" for each in states)


def _routes(snapshot: Snapshot) -> RenderableType:
    table = _table("Routes decided in the period", "Workload Lane Reason >Decisions >Share")
    routes = sorted(
        snapshot.routes, key=lambda each: (each.workload, each.lane == Lane.BATCH, -each.items)
    )
    whole = {each.workload: 0 for each in routes}
    for each in routes:
        whole[each.workload] += each.items
    for each in routes:
        part = each.items / whole[each.workload] if whole[each.workload] else None
        lane, reason = summary.lane_name(each.lane), summary.reason_name(each.reason)
        table.add_row(_word(each.workload), lane, Text(reason), count(each.items), share(part))
    return _explained(table, legends.ROUTES)


def _batches(snapshot: Snapshot) -> RenderableType:
    health = batches.health(snapshot.batches, snapshot.incidents)
    table = _table(
        f"Batches: {health}", ">Batch Workload State >Done >Valid|items Time >Items|a_minute Note"
    )
    fastest = max((each.items_per_minute_until_ended or 0 for each in snapshot.batches), default=0)
    for each in snapshot.batches:
        wrong = batches.trouble(each, snapshot.incidents)
        state = Text(plain(each.state, most=20))
        if wrong is not None and wrong != each.state:
            state.append(f", {wrong}", style="red")
        table.add_row(
            str(each.batch_id),
            _word(each.workload),
            state,
            share(summary.done_share(each)),
            f"{count(each.succeeded)} of {count(each.items)}",
            summary.batch_time(each, snapshot.taken_at),
            _bar(each, fastest),
            Text(plain(each.note or MISSING)),
        )
    return _explained(table, legends.BATCHES)


def _bar(batch: BatchFigures, fastest: float) -> str:
    """A batch's throughput behind a bar, whose length says how near it comes to the fastest."""
    per_minute = batch.items_per_minute_until_ended
    if per_minute is None:
        return MISSING
    return f"{'█' * max(1, round(STEPS_OF_THROUGHPUT * per_minute / fastest))} {rate(per_minute)}"


def _agreement(snapshot: Snapshot) -> RenderableType:
    table = _table("Corrections in the period", "Workload >Compared >Corrected >Agreed")
    for each in snapshot.agreement:
        table.add_row(
            _word(each.workload), count(each.compared), count(each.corrected), share(each.agreement)
        )
    return _explained(table, legends.AGREEMENT)


def _accuracy(snapshot: Snapshot) -> RenderableType:
    title = f"Accuracy against labels: items received {summary.period(snapshot)}"
    table = _table(title, "Workload Lane >Version Field >Labels >Right 95_%_interval")
    for each in snapshot.accuracy:
        table.add_row(
            _word(each.workload),
            summary.lane_name(each.lane),
            str(each.version),
            _word(each.field),
            count(each.labels),
            share(each.share),
            f"{share(each.low)} to {share(each.high)}",
        )
    return _explained(table, legends.ACCURACY)


def _refusals(snapshot: Snapshot) -> RenderableType:
    table = _table("Refused at the doors", "Workload >Inputs Reason")
    for each in snapshot.refusals:
        table.add_row(_word(each.workload), count(each.inputs), Text(plain(each.reason)))
    return _explained(table, legends.of_refusals(each.reason for each in snapshot.refusals))


def _failures(snapshot: Snapshot) -> RenderableType:
    table = _table("Without an answer, or whose authoritative pass failed", "Workload Key Reason")
    for each in snapshot.failures[:MOST_ROWS]:
        table.add_row(_word(each.workload), _word(each.key), Text(plain(each.reason)))
    more = len(snapshot.failures) - MOST_ROWS
    return Group(
        *titled(table),
        *([Text(f"{count(more)} more are not shown.", style="dim")] if more > 0 else []),
    )


def _section(section: Section) -> RenderableType:
    heads = [
        f"{'>' if side == 'r' else ''}{head.replace(' ', '_')}"
        for head, side in zip(section.heads, section.sides, strict=True)
    ]
    table = _table(section.title, " ".join(heads))
    for row in section.rows[:MOST_ROWS]:
        table.add_row(*(Text(plain(value, most=300), overflow="fold") for value in row))
    more = len(section.rows) - MOST_ROWS
    notes = [section.explained, f"{count(more)} more are not shown." if more > 0 else ""]
    return Group(*titled(table), *(Text(note, style="dim") for note in notes if note))


def _explained(table: Table, legend: Legend) -> Group:
    """A table with what its figures mean below it."""
    return Group(*titled(table), Text(explained(legend), style="dim"))


def _word(text: str) -> Text:
    """A name as it is, never read as markup."""
    return Text(plain(text, most=40), overflow="fold")


def _table(title: str, columns: str) -> Table:
    """An empty table. `columns` are headings: ">" aligns right and never wraps, "_" is a space and "|" a new line."""
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    table.pad_edge, table.show_edge, table.collapse_padding = False, False, True
    for heading in columns.split():
        number = heading.startswith(">")
        shown = heading.lstrip(">").replace("_", " ").replace("|", "\n")
        table.add_column(shown, justify="right" if number else "left", no_wrap=number)
    return table
