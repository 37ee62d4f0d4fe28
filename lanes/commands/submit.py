"""`lanes submit`: a file through the file door."""

import sys
from collections import Counter
from pathlib import Path

from rich.markup import escape
from rich.progress import Progress
from sqlalchemy import Engine

from lanes.commands.options import AsJson, Columns
from lanes.commands.running import WrongUsage, check_file, command, database, print_json
from lanes.doors.filedoor import BadLine, Layout, count_lines
from lanes.stand.console import Console
from lanes.store.database import clock
from lanes.store.doors.items import admit_file

SHOWN = 20


@command
def submit(
    file: Path,
    *,
    workload: str,
    columns: Columns = Columns(),  # noqa: B008
    as_json: AsJson = False,
) -> int:
    """Submit every line of a JSONL or CSV file as an item.

    A line is an event's payload ({"key", "payload", "due_at", ...}), or with --field a row whose column holds the
    text. A bad line is reported with its number and kept in lanes.rejected_log; the others are admitted.
    Exit code 0 all admitted, 1 some refused, 2 the file cannot be read at all.
    """
    check_file(file)
    with database() as pool:
        try:
            outcomes, bad = _admitted(pool, file, workload, columns)
        except ValueError as error:
            raise WrongUsage(error) from error
    if as_json:
        lines = [{"place": b.place, "reason": b.reason, "detail": b.detail} for b in bad]
        print_json({"outcomes": outcomes, "refused": lines})
    else:
        told = (f"{number:,} {outcome}" for outcome, number in sorted(outcomes.items()))
        print(", ".join(told) or "no lines")
        for each in bad[:SHOWN]:
            print(f"{each.place}: {each.reason}: {each.detail}", file=sys.stderr)
        if len(bad) > SHOWN:
            print(f"... and {len(bad) - SHOWN} more in lanes.rejected_log", file=sys.stderr)
    return 1 if bad else 0


def _admitted(
    pool: Engine, file: Path, workload: str, layout: Layout
) -> tuple[Counter[str], list[BadLine]]:
    outcomes: Counter[str] = Counter()
    bad: list[BadLine] = []
    with pool.begin() as connection:
        now = clock(connection)
    with Progress(console=Console(stderr=True), transient=True) as bars:
        bar = bars.add_task(escape(file.name), total=count_lines(file))
        for admitted in admit_file(pool, file, workload, layout, now=now):
            outcomes += admitted.outcomes
            bad += admitted.bad
            bars.update(bar, completed=sum(outcomes.values()))
    return outcomes, bad
