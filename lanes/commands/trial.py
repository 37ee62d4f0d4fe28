"""`lanes dry-run --with FILE`: a changed definition tried on the traffic that came, before it is published."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text
from sqlalchemy import Engine

from lanes.commands.options import since as moment
from lanes.commands.outlet import counting
from lanes.commands.running import on_database, print_json, screen
from lanes.errors import SpecInvalid, UnknownWorkload
from lanes.ids import VersionId
from lanes.report.summary import lane_name, reason_name
from lanes.report.table import explained, titled
from lanes.routing.route import looks_inside
from lanes.routing.trial import Place, Trial, TrialRun, TrialSide
from lanes.store.database import clock
from lanes.store.money import sharing
from lanes.store.routing import traffic, turnarounds
from lanes.store.workload import workloads
from lanes.text import plain
from lanes.units import count, counted, share, usd
from lanes.workload import definition_file
from lanes.workload.definition import differences
from lanes.workload.definition_file import NamedSpec
from lanes.workload.version import Version

SINCE = "7d"
MOST = 50_000
CHANGED = VersionId(0)  # of what no database knows
LEGEND = {
    "Items": "that went by the version in force as the first column says, and by the file as the second",
    "Share": "of all that were tried",
    "Cost as routed": "with the authoritative pass where one is owed",
    "Expected late": "in batches, each by its probability",
    "Items on which a rule failed": "it does not hold of them then",
}


def try_definition(
    file: Path, workload: str | None, *, since: str, most: int, as_json: bool
) -> int:
    """Show what the definition of the file would have done with past items, and return the exit code."""
    if not file.is_file():
        print(f'there is no file "{file}"', file=sys.stderr)
        return 2
    try:
        wanted = definition_file.read(definition_file.bytes_of(file), file=file.name)
    except SpecInvalid as invalid:
        print(f"{file} cannot be published, and so not be tried:", file=sys.stderr)
        print(*(f"  {each}" for each in invalid.problems), sep="\n", file=sys.stderr)
        return 1
    if workload is not None and workload != wanted.name:
        print(f'{file} defines the workload "{wanted.name}", not "{workload}"', file=sys.stderr)
        return 2
    if most < 1:
        print(f"--most {most} is none: write 1 or more", file=sys.stderr)
        return 2
    return on_database(lambda pool: _try(pool, wanted, since, most, as_json))


def _try(pool: Engine, wanted: NamedSpec, since: str, most: int, as_json: bool) -> int:
    with pool.begin() as connection:
        version, splits = workloads.current(connection, wanted.name), workloads.splits(connection)
        now = clock(connection)
        known, shares = turnarounds.known(connection, now=now), sharing.known(connection, now=now)
    if version is None:
        raise UnknownWorkload(
            f'workload "{wanted.name}" has no published version, and so no traffic; try a file: '
            f"`lanes preview`, or publish it and `lanes dry-run FILE --workload {wanted.name}`"
        )
    try:
        began_at = moment(since, now)
    except ValueError as error:
        print(f"--since {error}", file=sys.stderr)
        return 2
    trial = Trial(version, Version(CHANGED, wanted.name, version.number, wanted.spec))
    trying, unread = TrialRun(trial, splits, known, now, shares), 0
    read = any(looks_inside(each) for each in (trial.in_force, trial.changed))
    history = max(each.spec.history_items for each in (trial.in_force, trial.changed))
    try:
        with counting(f"Trying {wanted.name}", "items decided") as counted_so_far:
            came = traffic.received_since(
                pool, wanted.name, since=began_at, most=most, read=read, history=history
            )
            for seen in came:
                for item in seen.items:
                    trying.add(item)
                unread += seen.unread
                counted_so_far.add(len(seen.items))
    except LookupError as error:
        print(f'workload "{wanted.name}" cannot be priced: {error}', file=sys.stderr)
        return 1
    if not trial.items:
        gone = f"; {counted(unread, 'item')} of it say nothing any more" if unread else ""
        print(
            f'nothing of workload "{wanted.name}" came since {began_at:%Y-%m-%d %H:%M} UTC{gone}',
            file=sys.stderr,
        )
        return 2
    notes = _notes(trial, unread, cut=trial.items >= most)
    if as_json:
        print_json(_data(trial, began_at, now, unread, notes))
    else:
        said = Text(explained(LEGEND), "dim"), *(Text(each, "yellow") for each in notes)
        shown = Group(*titled(_moves(trial, now - began_at)), Text(), _sides(trial), *said)
        screen(120, highlight=False).print(shown)
    return 0


def _notes(trial: Trial, unread: int, *, cut: bool) -> list[str]:
    told = list[str]()
    changed = [each.field for each in differences(trial.in_force.spec, trial.changed.spec)]
    if not changed:
        told.append(f"nothing differs from version {trial.in_force.number}, which is in force")
    if "split_percent" in changed:
        told.append(
            "split_percent counts when a workload is first published: the split in force was taken for both"
        )
    if cut:
        told.append(
            f"only the newest {counted(trial.items, 'item')} of the period; --most takes more"
        )
    if unread:
        told.append(f"{counted(unread, 'item')} left out: what they said was erased")
    for name, side in (("in force", trial.before), ("with the file", trial.after)):
        if side.first_fault is not None:
            first = plain(side.first_fault, most=300)
            told.append(
                f"{name}, a rule failed on {counted(side.faults, 'item')}, first on {first}"
            )
    return told


def _moves(trial: Trial, span: timedelta) -> Table:
    hours = round(span.total_seconds() / 3600)
    over = counted(hours // 24, "day") if hours >= 48 else counted(hours, "hour")
    title = (
        f"{counted(trial.items, 'item')} of {plain(trial.in_force.workload)} in {over}: {counted(trial.moved, 'item')} "
        f"({share(trial.moved / trial.items)}) would move from version {trial.in_force.number}"
    )
    table = _table(title, ["In force", "With the file", "Items", "Share"])
    for (before, after), number in sorted(trial.routes.items(), key=lambda each: -each[1]):
        style = "bold" if before[0] is not after[0] else None
        table.add_row(
            _place(before), _place(after), count(number), share(number / trial.items), style=style
        )
    return table


def _sides(trial: Trial) -> Table:
    table = _table("", ["", "In force", "With the file"])
    sides = (trial.before, trial.after)
    table.add_row("Cost as routed, estimated", *(usd(each.usd) for each in sides))
    table.add_row(
        f"Expected late, of {counted(trial.due, 'item')} due",
        *(f"{each.late:,.1f}" for each in sides),
    )
    table.add_row("Items on which a rule failed", *(count(each.faults) for each in sides))
    return table


def _place(of: Place) -> str:
    return f"{lane_name(of[0])}, {reason_name(of[1])}"


def _table(title: str, headings: Sequence[str]) -> Table:
    table = Table(
        title=title or None,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
    )
    for heading in headings:
        table.add_column(
            heading,
            justify="right" if heading in ("Items", "Share") or (not title and heading) else "left",
        )
    return table


def _data(
    trial: Trial, since: datetime, until: datetime, unread: int, notes: Sequence[str]
) -> dict[str, Any]:
    def side(of: TrialSide) -> dict[str, Any]:
        return {
            "usd": of.usd,
            "late": of.late,
            "rule_failures": of.faults,
            "first_failure": of.first_fault,
        }

    def place(of: Place) -> dict[str, Any]:
        return {"lane": of[0], "reason": of[1]}

    routes = sorted(trial.routes.items(), key=lambda each: -each[1])
    return {
        "workload": trial.in_force.workload,
        "version": trial.in_force.number,
        "since": since,
        "until": until,
        "items": trial.items,
        "moved": trial.moved,
        "due": trial.due,
        "left_out": unread,
        "differences": [
            each.as_data() for each in differences(trial.in_force.spec, trial.changed.spec)
        ],
        "in_force": side(trial.before),
        "with_file": side(trial.after),
        "routes": [
            {"before": place(was), "after": place(is_), "items": number}
            for (was, is_), number in routes
        ],
        "examples": [asdict(each) for each in trial.examples],
        "notes": list(notes),
    }
