"""`lanes quote` and `lanes dry-run`, one file because both route items that are not sent: a file's, or past ones."""

import sys
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from cyclopts import Parameter
from rich.console import Group, RenderableType
from rich.text import Text
from sqlalchemy import Engine

from lanes.commands import options, running
from lanes.commands.options import AsJson, Columns
from lanes.commands.running import WrongUsage, command, print_table
from lanes.doors.filedoor import FileLine, Layout, read_lines
from lanes.doors.item import Refusal
from lanes.errors import SetupError, UnknownWorkload
from lanes.ids import VersionId
from lanes.json_data import characters
from lanes.report.summary import lane_name, reason_name, way_name
from lanes.report.table import Table, figure, label, phrase, render_terminal
from lanes.routing.forecast import (
    FilePlan,
    Forecast,
    LaneConditions,
    Place,
    Trial,
    TrialRun,
    TrialSide,
    forecast,
)
from lanes.routing.prospect import percent
from lanes.routing.route import looks_inside
from lanes.store import asking
from lanes.store.database import clock
from lanes.store.doors import full_data
from lanes.store.money import budgets, overheads, sharing
from lanes.store.realtime import load as lane_load
from lanes.store.routing import traffic, turnarounds
from lanes.store.workload import accounts, workloads
from lanes.text import plain
from lanes.units import MISSING, count, pluralize, seconds, share, usd
from lanes.words import Lane
from lanes.workload.definition import differences
from lanes.workload.version import Version
from lanes.workload.window import zone_of

SINCE = "7d"
MOST = 50_000
CHANGED = VersionId(0)  # the id of a version that is not stored
SPLIT_STAYS = (
    "split_percent counts when a workload is first published: the split in force was taken for both"
)
SIDES = (
    "Cost as routed: with the authoritative pass where one is owed. Expected late: in batches, each by its probability. "
    "Items on which a rule failed: it does not hold of them then."
)


def try_definition(
    file: Path, workload: str | None, *, since: str, most: int, as_json: bool
) -> None:
    """Show how the definition in the file would have handled past items."""
    named_spec = running.read_definition(file, "cannot be published, and so not be tried")
    name = named_spec.name
    if workload is not None and workload != name:
        raise WrongUsage(f'{file} defines the workload "{name}", not "{workload}"')
    if most < 1:
        raise WrongUsage(f"--most {most} is none: write 1 or more")
    with running.database() as pool:
        with pool.begin() as connection:
            version, splits = workloads.current(connection, name), workloads.splits(connection)
            now = clock(connection)
            known = turnarounds.read_cached(connection, now=now)
            shares = sharing.read_cached(connection, now=now)
        if version is None:
            raise UnknownWorkload(
                f'workload "{name}" has no published version, and so no traffic; try a file: '
                f"`lanes preview`, or publish it and `lanes dry-run FILE --workload {name}`"
            )
        began_at = options.parse_since(since, now, "--since ")
        trial = Trial(version, Version(CHANGED, name, version.number, named_spec.spec))
        trying, unreadable = TrialRun(trial, splits, known, now, shares), 0
        read = any(looks_inside(each) for each in (trial.in_force, trial.changed))
        contexts = [each.spec.context for each in (trial.in_force, trial.changed)]
        deepest = max(contexts, key=lambda of: of.depth)
        try:
            with running.counting(f"Trying {name}", "items decided") as counted_so_far:
                stream = traffic.stream_received(
                    pool, name, since=began_at, most=most, read=read, context=deepest
                )
                for chunk in stream:
                    for item in chunk.items:
                        trying.add(item)
                    unreadable += chunk.unread
                    counted_so_far.add(len(chunk.items))
        except LookupError as error:
            raise SetupError(f'workload "{name}" cannot be priced: {error}') from error
    if not trial.items:
        gone = f"; the inputs of {pluralize(unreadable, 'item')} were deleted" if unreadable else ""
        came_since = f"{began_at:%Y-%m-%d %H:%M} UTC"
        raise WrongUsage(f'workload "{name}" has received no items since {came_since}{gone}')
    notes = _notes(trial, unreadable, cut=trial.items >= most)
    if as_json:
        running.print_json(_trial_data(trial, began_at, now, unreadable, notes))
        return
    print_table(_moves(trial, now - began_at), width=120)
    print()
    print_table(_sides(trial), width=120)
    console = running.screen(120, highlight=False)
    for each in notes:
        console.print(Text(each, "yellow"))


