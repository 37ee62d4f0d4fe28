"""`lanes run`: the main job on this checkout's stand, from an empty machine to the report and the reader's next steps."""

import json
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self, TextIO
from uuid import uuid4

from rich.text import Text

from lanes.commands.running import WrongUsage, check_file, command, screen
from lanes.doors.filedoor import Layout, count_lines
from lanes.errors import StandError
from lanes.mainjob.mainjob import MainJob, SentItems
from lanes.mainjob.onlooker import onlooker
from lanes.mainjob.samples import sample_workloads
from lanes.report import terminal
from lanes.report.links import report_page
from lanes.report.snapshot import Snapshot
from lanes.settings import Settings
from lanes.settling.listing import AnswerExample
from lanes.stand.info import StandInfo
from lanes.stand.login import OF_STAND
from lanes.stand.prefect_api import PrefectApi
from lanes.stand.progress import Console, progress
from lanes.stand.stand import Stand
from lanes.store.database import engine
from lanes.text import plain
from lanes.units import pluralize

SHOWN_BAD_LINES = 10
RUNS = "/v2/runs"  # shows the past week; with a filter, the UI would list scheduled runs first
FORMS = "/v2/deployments"
QUESTION = "Where is my parcel? The tracking has not moved since Monday."


@dataclass(frozen=True)
class RunOrder:
    """The items that a run sends, and whether the stand stays up afterwards. Without a file, the samples are sent."""

    file: Path | None
    workload: str
    layout: Layout
    stays: bool

    @property
    def samples(self) -> bool:
        """Whether the run needs the sample workloads."""
        return self.file is None or self.workload in sample_workloads()


@dataclass(frozen=True)
class NextStep:
    """A suggested next step, with the command that does it."""

    title: str
    command: str


@dataclass(frozen=True)
class Surroundings:
    """The reader's shell: how to call `lanes` there, and Prefect's addresses."""

    lanes: str
    api_url: str
    ui_url: str
    login: Path | None  # the file with the login of the stand's own Prefect
    stays_up: bool  # the stand stays up, because another command started it

    @classmethod
    def of(cls, environment: Mapping[str, str], up: StandInfo) -> Self:
        """Return the surroundings of the shell that started this process with `environment`."""
        called, api_url = program(environment, Path.cwd()), up.prefect_api_url.rstrip("/")
        own = up.home / OF_STAND if "prefect" in up.embedded else None
        return cls(called, api_url, up.ui_url, own, stays_up=not up.transient)


@command
def run(
    *,
    stay: bool = False,
    once: bool = False,
    input: Path | None = None,
    workload: str = "tickets",
    field: str | None = None,
    label: str | None = None,
) -> int:
    """Run the main job: start the stand, send items, answer and batch them, settle, and print the report.

    It reports what it waits for, and ends with five answers, links to the report and the runs, and three next commands. Any
    standard stream may be the terminal: `make run | tee log` stays up. Without a terminal it ends, as Ctrl-C is impossible.

    Example: lanes run --once --input messages.csv --workload tickets --field text --label category

    Args:
        stay: Keep everything up after the report, until Ctrl-C. The default on a terminal.
        once: End after the report and stop what this run started. The default without a terminal.
        input: A JSONL or CSV file instead of the samples.
        workload: The workload of the file's lines.
        field: The column or field with the text.
        label: The column with the right answer.
    """
    if stay and once:
        raise WrongUsage("--stay keeps everything up and --once ends it: give one of the two")
    if input is not None:
        check_file(input)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    stays = stay or (not once and is_attended())
    order = RunOrder(input, workload, Layout(field=field, label=label), stays)
    shell_environment, stand = dict(os.environ), Stand(Settings.read())
    try:
        with progress() as shown:
            up = stand.up(shown, keep=False, samples=order.samples)
        try:
            os.environ |= up.info.environment()
            code, stays = _main_job(order, up.info, Surroundings.of(shell_environment, up.info))
            if stays:
                print("\nThe stand stays up. Ctrl-C stops it.", flush=True)
                stand.until_down()
                print("The stand was taken down by another command.")
            return code
        finally:
            with progress() as shown:
                stand.leave(shown)
    except KeyboardInterrupt:
        return 0
    except ValueError as error:  # the file as a whole cannot be read
        raise WrongUsage(error) from error


def _main_job(order: RunOrder, up: StandInfo, surroundings: Surroundings) -> tuple[int, bool]:
    """Return the exit code, and whether the stand stays up."""
    url = Settings.read().database_url
    assert url is not None
    pool = engine(url.get_secret_value())
    with PrefectApi.from_stand(up) as api, onlooker() as shown:
        job = MainJob(pool, api, shown)
        if Settings.read().keep_warm:
            job.await_drain()
        sent = _send(job, order)
        states = job.follow(sent)
        since = job.find_first_receipt(sent)
        figures, examples, now = job.snapshot(since), job.examples(sent), job.now()
        artifact, not_written = _publish_report(job, figures, examples)
        open_items = sent.total - sum(
            states[s] for s in ("settled", "answered", "failed", "canceled")
        )
        awaits = job.describe_open(sent) if open_items else ""
    pool.dispose()
    stays = order.stays and not not_written and not open_items
    console = screen(100)
    _print_doors(console, sent)
    console.print()
    console.print(terminal.main_page(figures, examples))
    steps = next_steps(
        surroundings, order.workload, examples, field=order.layout.field or "text", now=now
    )
    print_farewell(console, surroundings, steps, report_page=report_page(artifact), stays=stays)
    if not_written:
        print(f"the report could not be written to Prefect: {not_written}", file=sys.stderr)
        return 1, False
    if open_items:
        print(
            f"{open_items} items have no outcome yet, {awaits}; see lanes.item_status",
            file=sys.stderr,
        )
        return 1, False
    return 0, stays


