"""`lanes submit`: a file through the file door."""

import sys
from collections import Counter
from pathlib import Path

from rich.markup import escape
from rich.progress import Progress
from sqlalchemy import Engine

from lanes.commands.options import AsJson, Columns
from lanes.commands.running import on_database, print_json
from lanes.doors.filedoor import BadLine, Layout, count_lines
from lanes.stand.console import Console
from lanes.store.database import clock
from lanes.store.doors.items import admit_file

SHOWN = 20


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
    if not file.is_file():
        print(f'there is no file "{file}"', file=sys.stderr)
        return 2

    def send(pool: Engine) -> int:
        try:
            outcomes, bad = _admitted(pool, file, workload, columns)
        except ValueError as error:
            print(str(error), file=sys.stderr)
            return 2
        _say(outcomes, bad, as_json)
        return 1 if bad else 0

    return on_database(send)


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


def _say(outcomes: Counter[str], bad: list[BadLine], as_json: bool) -> None:
    if as_json:
        lines = [{"place": b.place, "reason": b.reason, "detail": b.detail} for b in bad]
        print_json({"outcomes": outcomes, "refused": lines})
        return
    print(
        ", ".join(f"{number:,} {outcome}" for outcome, number in sorted(outcomes.items()))
        or "no lines"
    )
    for each in bad[:SHOWN]:
        print(f"{each.place}: {each.reason}: {each.detail}", file=sys.stderr)
    if len(bad) > SHOWN:
        print(f"... and {len(bad) - SHOWN} more in lanes.rejected_log", file=sys.stderr)
