"""`lanes golden`: the labeled items of a workload that a new version answers before it is in force."""

import getpass
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Connection

from lanes.commands.options import AsJson, Columns
from lanes.commands.running import (
    WrongUsage,
    check_file,
    command,
    print_json,
    print_table,
    tell,
    transaction,
)
from lanes.doors.filedoor import BadLine, Layout, read_lines
from lanes.json_data import weight
from lanes.packing import MOST_BYTES, chunks
from lanes.report.table import Table, label
from lanes.store.database import clock
from lanes.store.workload import golden as golden_sets
from lanes.store.workload import workloads
from lanes.store.workload.golden import GoldenLine
from lanes.text import plain
from lanes.units import counted
from lanes.workload.version import Spec

CHUNK = 500  # lines of a file that are added in one statement
SHOWN = 20  # refused lines
MOST_RUNS = 10


@command
def golden(
    do: Literal["add", "remove", "list"],
    *what: str,
    workload: str,
    columns: Columns = Columns(),
    as_json: AsJson = False,
) -> int:
    """Keep the golden set of a workload: labeled items that a new version answers before it is in force.

    add takes the lines of a JSONL or CSV file as `lanes submit` does, each with its label; a line replaces the item of the same
    key. remove takes keys. list shows the set and what the newest versions answered. A version that is answering the set goes
    on with the set as it was.

    Example: lanes golden add golden.jsonl --workload tickets

    Exit code 1 when a line is refused or a key is not in the set, 2 when there is no such workload or file.

    Args:
        do: What to do with the set.
        what: To add: the file. To remove: the keys.
        workload: Whose set it is.
    """
    match do:
        case "add":
            if len(what) != 1:
                raise WrongUsage("add takes one file: lanes golden add FILE --workload NAME")
            return _add(Path(what[0]), workload, columns, as_json)
        case "remove":
            if not what:
                raise WrongUsage("remove takes keys: lanes golden remove KEY --workload NAME")
            return _remove(what, workload, as_json)
        case "list":
            if what:
                raise WrongUsage("list takes no file or key: lanes golden list --workload NAME")
            return _list(workload, as_json)


def _add(file: Path, workload: str, layout: Layout, as_json: bool) -> int:
    with transaction() as (connection, _):
        workloads.check_known(connection, workload)
        told = add_file(connection, file, workload, layout)
    refused = [each for each in told if each.is_refused]
    outcomes = Counter(each.outcome for each in told)
    if as_json:
        print_json({"outcomes": outcomes, "refused": [asdict(each) for each in refused]})
        return 1 if refused else 0
    print(
        ", ".join(f"{number:,} {outcome}" for outcome, number in sorted(outcomes.items()))
        or "no lines"
    )
    print(*refusals(refused), sep="\n", end="\n" * bool(refused), file=sys.stderr)
    return 1 if refused else 0


def refusals(told: Sequence[GoldenLine]) -> list[str]:
    """Return a sentence for each refused line, the first ones and how many more."""
    said = [f"{each.place}: {each.outcome}: {each.detail}" for each in told if each.is_refused]
    return said[:SHOWN] + ([f"... and {len(said) - SHOWN} more"] if len(said) > SHOWN else [])


def add_file(
    connection: Connection, file: Path, workload: str, layout: Layout, spec: Spec | None = None
) -> list[GoldenLine]:
    """Add the lines of a file to the golden set, for `spec` or the version in force, and return the outcome of each.

    Raises:
        WrongUsage: there is no such file, or it cannot be read.
    """
    check_file(file)
    told, now = list[GoldenLine](), clock(connection)
    signed: dict[str, Any] = {"spec": spec, "who": getpass.getuser(), "now": now}
    every = read_lines(file, workload, layout, now=now)
    try:
        for chunk in chunks(every, most=CHUNK, most_bytes=MOST_BYTES, weight=_weight):
            bad = [each for each in chunk if isinstance(each, BadLine)]
            told += [GoldenLine(each.place, each.key, each.reason, each.detail) for each in bad]
            good = [each for each in chunk if not isinstance(each, BadLine)]
            told += golden_sets.add(connection, workload, good, **signed)
    except ValueError as error:
        raise WrongUsage(error) from error
    return told


def _weight(line: Any) -> int:
    return weight(line.content if isinstance(line, BadLine) else line.submission.payload)


def _remove(keys: tuple[str, ...], workload: str, as_json: bool) -> int:
    with transaction() as (connection, now):
        removed = golden_sets.remove(connection, workload, keys, now=now)
    missing = [each for each in keys if each not in removed]
    said = f"{workload}: {counted(len(removed), 'golden item')} removed"
    tell(said, {"removed": removed, "missing": missing}, as_json=as_json)
    for each in missing:
        print(f'"{each}" is not in the golden set', file=sys.stderr)
    return 1 if missing else 0


def _list(workload: str, as_json: bool) -> int:
    with transaction() as (connection, _):
        workloads.check_known(connection, workload)
        found = golden_sets.listed(connection, workload)
        runs = golden_sets.runs(connection, workload, most=MOST_RUNS)
    if as_json:
        told = [asdict(each) | {"sentence": each.sentence} for each in runs]
        print_json({"items": [asdict(each) for each in found], "runs": told})
        return 0
    table = Table(
        f"Golden set of {workload}: {counted(len(found), 'item')}",
        found,
        label("Key", lambda of: of.key),
        label("Expected", lambda of: plain(json.dumps(of.expected, ensure_ascii=False), most=80)),
        label("Added by", lambda of: of.who),
        label("When (UTC)", lambda of: f"{of.added_at:%Y-%m-%d %H:%M}"),
    )
    print_table(table, width=120)
    for each in runs:
        print(f"{each.began_at:%Y-%m-%d %H:%M} {plain(each.sentence, most=600)}")
    return 0
