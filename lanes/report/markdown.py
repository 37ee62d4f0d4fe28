"""The report as a Prefect Markdown artifact: at most seven columns, charts as images, below 50 KB."""

from collections.abc import Sequence

from lanes.promises import batches
from lanes.report import legends, pictures, summary
from lanes.report.figures import BatchFigures, LaneFigures, StateFigures
from lanes.report.links import REPORT, versions_page
from lanes.report.section import Section, explained, of_shown
from lanes.report.sections import further, pressing, throughput
from lanes.report.snapshot import Snapshot
from lanes.text import cell, code
from lanes.units import MISSING, count, counted, rate, seconds, share, usd
from lanes.words import BatchState, ItemState

MOST_BYTES = 50_000
ROWS = (50, 25, 10, 4, 2)  # of a table; the first that keeps the whole below MOST_BYTES
TOO_LONG = "The report is longer than an artifact can be; `lanes status` shows it.\n"
STEPS_OF_PROGRESS = 8
PROGRESS = {"State": "with the share of its requests that is done"}
HEADS_OF_BATCHES = ("Batch", "Workload", "State", "Valid", "Time", "Items a minute", "Note")
LINKS = (
    ("Batch runs", "/v2/runs?tags=batch"),
    ("Real-time runs", "/v2/runs?tags=realtime"),
    ("Failed items", '/v2/events?events=["lanes.item.failed"]'),
    ("Incidents", '/v2/events?events=["lanes.incident.opened"]'),
    ("Rollouts", "/v2/runs?tags=rollout"),
    ("Replays", "/v2/runs?tags=replay"),
    ("All reports", versions_page(REPORT)),
)


def headline(snapshot: Snapshot) -> str:
    """The report in one line, for the description of the artifact."""
    if not summary.items(snapshot):
        said = [summary.open_incidents(snapshot), f"Nothing arrived {summary.period(snapshot)}"]
        return " · ".join(part for part in said if part)
    failed = summary.items(snapshot, [ItemState.FAILED])
    said = [
        summary.open_incidents(snapshot),
        str(summary.saving(snapshot)),
        batches.health(snapshot.batches, snapshot.incidents),
        summary.realtime_p95(snapshot),
        f"{counted(failed, 'item')} failed" if failed else None,
        summary.period(snapshot),
    ]
    return " · ".join(part for part in said if part)


def render(snapshot: Snapshot) -> str:
    """The whole artifact. Long tables are cut, and say so, until it is below 50 KB."""
    artifacts = (
        "\n\n".join(part for part in _parts(snapshot, most) if part) + "\n" for most in ROWS
    )
    return next((each for each in artifacts if len(each.encode()) < MOST_BYTES), TOO_LONG)


def _parts(snapshot: Snapshot, most: int) -> list[str]:
    links = " · ".join(f"[{name}]({address})" for name, address in LINKS)
    first = [_section(each, most) for each in pressing(snapshot)]
    last = [_section(each, most) for each in further(snapshot)]
    if not summary.items(snapshot) and not snapshot.batches:
        return [headline(snapshot) + ".", *first, *last, _refusals(snapshot, most), links]
    return [
        _summary(snapshot),
        *first,
        "### Routing mix: decisions of the period\n\n" + pictures.routing(snapshot),
        "### Cost\n\n" + _costs(snapshot, most),
        "### Latency, received to answered\n\n" + pictures.latency(snapshot),
        "### Lanes\n\n" + _lanes(snapshot, most),
        _section(throughput(snapshot), most),
        "### Batches\n\n" + _batches(snapshot, most),
        "### Corrections and accuracy\n\n" + _quality(snapshot, most),
        *last,
        _states(snapshot, most),
        _failures(snapshot, most),
        _refusals(snapshot, most),
        links,
    ]