def _publish_report(
    job: MainJob, figures: Snapshot, examples: Sequence[AnswerExample]
) -> tuple[str | None, str]:
    """Return the id of the report's artifact, or else the reason why Prefect did not accept it."""
    try:
        return job.publish_report(figures, examples), ""
    except StandError as reason:
        return None, str(reason)


def _send(job: MainJob, order: RunOrder) -> SentItems:
    if order.file is None:
        return job.send_samples()
    lines = count_lines(order.file)
    return job.send_file(order.file, order.workload, order.layout, lines=lines)


def is_attended(streams: Iterable[TextIO | None] | None = None) -> bool:
    """Return whether one of the open streams is a terminal, so that a person can press Ctrl-C.

    The default is the standard streams.
    """
    of = (sys.stdin, sys.stdout, sys.stderr) if streams is None else streams
    return any(each is not None and not each.closed and each.isatty() for each in of)


def _print_doors(console: Console, sent: SentItems) -> None:
    counts = ", ".join(f"{number:,} {outcome}" for outcome, number in sorted(sent.outcomes.items()))
    console.print(f"At the door: {counts or 'nothing'}", highlight=False)
    if sent.earlier:
        now = pluralize(sent.total - len(sent.earlier), "item")
        before = pluralize(len(sent.earlier), "item")
        parts = f"{now} sent now, which the figures below are about, and {before} that entered as if they had come minutes ago"
        console.print(f"  {parts}: no batch is back in time for these", highlight=False)
    for bad in sent.bad[:SHOWN_BAD_LINES]:
        console.print(f"  {bad.place}: {bad.reason}: {bad.detail}", highlight=False, markup=False)
    if (more := len(sent.bad) - SHOWN_BAD_LINES) > 0:
        console.print(f"  ... and {more} more in lanes.rejected_log", highlight=False)


def program(environment: Mapping[str, str], here: Path) -> str:
    """Return how to call this installation's `lanes` from `here`: by name if the shell finds it, else by path."""
    own_path = Path(sys.executable).parent / "lanes"
    path_on_shell = shutil.which("lanes", path=environment.get("PATH", ""))
    call = shlex.quote(
        str(own_path.relative_to(here) if own_path.is_relative_to(here) else own_path)
    )
    if path_on_shell is not None and Path(path_on_shell).absolute() == own_path:
        call = "lanes"
    home = environment.get("LANES_HOME")
    return f"LANES_HOME={shlex.quote(home)} {call}" if home else call


def next_steps(
    surroundings: Surroundings,
    workload: str,
    examples: Sequence[AnswerExample],
    *,
    field: str = "text",
    now: datetime,
) -> list[NextStep]:
    """Return next steps: read the answers, show an item's history, and send an event."""
    steps = [NextStep("read the answers", f"{surroundings.lanes} results {shlex.quote(workload)}")]
    # only keys that can be copied from a terminal
    presentable = [each for each in examples if plain(each.key, most=200) == each.key]
    for each in sorted(presentable, key=lambda each: not each.was)[:1]:
        story = f"{surroundings.lanes} explain {shlex.quote(each.workload)} {shlex.quote(each.key)}"
        steps.append(NextStep("see what happened to one item, and why", story))
    mine = f"mine-{now:%m%d-%H%M%S}"
    story = f"{surroundings.lanes} explain {shlex.quote(workload)} {mine}"
    event = example_event(surroundings, workload, field, mine, now)
    own = NextStep(f"send an event of your own; seconds later `{story}` tells of it", event)
    return [*steps, own]


def example_event(
    surroundings: Surroundings, workload: str, field: str, key: str, now: datetime
) -> str:
    """Return a curl command that sends one urgent item as an event."""
    event = {
        "id": str(uuid4()),
        "occurred": now.isoformat(timespec="seconds"),
        "event": "lanes.item.arrived",
        "resource": {"prefect.resource.id": f"lanes.workload.{workload}"},
        "payload": {"key": key, "payload": {field: QUESTION}, "urgent": True},
    }
    fields = (f"{json.dumps(name)}: {json.dumps(value)}" for name, value in event.items())
    lines = ",\n  ".join(fields)
    login = f'-K "$({surroundings.lanes} url prefect --curl-config)"'
    body = shlex.quote(f"[{{{lines}}}]")
    return f"curl -fsS {login} {surroundings.api_url}/events -H 'content-type: application/json' -d {body}"


def print_farewell(
    console: Console,
    surroundings: Surroundings,
    steps: Sequence[NextStep],
    *,
    report_page: str,
    stays: bool,
) -> None:
    """Print links and steps so that they can be clicked and copied: never wrapped, never as markup."""

    def line(*parts: str | tuple[str, str]) -> None:
        console.print(Text.assemble(*parts), soft_wrap=True, highlight=False)

    line()
    pages = {"Report with charts": report_page, "Runs": RUNS, "Deployments, with forms": FORMS}
    for name, page in pages.items():
        line((f"{name:<24}", "bold"), (f"{surroundings.ui_url}{page}", "underline"))
    if surroundings.login is not None:
        login = f"the text between the quotation marks in {surroundings.login}"
        line((f"{'Login, asked for once':<24}", "bold"), login)
    line()
    again = f", once `{surroundings.lanes} up` has started the stand again with all that is in it"
    line(("What next", "bold"), "" if stays or surroundings.stays_up else again)
    for number, step in enumerate(steps, 1):
        line(f"{number}. {step.title}")
        line(("   " + step.command.replace("\n", "\n   "), "cyan"))
