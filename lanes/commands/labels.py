"""The commands for labeled items: a workload's golden set, its review queue, and accepted changes of quality."""

import getpass
import json
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from string import ascii_lowercase, digits
from typing import Any, Literal

from pydantic import Field
from sqlalchemy import Connection, Engine

from lanes.commands import running
from lanes.commands.actions import Done, PersonAction, require_version
from lanes.commands.options import NONE_GIVEN, AsJson, Columns, Why
from lanes.doors.filedoor import Layout, line_weight, read_lines
from lanes.doors.item import Refusal
from lanes.errors import ActionRefused, UnknownItem
from lanes.packing import MOST_BYTES, chunks
from lanes.report.table import Table, label, render_markdown
from lanes.store.database import clock
from lanes.store.doors import items
from lanes.store.promises import recording
from lanes.store.settling import decisions
from lanes.store.settling.decisions import ReviewedItem
from lanes.store.workload import golden as golden_sets
from lanes.store.workload import workloads
from lanes.store.workload.golden import GoldenLine
from lanes.text import cell, code, plain, strip_controls
from lanes.units import pluralize
from lanes.words import Signature
from lanes.workload.form import Line
from lanes.workload.golden import label_check, label_faults
from lanes.workload.schemas import list_closed_fields
from lanes.workload.version import Spec, Version

CHUNK = 500  # lines of a file that one statement adds
SHOWN = 20  # refused lines that are listed
MOST_RUNS = 10


@running.command
def golden(
    do: Literal["add", "remove", "list"],
    *what: str,
    workload: str,
    columns: Columns = Columns(),
    as_json: AsJson = False,
) -> int:
    """Manage the golden set of a workload: labeled items that a new version answers before it is in force.

    add reads the lines of a JSONL or CSV file as `lanes submit` does, each with its label; a line replaces the item with the
    same key. remove takes keys. list shows the set and how the newest versions answered it. A version that is currently
    answering the set continues with the set as it was.

    Example: lanes golden add golden.jsonl --workload tickets

    Exit code 1 when a line is refused or a key is not in the set, 2 when there is no such workload or file.

    Args:
        do: The action on the set.
        what: To add: the file. To remove: the keys.
        workload: The workload of the set.
    """
    match do:
        case "add":
            if len(what) != 1:
                raise running.WrongUsage(
                    "add takes one file: lanes golden add FILE --workload NAME"
                )
            return _add(Path(what[0]), workload, columns, as_json)
        case "remove":
            if not what:
                raise running.WrongUsage(
                    "remove takes keys: lanes golden remove KEY --workload NAME"
                )
            return _remove(what, workload, as_json)
        case "list":
            if what:
                raise running.WrongUsage(
                    "list takes no file or key: lanes golden list --workload NAME"
                )
            return _list(workload, as_json)


def _add(file: Path, workload: str, layout: Layout, as_json: bool) -> int:
    with running.transaction() as (connection, _):
        workloads.check_known(connection, workload)
        golden_lines = add_file(connection, file, workload, layout)
    refused = [each for each in golden_lines if each.is_refused]
    outcomes = Counter(each.outcome for each in golden_lines)
    if as_json:
        running.print_json({"outcomes": outcomes, "refused": [asdict(each) for each in refused]})
        return 1 if refused else 0
    print(
        ", ".join(f"{number:,} {outcome}" for outcome, number in sorted(outcomes.items()))
        or "no lines"
    )
    print(*refusals(refused), sep="\n", end="\n" * bool(refused), file=sys.stderr)
    return 1 if refused else 0


def refusals(golden_lines: Sequence[GoldenLine]) -> list[str]:
    """Return a sentence for each of the first refused lines, and the number of the others."""
    sentences = [
        f"{each.place}: {each.outcome}: {each.detail}" for each in golden_lines if each.is_refused
    ]
    return sentences[:SHOWN] + (
        [f"... and {len(sentences) - SHOWN} more"] if len(sentences) > SHOWN else []
    )


def add_file(
    connection: Connection, file: Path, workload: str, layout: Layout, spec: Spec | None = None
) -> list[GoldenLine]:
    """Add the lines of a file to the golden set, for `spec` or the version in force, and return the outcome of each.

    Raises:
        WrongUsage: the file does not exist or cannot be read.
    """
    running.check_file(file)
    golden_lines, now = list[GoldenLine](), clock(connection)
    signed: dict[str, Any] = {"spec": spec, "who": getpass.getuser(), "now": now}
    every = read_lines(file, workload, layout, now=now)
    try:
        for chunk in chunks(every, most=CHUNK, most_bytes=MOST_BYTES, weight=line_weight):
            bad = [each for each in chunk if isinstance(each, Refusal)]
            golden_lines += [
                GoldenLine(each.place, each.key, each.reason, each.detail) for each in bad
            ]
            good = [each for each in chunk if not isinstance(each, Refusal)]
            golden_lines += golden_sets.add(connection, workload, good, **signed)
    except ValueError as error:
        raise running.WrongUsage(error) from error
    return golden_lines