def _section(section: Section, most: int) -> str:
    rows = [[cell(value, most=300) for value in row] for row in section.rows]
    parts = [
        f"### {section.title}",
        _table(section.heads, section.sides, rows, most),
        section.explained,
    ]
    return "\n\n".join(part for part in parts if part)


def _summary(snapshot: Snapshot) -> str:
    arrived = summary.items(snapshot)
    answered = summary.items(snapshot, [ItemState.ANSWERED, ItemState.SETTLED])
    said = [
        f"**{counted(arrived, 'item')}** received",
        f"{count(answered)} answered",
        f"**{usd(snapshot.actual_usd)}**",
        headline(snapshot) if arrived else None,
    ]
    return " · ".join(part for part in said if part) + f"\n\n{explained(legends.HEADLINE)}"


def _costs(snapshot: Snapshot, most: int) -> str:
    if not snapshot.costs:
        return pictures.costs(snapshot)
    rows = [
        [
            cell(each.workload, most=40),
            usd(each.actual_usd),
            usd(each.all_realtime_usd),
            usd(each.all_batch_usd),
            str(summary.saving_of(each, snapshot)),
            f"up to {usd(each.unknown_usd)}" if each.unknown_usd else MISSING,
        ]
        for each in pictures.by_cost(snapshot)
    ]
    heads = ["Workload", "Actual", "All real-time", "All batch", "Against all real-time", "Unknown"]
    note = f"{explained({**legends.COSTS, **legends.UNKNOWN})} {summary.aside(snapshot)}".strip()
    return "\n\n".join([pictures.costs(snapshot), _table(heads, "lrrrlr", rows, most), note])


def _lanes(snapshot: Snapshot, most: int) -> str:
    rows = [
        [
            cell(summary.title_of(each), most=48),
            _unbroken(f"{count(each.answered)} of {count(each.items)}"),
            _percentiles(each),
            _unbroken(f"{count(each.failed_attempts)} ({share(each.failure_share)})")
            if each.failed_attempts
            else "0",
            usd(each.cost_usd),
            usd(each.usd_per_1000),
        ]
        for each in snapshot.lanes
    ]
    heads = ["Lane", "Answered", "p50, p95, p99", "Failed", "Cost", "Per 1,000"]
    note = explained(legends.LANES, f"Items received {summary.period(snapshot)}.")
    return _table(heads, "lrrrrr", rows, most) + f"\n\n{note}"


def _percentiles(lane: LaneFigures) -> str:
    if not lane.answers:
        return MISSING
    return " / ".join(_unbroken(seconds(value)) for value in (lane.p50_s, lane.p95_s, lane.p99_s))


def _batches(snapshot: Snapshot, most: int) -> str:
    rows = [
        [
            f"#{each.batch_id}",
            cell(each.workload, most=40),
            _state(each, snapshot),
            _unbroken(f"{count(each.succeeded)} of {count(each.items)}"),
            summary.batch_time(each, snapshot.taken_at),
            MISSING
            if each.items_per_minute_until_ended is None
            else rate(each.items_per_minute_until_ended),
            cell(each.note or "", most=120) or MISSING,
        ]
        for each in snapshot.batches
    ]
    table = _table(HEADS_OF_BATCHES, "lllllrl", rows, most)
    legend = of_shown(legends.BATCHES, HEADS_OF_BATCHES)
    if any(each.state == BatchState.SUBMITTED for each in snapshot.batches):
        legend = {**PROGRESS, **legend}
    parts = [pictures.throughput(snapshot.batches[:most]), table, explained(legend) if rows else ""]
    return "\n\n".join(part for part in parts if part)


def _state(batch: BatchFigures, snapshot: Snapshot) -> str:
    """Where it stands, how far it is while the provider has it, and what is wrong."""
    wrong = batches.trouble(batch, snapshot.incidents)
    state = cell(batch.state)
    if batch.state == BatchState.SUBMITTED:
        state += f" {_progress(summary.done_share(batch))}"
    if wrong is None:
        return state
    return f"**{wrong}**" if wrong == batch.state else f"{state}, **{wrong}**"