def _notes(trial: Trial, unreadable: int, *, cut: bool) -> list[str]:
    notes = list[str]()
    changed = [each.field for each in differences(trial.in_force.spec, trial.changed.spec)]
    if not changed:
        notes.append(f"nothing differs from version {trial.in_force.number}, which is in force")
    if "split_percent" in changed:
        notes.append(SPLIT_STAYS)
    if cut:
        newest = pluralize(trial.items, "item")
        notes.append(f"only the newest {newest} of the period; --most takes more")
    if unreadable:
        notes.append(f"{pluralize(unreadable, 'item')} left out: what they said was erased")
    for name, side in (("in force", trial.before), ("with the file", trial.after)):
        if side.first_fault is not None:
            on, first = pluralize(side.faults, "item"), plain(side.first_fault, most=300)
            notes.append(f"{name}, a rule failed on {on}, first on {first}")
    return notes


def _moves(trial: Trial, span: timedelta) -> Table[tuple[tuple[Place, Place], int]]:
    hours = round(span.total_seconds() / 3600)
    over = pluralize(hours // 24, "day") if hours >= 48 else pluralize(hours, "hour")
    title = (
        f"{pluralize(trial.items, 'item')} of {plain(trial.in_force.workload)} in {over}: "
        f"{pluralize(trial.moved_items, 'item')} "
        f"({share(trial.moved_items / trial.items)}) would move from version {trial.in_force.number}"
    )
    return Table(
        title,
        sorted(trial.routes.items(), key=lambda each: -each[1]),
        phrase("In force", "by the version in force", lambda of: way_name(*of[0][0])),
        phrase("With the file", "by the changed definition", lambda of: way_name(*of[0][1])),
        figure("Items", "that went so", lambda of: count(of[1])),
        figure("Share", "of all that were tried", lambda of: share(of[1] / trial.items)),
    )


def _sides(trial: Trial) -> Table[tuple[str, Callable[[TrialSide], str]]]:
    rows: list[tuple[str, Callable[[TrialSide], str]]] = [
        ("Cost as routed, estimated", lambda of: usd(of.usd)),
        (f"Expected late, of {pluralize(trial.due, 'item')} due", lambda of: f"{of.late:,.1f}"),
        ("Items on which a rule failed", lambda of: count(of.faults)),
    ]
    return Table(
        "What both cost",
        rows,
        label("", lambda of: of[0]),
        figure("In force", "", lambda of: of[1](trial.before)),
        figure("With the file", "", lambda of: of[1](trial.after)),
        note=SIDES,
    )


def _trial_data(
    trial: Trial, since: datetime, until: datetime, unread: int, notes: Sequence[str]
) -> dict[str, Any]:
    def side(of: TrialSide) -> dict[str, Any]:
        failed = {"rule_failures": of.faults, "first_failure": of.first_fault}
        return {"usd": of.usd, "late": of.late, **failed}

    def place(of: Place) -> dict[str, Any]:
        return {"lane": of[0], "reason": of[1]}

    routes = sorted(trial.routes.items(), key=lambda each: -each[1])
    changed = differences(trial.in_force.spec, trial.changed.spec)
    return {
        "workload": trial.in_force.workload,
        "version": trial.in_force.number,
        "since": since,
        "until": until,
        "items": trial.items,
        "moved": trial.moved_items,
        "due": trial.due,
        "left_out": unread,
        "differences": [each.as_data() for each in changed],
        "in_force": side(trial.before),
        "with_file": side(trial.after),
        "routes": [
            {"before": place(was), "after": place(is_), "items": number}
            for (was, is_), number in routes
        ],
        "examples": [asdict(each) for each in trial.examples],
        "notes": list(notes),
    }


Show = Callable[[Forecast, ZoneInfo], RenderableType]
SHOWN = 20  # bad lines that are listed
ANSWERED = "real time after what already waits; a batch with the workload's `confidence`"
BY = "real time after what already waits; a batch with this probability"
FROM_WHEN = (
    f"With --with: from when on, a span such as {SINCE} (the default), or an ISO 8601 moment."
)
HOW_MANY = f"With --with: the largest number of items, the newest first; {MOST:,} by default."
AT_ONCE = 500  # lines whose history one statement reads


@Parameter(name="*")
@dataclass(frozen=True)
class Due:
    """The due time of a file's items that have none.

    Attributes:
        by: Due time of items without one: a time of day such as 06:00, a span such as 8h, or a moment.
        zone: Time zone of --by, such as Europe/Berlin. The default: the workload's.
    """

    by: str | None = None
    zone: str | None = None


@command
def quote(
    file: Path,
    *,
    workload: str,
    due: Due = Due(),
    columns: Columns = Columns(),
    as_json: AsJson = False,
) -> int:
    """Estimate a file's cost on each lane, alone and packed, and as routed, and when or how probably a batch returns.

    Nothing is sent. With --by the items are routed as if they were due then, and each batch shows the probability that it
    returns by then; without it, when it returns with the workload's confidence. Budgets beyond their soft limits and the load
    of the real-time lane are taken into account as they are now.

    Exit code 1 when some lines are no items, 2 when there are none at all, or the file, the time or the zone cannot be read.

    Example: lanes quote tickets.jsonl --workload tickets --by 06:00
    """
    return _look(file, workload, columns, costs, as_json, due)


@command
def dry_run(
    file: Path | None = None,
    *,
    workload: str | None = None,
    with_: Path | None = None,
    since: Annotated[str | None, Parameter(help=FROM_WHEN)] = None,
    most: Annotated[int | None, Parameter(help=HOW_MANY)] = None,
    columns: Columns = Columns(),
    as_json: AsJson = False,
) -> int:
    """Show where items would go, and why: a file's items if they arrived now, or past items with a changed definition.

    Nothing is sent, published or written. With --with, the definition in a YAML file is tried on the traffic of its workload:
    which items would move between lanes and reasons, what both would cost, and how many would be late, before it is published.

    Exit code 1 when some lines are no items or the definition cannot be published, 2 when there are no items to examine.

    Examples:
    `lanes dry-run tickets.jsonl --workload tickets`

    `lanes dry-run --since 7d --with tickets.yaml`

    Args:
        with_: A changed definition (YAML), tried on the items received since --since.
    """
    of_lines = _format_given({f"--{n.replace('_', '-')}": v for n, v in asdict(columns).items()})
    of_traffic = _format_given({"--since": since, "--most": most})
    if with_ is not None and file is None:
        if of_lines:
            message = "that is about the lines of a file, and --with looks at what came"
            raise WrongUsage(f"{of_lines}: {message}")
        began, limit = SINCE if since is None else since, MOST if most is None else most
        try_definition(with_, workload, since=began, most=limit, as_json=as_json)
        return 0
    if file is None or workload is None or with_ is not None:
        wanted = "FILE with --workload W, for a file; or --with DEFINITION, for what came"
        raise WrongUsage(f"say what to look at: {wanted}")
    if of_traffic:
        raise WrongUsage(f"{of_traffic}: that is about what came, and belongs to --with")
    return _look(file, workload, columns, routes, as_json, Due())


def _format_given(options: Mapping[str, object]) -> str:
    """Return the names of the given options, separated by commas."""
    return ", ".join(name for name, value in options.items() if value is not None)


def _look(file: Path, workload: str, layout: Layout, show: Show, as_json: bool, due: Due) -> int:
    running.check_file(file)
    with running.database() as pool:
        with pool.begin() as connection:
            now = clock(connection)
            version = workloads.read_versions(connection).get(workload)
            lanes = LaneConditions(
                workloads.splits(connection),
                turnarounds.prospects(connection, now=now),
                budgets.statuses(connection, [workload], now=now),
                lane_load.snapshot(
                    connection, accounts.read_account(connection, workload), now=now
                ),
                sharing.read_cached(connection, now=now),
            )
            overhead = overheads.read_each(asking.through(connection), [workload], now=now)[
                workload
            ]
        if version is None:
            raise UnknownWorkload(f'workload "{workload}" has no published version')
        try:
            zone = zone_of(due.zone or version.spec.timezone)
            due_at = None if due.by is None else options.by(due.by, now, zone)
            read = read_lines(file, workload, layout, now=now)
            lines = _add_history(pool, read, version, now)
            file_forecast = forecast(lines, version, lanes, now=now, by=due_at)
        except ValueError as error:
            raise WrongUsage(error) from error
        except LookupError as error:
            raise SetupError(f'workload "{workload}" cannot be priced: {error}') from error
    if as_json:
        running.print_json({**_data(file_forecast), "overheads": asdict(overhead)})
    else:
        if file_forecast.items:
            console = running.screen(110, highlight=False)
            console.print(show(file_forecast, zone))
            if show is costs:
                console.print(f"K{overhead.sentence[1:]}.")
        for refusal in file_forecast.bad[:SHOWN]:
            print(f"{refusal.place}: {refusal.reason}: {refusal.detail}", file=sys.stderr)
        if len(file_forecast.bad) > SHOWN:
            print(f"and {pluralize(len(file_forecast.bad) - SHOWN, 'line')} more", file=sys.stderr)
    if not file_forecast.items and not file_forecast.bad:
        raise WrongUsage(f'"{file}" has no items')
    return 1 if file_forecast.bad else 0


def _add_history(
    pool: Engine, lines: Iterable[FileLine | Refusal], version: Version, now: datetime
) -> Iterator[FileLine | Refusal]:
    """Yield the lines with the payload lengths of their entities' earlier items: stored ones, and those of previous lines.

    A batch includes these items in its prompts, which adds cost.
    """
    most, reading = version.spec.context.entity.items, iter(lines)
    history = dict[str, list[tuple[datetime, int]]]()
    while most and (chunk := list(islice(reading, AT_ONCE))):
        asking = {
            place: (entity, each.submission.occurred_at or now)
            for place, each in enumerate(chunk)
            if isinstance(each, FileLine) and (entity := each.submission.entity) is not None
        }
        with pool.begin() as connection:
            places = list(asking.values())
            stored = full_data.lengths_before(connection, version, places)
        for (place, (entity, moment)), stored_lengths in zip(asking.items(), stored, strict=True):
            line, of_file = chunk[place], history.setdefault(entity, [])
            assert isinstance(line, FileLine)
            earlier = [*stored_lengths, *of_file[: bisect_left(of_file, moment, key=itemgetter(0))]]
            newest = sorted(earlier, key=itemgetter(0), reverse=True)[:most]
            chunk[place] = replace(line, earlier=[length for _, length in newest])
            insort(of_file, (moment, characters(line.submission.payload)), key=itemgetter(0))
        yield from chunk
    yield from reading


def _data(file_forecast: Forecast) -> dict[str, Any]:
    routes = sorted(file_forecast.routes.items())
    route_rows = [{"lane": way[0], "reason": way[1], "items": number} for way, number in routes]
    return {**asdict(file_forecast), "routes": route_rows}


def costs(file_forecast: Forecast, zone: ZoneInfo) -> RenderableType:
    """Show each way to answer all items, and how they would be routed: calls, cost, and end time."""
    done, meaning = "Answered", ANSWERED
    if file_forecast.by is not None:
        done, meaning = f"By {_local(file_forecast.by, zone)}", BY

    def per_thousand(plan: FilePlan | None) -> str:
        return (
            usd(_usd(plan, file_forecast) / file_forecast.items * 1000)
            if file_forecast.items
            else MISSING
        )

    # None stands for "as routed now"
    table = Table[FilePlan | None](
        f"{_describe_items(file_forecast)}: estimates in USD",
        [*file_forecast.plans, None],
        label("", lambda plan: "As routed now" if plan is None else _name(plan)),
        figure("Calls", "to the provider", lambda plan: count(plan.calls) if plan else ""),
        figure(
            "Cost",
            "at the current pack sizes and cache hits",
            lambda of: usd(_usd(of, file_forecast)),
        ),
        figure("Per 1,000", "items", per_thousand),
        phrase(done, meaning, lambda plan: _describe_end(plan, zone) if plan else ""),
    )
    legend = f"{table.legend} As routed now: with the authoritative pass where one is due."
    notes = (Text(each, "yellow") for each in file_forecast.notes)
    return Group(render_terminal(table, below=legend), *notes)


def routes(file_forecast: Forecast, zone: ZoneInfo) -> RenderableType:
    """Show where the items would go if they arrived now, by reason, with share and example."""
    ways = file_forecast.routes

    def example(way: tuple[Lane, str]) -> str:
        one = next(
            (each for each in file_forecast.examples if (each.lane, each.reason) == way), None
        )
        return f"{one.place}: {one.explanation}" if one else MISSING

    table = Table(
        f"{_describe_items(file_forecast)}, if they arrived now",
        sorted(ways, key=lambda way: -ways[way]),
        label("Lane", lambda way: lane_name(way[0])),
        label("Reason", lambda way: reason_name(way[1])),
        figure("Items", "that would go there", lambda way: count(ways[way])),
        figure(
            "Share", "of the items of the file", lambda way: share(ways[way] / file_forecast.items)
        ),
        label("For example", example),
    )
    return render_terminal(table, below=table.legend)


def _describe_items(file_forecast: Forecast) -> str:
    return f"{pluralize(file_forecast.items, 'item')} of {plain(file_forecast.workload)}, version {file_forecast.version}"


def _usd(plan: FilePlan | None, file_forecast: Forecast) -> Decimal:
    return file_forecast.as_routed_usd if plan is None else plan.usd


def _name(plan: FilePlan) -> str:
    name = "All real-time" if plan.lane is Lane.REALTIME else "All batch"
    return f"{name}, each alone" if plan.pack == 1 else f"{name}, {plan.pack} a call"


def _describe_end(plan: FilePlan, zone: ZoneInfo) -> str:
    """Return when the items of a plan are answered, or the probability that they are by the due time."""
    if plan.lane is Lane.REALTIME:
        return MISSING if plan.takes_s is None else f"takes about {seconds(plan.takes_s)}"
    if plan.probability is not None:
        return f"{percent(plan.probability)} chance"
    return MISSING if plan.back_at is None else f"back by {_local(plan.back_at, zone)}"


def _local(at: datetime, zone: ZoneInfo) -> str:
    local = at.astimezone(zone)
    return f"{local:%Y-%m-%d %H:%M} {local.tzname()}"