def _remove(keys: tuple[str, ...], workload: str, as_json: bool) -> int:
    with running.transaction() as (connection, now):
        removed = golden_sets.remove(connection, workload, keys, now=now)
    missing = [each for each in keys if each not in removed]
    message = f"{workload}: {pluralize(len(removed), 'golden item')} removed"
    running.tell(message, {"removed": removed, "missing": missing}, as_json=as_json)
    for each in missing:
        print(f'"{each}" is not in the golden set', file=sys.stderr)
    return 1 if missing else 0


def _list(workload: str, as_json: bool) -> int:
    with running.transaction() as (connection, _):
        workloads.check_known(connection, workload)
        golden_items = golden_sets.list_items(connection, workload)
        runs = golden_sets.runs(connection, workload, most=MOST_RUNS)
    if as_json:
        data = [asdict(each) | {"sentence": each.sentence} for each in runs]
        running.print_json({"items": [asdict(each) for each in golden_items], "runs": data})
        return 0
    table = Table(
        f"Golden set of {workload}: {pluralize(len(golden_items), 'item')}",
        golden_items,
        label("Key", lambda of: of.key),
        label("Expected", lambda of: plain(json.dumps(of.expected, ensure_ascii=False), most=80)),
        label("Added by", lambda of: of.who),
        label("When (UTC)", lambda of: f"{of.added_at:%Y-%m-%d %H:%M}"),
    )
    running.print_table(table, width=120)
    for each in runs:
        print(f"{each.began_at:%Y-%m-%d %H:%M} {plain(each.sentence, most=600)}")
    return 0


SKIP, UNDO, QUIT = "s", "u", "q"
KEYS = [each for each in digits[1:] + ascii_lowercase if each not in (SKIP, UNDO, QUIT)]


@running.command
def review(
    workload: str, *, most: int | None = None, answers: bool = False, as_json: AsJson = False
) -> int:
    """Label the most informative items, one after the other, with a key for each label.

    Half of them are a random sample of all answered items, from whose labels `lanes.accuracy` is estimated. The others have
    differing answers: from a correction, a shadow on the other lane, or a packing check. Each label is saved at once.

    Without a terminal, or with --json, the queue is listed.

    Example: lanes review tickets

    Args:
        most: Number of items, from 1. Without it, the remainder of 40 a day.
        answers: Show the answer, which may bias the label.
    """
    if most is not None and not 1 <= most <= decisions.REVIEWED_AMONG:
        raise running.WrongUsage(f"most: it is a number from 1 to {decisions.REVIEWED_AMONG:,}")
    with running.database() as pool:
        with pool.begin() as connection:
            version = require_version(connection, workload)
            queue = decisions.review_queue(connection, version, now=clock(connection), most=most)
        if as_json:
            hidden = {"id"} if answers else {"id", "answer"}
            rows = [{n: v for n, v in asdict(each).items() if n not in hidden} for each in queue]
            running.print_json({"workload": workload, "items": rows})
        elif sys.stdin.isatty() and sys.stdout.isatty():
            _label_all(pool, version, queue, answers)
        else:
            running.print_table(_table(workload, queue), width=120)
    return 0


def read_key() -> str:
    """Return the next key that is pressed, or `QUIT` if the terminal is closed."""
    import termios
    import tty

    terminal = sys.stdin.fileno()
    try:
        before = termios.tcgetattr(terminal)
        tty.setcbreak(terminal, termios.TCSADRAIN)  # must not discard keys that were typed ahead
        try:
            return os.read(terminal, 1).decode(errors="replace") or QUIT
        finally:
            termios.tcsetattr(terminal, termios.TCSADRAIN, before)
    except (OSError, termios.error):  # the terminal was closed
        return QUIT


