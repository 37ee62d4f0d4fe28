"""`lanes dry-run --with FILE`: a changed definition tried on the traffic that came, before it is published."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from rich.text import Text

from lanes.commands import running
from lanes.commands.options import since as moment
from lanes.commands.running import WrongUsage, counting, print_table
from lanes.errors import SetupError, UnknownWorkload
from lanes.ids import VersionId
from lanes.report.summary import way_name
from lanes.report.table import Table, figure, label, phrase
from lanes.routing.forecast import Place, Trial, TrialRun, TrialSide
from lanes.routing.route import looks_inside
from lanes.store.database import clock
from lanes.store.money import sharing
from lanes.store.routing import traffic, turnarounds
from lanes.store.workload import workloads
from lanes.text import plain
from lanes.units import count, counted, share, usd
from lanes.workload.definition import differences
from lanes.workload.version import Version

SINCE = "7d"
MOST = 50_000
CHANGED = VersionId(0)  # of what no database knows
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
    """Show what the definition of the file would have done with past items."""
    wanted = running.read_definition(file, "cannot be published, and so not be tried")
    name = wanted.name
    if workload is not None and workload != name:
        raise WrongUsage(f'{file} defines the workload "{name}", not "{workload}"')
    if most < 1:
        raise WrongUsage(f"--most {most} is none: write 1 or more")
    with running.database() as pool:
        with pool.begin() as connection:
            version, splits = workloads.current(connection, name), workloads.splits(connection)
            now = clock(connection)
            known = turnarounds.known(connection, now=now)
            shares = sharing.known(connection, now=now)
        if version is None:
            raise UnknownWorkload(
                f'workload "{name}" has no published version, and so no traffic; try a file: '
                f"`lanes preview`, or publish it and `lanes dry-run FILE --workload {name}`"
            )
        began_at = moment(since, now, "--since ")
        trial = Trial(version, Version(CHANGED, name, version.number, wanted.spec))
        trying, unread = TrialRun(trial, splits, known, now, shares), 0
        read = any(looks_inside(each) for each in (trial.in_force, trial.changed))
        contexts = [each.spec.context for each in (trial.in_force, trial.changed)]
        deepest = max(contexts, key=lambda of: of.depth)
        try:
            with counting(f"Trying {name}", "items decided") as counted_so_far:
                came = traffic.received_since(
                    pool, name, since=began_at, most=most, read=read, context=deepest
                )
                for seen in came:
                    for item in seen.items:
                        trying.add(item)
                    unread += seen.unread
                    counted_so_far.add(len(seen.items))
        except LookupError as error:
            raise SetupError(f'workload "{name}" cannot be priced: {error}') from error
    if not trial.items:
        gone = f"; {counted(unread, 'item')} of it say nothing any more" if unread else ""
        came_since = f"{began_at:%Y-%m-%d %H:%M} UTC"
        raise WrongUsage(f'nothing of workload "{name}" came since {came_since}{gone}')
    notes = _notes(trial, unread, cut=trial.items >= most)
    if as_json:
        running.print_json(_data(trial, began_at, now, unread, notes))
        return
    print_table(_moves(trial, now - began_at), width=120)
    print()
    print_table(_sides(trial), width=120)
    console = running.screen(120, highlight=False)
    for each in notes:
        console.print(Text(each, "yellow"))


def _notes(trial: Trial, unread: int, *, cut: bool) -> list[str]:
    told = list[str]()
    changed = [each.field for each in differences(trial.in_force.spec, trial.changed.spec)]
    if not changed:
        told.append(f"nothing differs from version {trial.in_force.number}, which is in force")
    if "split_percent" in changed:
        told.append(SPLIT_STAYS)
    if cut:
        newest = counted(trial.items, "item")
        told.append(f"only the newest {newest} of the period; --most takes more")
    if unread:
        told.append(f"{counted(unread, 'item')} left out: what they said was erased")
    for name, side in (("in force", trial.before), ("with the file", trial.after)):
        if side.first_fault is not None:
            on, first = counted(side.faults, "item"), plain(side.first_fault, most=300)
            told.append(f"{name}, a rule failed on {on}, first on {first}")
    return told


def _moves(trial: Trial, span: timedelta) -> Table[tuple[tuple[Place, Place], int]]:
    hours = round(span.total_seconds() / 3600)
    over = counted(hours // 24, "day") if hours >= 48 else counted(hours, "hour")
    title = (
        f"{counted(trial.items, 'item')} of {plain(trial.in_force.workload)} in {over}: {counted(trial.moved, 'item')} "
        f"({share(trial.moved / trial.items)}) would move from version {trial.in_force.number}"
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
        (f"Expected late, of {counted(trial.due, 'item')} due", lambda of: f"{of.late:,.1f}"),
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


def _data(
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
        "moved": trial.moved,
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
