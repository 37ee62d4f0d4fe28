"""`lanes run`: the main job on this checkout's stand, from nothing to the report."""

import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TextIO

from cyclopts import Parameter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from lanes.commands.guarded import guarded
from lanes.filedoor import Layout, count_lines
from lanes.local.mainjob import MainJob, Said, Sent
from lanes.local.prefect_api import PrefectApi
from lanes.local.progress import progress
from lanes.local.stand import Stand
from lanes.report import terminal
from lanes.report.links import report_page
from lanes.settings import Settings
from lanes.store.database import engine

SHOWN_BAD_LINES = 10


def run(
    *,
    once: Annotated[bool, Parameter(negative="", help="Stop what this run started after the report.")] = False,
    input: Annotated[Path | None, Parameter(name="--input", help="A JSONL or CSV file instead of the samples.")] = None,
    workload: Annotated[str, Parameter(help="The workload of the file's lines.")] = "tickets",
    field: Annotated[str | None, Parameter(help="The column or field that holds the text.")] = None,
    label: Annotated[str | None, Parameter(help="The column that says what is right.")] = None,
) -> int:
    """Run the main job: start the stand, send items, answer and batch them, settle, and print the report.

    Stays up until Ctrl-C, also where its output goes into a pipe or a file (`make run | tee log`). `--once` ends after the
    report, and so does a run without any terminal, which nobody could end with Ctrl-C.
    """
    if input is not None and not input.is_file():
        print(f'there is no file "{input}"', file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, _interrupt)

    def put_up_and_run() -> int:
        stand = Stand(Settings.read())
        try:
            with progress() as shown:
                up = stand.up(shown, keep=False)
            try:
                os.environ |= up.info.environment()
                return _main_job(up.info.ui_url, once, input, workload, Layout(field=field, label=label))
            finally:
                with progress() as shown:
                    stand.leave(shown)
        except KeyboardInterrupt:
            return 0

    try:
        return guarded(put_up_and_run)
    except ValueError as error:  # a file that cannot be read at all
        print(str(error), file=sys.stderr)
        return 2


def _main_job(ui_url: str, once: bool, file: Path | None, workload: str, layout: Layout) -> int:
    url = Settings.read().database_url
    assert url is not None
    pool = engine(url.get_secret_value())
    with PrefectApi(os.environ["PREFECT_API_URL"]) as api, _bars() as said:
        job = MainJob(pool, api, said)
        if Settings.read().keep_warm:
            job.await_drain()
        sent = job.send_samples() if file is None else job.send_file(file, workload, layout, lines=count_lines(file))
        states = job.follow(sent)
        since = job.received_since(sent)
        report_run = job.publish_report(since)
        artifact = job.wait_for_run(report_run)
        page = report_page(api.artifact_of(report_run))
        figures = job.snapshot(since)
    console = Console(width=None if sys.stdout.isatty() else 110)
    _print_doors(console, sent)
    console.print(terminal.render(figures, report_url=f"{ui_url.rstrip('/')}{page}"))
    pool.dispose()
    if artifact != "COMPLETED":
        print(f"the report could not be written to Prefect: its run is {artifact}", file=sys.stderr)
        return 1
    if over := sent.total - sum(states[s] for s in ("settled", "answered", "failed", "canceled")):
        print(f"{over} items have no outcome yet: see lanes.item_status", file=sys.stderr)
        return 1
    if not once and attended((sys.stdin, sys.stdout, sys.stderr)):
        console.print("The stand stays up. Ctrl-C stops it.")
        threading.Event().wait()
    return 0


def attended(streams: Iterable[TextIO | None]) -> bool:
    """Whether somebody sits at one of the streams and can press Ctrl-C; closed ones count as nobody."""
    return any(each is not None and not each.closed and each.isatty() for each in streams)


def _print_doors(console: Console, sent: Sent) -> None:
    said = ", ".join(f"{number:,} {outcome}" for outcome, number in sorted(sent.outcomes.items()))
    console.print(f"At the door: {said or 'nothing'}", highlight=False)
    for bad in sent.bad[:SHOWN_BAD_LINES]:
        console.print(f"  {bad.place}: {bad.reason}: {bad.detail}", highlight=False, markup=False)
    if len(sent.bad) > SHOWN_BAD_LINES:
        console.print(f"  ... and {len(sent.bad) - SHOWN_BAD_LINES} more in lanes.rejected_log", highlight=False)


@contextmanager
def _bars() -> Iterator[Said]:
    """Bars on a terminal; elsewhere a line whenever another tenth is done."""
    console = Console(stderr=True)
    if not console.is_terminal:
        told: dict[str, int] = {}

        def tell(what: str, done: int, total: int) -> None:
            tenth = 10 * done // max(total, 1)
            if told.get(what) != tenth:
                told[what] = tenth
                print(f"{what}: {done:,} of {total:,}", file=sys.stderr, flush=True)

        yield tell
        return
    columns = (TextColumn("{task.description:>16}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bars:
        tasks = {}

        def move(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=max(total, 1))

        yield move


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