def _progress(part: float) -> str:
    full = round(part * STEPS_OF_PROGRESS)
    bar = f"`{'█' * full}{'░' * (STEPS_OF_PROGRESS - full)}` {share(part)}"
    return _unbroken(bar)


def _quality(snapshot: Snapshot, most: int) -> str:
    parts = []
    if snapshot.agreement:
        rows = [
            [
                cell(each.workload, most=40),
                count(each.compared),
                count(each.corrected),
                share(each.agreement),
            ]
            for each in snapshot.agreement
        ]
        parts.append(_table(["Workload", "Compared", "Corrected", "Agreed"], "lrrr", rows, most))
        parts.append(explained(legends.AGREEMENT))
    if snapshot.accuracy:
        rows = [
            [
                cell(each.workload, most=40),
                summary.lane_name(each.lane),
                str(each.version),
                cell(each.field, most=40),
                count(each.labels),
                share(each.share),
                f"{share(each.low)} to {share(each.high)}",
            ]
            for each in snapshot.accuracy
        ]
        heads = ["Workload", "Lane", "Version", "Field", "Labels", "Right", "95 % interval"]
        parts.append(_table(heads, "llrlrrr", rows, most))
        parts.append(
            explained(
                legends.ACCURACY, f"Of items received {summary.period(snapshot)} that have a label."
            )
        )
    return "\n\n".join(parts) or "Neither corrections nor labels in this period."


def _states(snapshot: Snapshot, most: int) -> str:
    rows = [
        [cell(workload, most=40), count(sum(each.items for each in states)), _listed(states)]
        for workload in snapshot.workloads
        for states in [[each for each in snapshot.states if each.workload == workload]]
    ]
    if not rows:
        return ""
    table = _table(["Workload", "Items", "Where they stand"], "lrl", rows, most)
    return "\n\n".join(
        ["### Items", table, explained(legends.states([each.state for each in snapshot.states]))]
    )


def _listed(states: Sequence[StateFigures]) -> str:
    return ", ".join(f"{count(each.items)} {cell(each.state, most=20)}" for each in states)


def _failures(snapshot: Snapshot, most: int) -> str:
    if not snapshot.failures:
        return ""
    rows = [
        [cell(each.workload, most=40), code(each.key), cell(each.reason)]
        for each in snapshot.failures
    ]
    title = f"Items without an answer, or whose authoritative pass failed: {count(len(rows))}"
    return _details(title, _table(["Workload", "Key", "Reason"], "lll", rows, most))


def _refusals(snapshot: Snapshot, most: int) -> str:
    if not snapshot.refusals:
        return ""
    rows = [
        [cell(each.workload, most=40), cell(each.reason), count(each.inputs)]
        for each in snapshot.refusals
    ]
    title = f"Inputs refused at the doors: {count(sum(each.inputs for each in snapshot.refusals))}"
    legend = explained(legends.of_refusals(each.reason for each in snapshot.refusals))
    return _details(
        title, _table(["Workload", "Reason", "Inputs"], "llr", rows, most) + f"\n\n{legend}"
    )


def _unbroken(words: str) -> str:
    """The words with spaces at which no line breaks."""
    return words.replace(" ", "\u00a0")


def _details(title: str, content: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{content}\n\n</details>"


def _table(heads: Sequence[str], sides: str, rows: Sequence[Sequence[str]], most: int) -> str:
    """A table whose cells are safe already; `sides` says l(eft) or r(ight) for each column."""
    if not rows:
        return "Nothing yet."
    rules = [":--" if side == "l" else "--:" for side in sides]
    table = "\n".join(f"| {' | '.join(row)} |" for row in [heads, rules, *rows[:most]])
    return table + _left_out(len(rows), most)


def _left_out(number: int, most: int) -> str:
    return f"\n\n{count(number - most)} more are not shown." if number > most else ""