def _label_all(
    pool: Engine, version: Version, queue: Sequence[ReviewedItem], answers: bool
) -> None:
    """Show each item and save its label, until the queue ends or the user quits."""
    closed = list_closed_fields(version.spec.output_schema, version.spec.compare_fields)
    fields = {name: values for name, values in closed.items() if len(values) <= len(KEYS)}
    if not fields:
        raise running.WrongUsage(
            f'no field of "{version.workload}" has a closed set of values, a key for each: --json lists the queue, and '
            'lanes.label with source "review" labels its items'
        )
    index, labeled, source = 0, set[int](), f"review:{getpass.getuser()}"
    while index < len(queue):
        item = queue[index]
        why = f"({', '.join(item.why)})"
        print(f"\n{index + 1} of {len(queue)}  {version.workload} / {plain(item.key)}  {why}")
        print(strip_controls(json.dumps(item.payload, indent=2, ensure_ascii=False)))
        if answers:
            print(f"answered: {strip_controls(json.dumps(item.answer, ensure_ascii=False))}")
        response = _ask_label(fields)
        if response == QUIT:
            break
        if response == UNDO:
            index = max(index - 1, 0)
            labeled.discard(index)
            with pool.begin() as connection:
                decisions.take_back_label(connection, queue[index].id, source=source)
            continue
        if isinstance(response, dict):
            with pool.begin() as connection:
                outcomes = items.label(
                    connection, version.workload, {item.key: response}, source=source
                )
            if outcomes[item.key] == "labeled":
                labeled.add(index)
            else:
                print(f"{plain(item.key)}: the label is refused as {outcomes[item.key]}")
        index += 1
    print(f"{len(labeled)} of {pluralize(len(queue), 'item')} labeled")


def _ask_label(fields: Mapping[str, Sequence[Any]]) -> dict[str, Any] | str:
    """Return the label with a value for each field, or the key of another action."""
    chosen: dict[str, Any] = {}
    for field, values in fields.items():
        of_key = dict(zip(KEYS, values, strict=False))
        shown = "  ".join(f"{key} {plain(value)}" for key, value in of_key.items())
        print(f"{plain(field)}:  {shown}  |  {SKIP} skip  {UNDO} undo  {QUIT} quit", flush=True)
        while (key := read_key()) not in of_key:
            if key in (SKIP, UNDO, QUIT):
                return key
        chosen[field] = of_key[key]
    return chosen


class LabelItem(PersonAction):
    """Label an item of the review queue, and write the queue as a page, without inputs and answers."""

    key: Line = Field(default="", title="Key")
    """The key of the item. Empty: only write the page."""
    expected: dict[str, Any] = Field(default={}, title="Expected")
    """The right value of each field, as JSON, for example {"category": "refund_request"}."""

    def perform(self, connection: Connection, now: datetime) -> Done:
        version = require_version(connection, self.workload)
        message, schema = "nothing was labeled", version.spec.output_schema
        for fault in label_faults(self.expected, schema, label_check(schema)):
            raise ActionRefused(f"expected: {fault}")
        if self.key:
            given, source = {self.key: self.expected}, f"review:{self.who}"
            match items.label(connection, self.workload, given, source=source)[self.key]:
                case "labeled":
                    message = f"{self.workload} / {self.key} is labeled"
                case "unknown_item":
                    raise UnknownItem(f'workload "{self.workload}" has no item "{self.key}"')
                case refusal:
                    raise ActionRefused(f"expected: the label is refused as {refusal}")
        queue = decisions.review_queue(connection, version, now=now)
        table = render_markdown(_table(self.workload, queue), most=decisions.LABELS_A_DAY)
        values = (
            f"- {code(field)}: {', '.join(code(strip_controls(json.dumps(each))) for each in known)}"
            for field, known in list_closed_fields(schema).items()
        )
        page = "\n".join((f"# Review queue of {cell(self.workload)}", "", table, "", *values, ""))
        page += f"\n`lanes review {self.workload}` shows their inputs."
        message = f"{message}; {pluralize(len(queue), 'item')} left to review today"
        return Done(message, page=page, key=f"lanes-review-{self.workload}")


def _table(workload: str, found: Sequence[ReviewedItem]) -> Table[ReviewedItem]:
    return Table(
        f"Review queue of {workload}: {pluralize(len(found), 'item')}",
        found,
        label("Key", lambda of: plain(of.key)),
        label("Why", lambda of: ", ".join(of.why)),
    )


class AcceptQuality(PersonAction):
    """Make the answers from now on the reference of every figure that has drifted."""

    def perform(self, connection: Connection, now: datetime) -> Done:
        by = Signature(self.who, self.why, now)
        return Done(recording.accept_quality(connection, self.workload, by))


@running.command
def accept_quality(workload: str, *, why: Why = NONE_GIVEN, as_json: AsJson = False) -> int:
    """Accept answers that have changed: new answers become the reference, and the incidents about the change end.

    Exit code 1 when no answers of the workload have changed, 2 when there is no such workload.
    """
    return running.perform(AcceptQuality, workload, why, as_json)
