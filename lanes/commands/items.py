"""The commands for items and jobs: submit a file; explain, retry, cancel or forget an item; show, follow and act on a job."""

import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import Field
from rich.markup import escape
from rich.progress import Progress
from sqlalchemy import Connection, Engine

from lanes.commands import running
from lanes.commands.actions import Cancel, Done, Forget, PersonAction, Retry
from lanes.commands.options import NONE_GIVEN, AsJson, Columns, Why
from lanes.commands.options import by as moment
from lanes.commands.results import pages
from lanes.commands.running import WrongUsage, command, counting, perform, transaction
from lanes.doors.filedoor import FileLine, Layout, count_lines, name_job, read_lines
from lanes.doors.item import JobOrder, Refusal, read_budget
from lanes.errors import ActionRefused, SetupError
from lanes.mainjob.onlooker import onlooker
from lanes.report import job as report
from lanes.report.listing import Jsonl
from lanes.report.table import Table, figure, label
from lanes.settling.listing import JobStatus, ListingQuery
from lanes.settling.story import describe_shared_context, happenings, next_step
from lanes.settling.trace import Span, tree
from lanes.stand.progress import Console
from lanes.store.database import clock
from lanes.store.doors import archives
from lanes.store.doors.items import admit_file
from lanes.store.settling import jobs as job_store
from lanes.store.settling import story, traces
from lanes.text import plain
from lanes.units import pluralize, seconds, usd
from lanes.workload.form import SignedLine

SHOWN = 20  # bad lines that are listed
SHOWN_JOBS = 30


@command
def submit(
    file: Path,
    *,
    workload: str,
    columns: Columns = Columns(),
    job: str | None = None,
    due: str | None = None,
    budget: float | None = None,
    as_json: AsJson = False,
) -> int:
    """Submit every line of a JSONL or CSV file as an item, and the file as a job: `lanes job NAME --follow` follows it.

    A line is an event's payload ({"key", "payload", "due_at", ...}), or with --field a row with a column that contains the
    text. A bad line is reported with its number and stored in lanes.rejected_log; the others are admitted.
    Exit code 0 when all lines are admitted, 1 when some are refused, 2 when the file cannot be read at all.

    Args:
        job: Name of the job. The default: the file's name, followed by a part of its digest if another job has that name.
        due: Due time of lines without one: a time of day (UTC), a span such as 8h, or an ISO 8601 moment.
        budget: US dollars; if the lines are quoted at more, none is sent.
    """
    running.check_file(file)
    with running.database() as pool:
        try:
            with pool.begin() as connection:
                now = clock(connection)
                due_at = None if due is None else moment(due, now, ZoneInfo("UTC"))
                order = name_job(file, columns, job, due_at, read_budget(budget))
                lines = read_lines(file, workload, columns, now=now)
                sent = (each.submission for each in lines if isinstance(each, FileLine))
                job_store.check_budget(connection, order, workload, sent, now=now)
            name, outcomes, refusals = _admit(pool, file, workload, columns, order, now)
        except ValueError as error:
            raise WrongUsage(error) from error
    if as_json:
        lines = [{"place": b.place, "reason": b.reason, "detail": b.detail} for b in refusals]
        running.print_json({"job": name, "outcomes": outcomes, "refused": lines})
    else:
        counts = [f"{number:,} {outcome}" for outcome, number in sorted(outcomes.items())]
        print(f"{', '.join(counts)} (job {plain(name)})" if counts else "no lines")
        for each in refusals[:SHOWN]:
            print(f"{each.place}: {each.reason}: {each.detail}", file=sys.stderr)
        if len(refusals) > SHOWN:
            print(f"... and {len(refusals) - SHOWN} more in lanes.rejected_log", file=sys.stderr)
    return 1 if refusals else 0


def _admit(
    pool: Engine, file: Path, workload: str, layout: Layout, job: JobOrder, now: datetime
) -> tuple[str, Counter[str], list[Refusal]]:
    name, outcomes = job.name, Counter[str]()
    refusals: list[Refusal] = []
    with Progress(console=Console(stderr=True), transient=True) as bars:
        bar = bars.add_task(escape(file.name), total=count_lines(file))
        for admitted in admit_file(pool, file, workload, layout, job=job, now=now):
            name = admitted.job
            outcomes += admitted.outcomes
            refusals += admitted.bad
            bars.update(bar, completed=sum(outcomes.values()))
    return name, outcomes, refusals


@command
def explain(workload: str, key: str, *, trace: bool = False, as_json: AsJson = False) -> None:
    """Show the history of an item, in order, and its next step.

    Exit code 2 when there is no such item.

    Args:
        trace: Print the item's trace instead, as a tree with durations: the data that OpenTelemetry gets, from the same facts.
    """
    with (
        transaction() as (connection, now),
        archives.restore_archived(connection, workload, key) as archived_at,
    ):
        item_story = story.records(connection, workload, key, now=now, archived_at=archived_at)
        spans = traces.whole(connection, item_story.item["item_id"]) if trace else []
    if trace:
        _print_trace(f"{workload} / {plain(key)}", spans, as_json=as_json)
        return
    events, next_line, shared = (
        happenings(item_story),
        next_step(item_story, now),
        describe_shared_context(item_story),
    )
    if as_json:
        happened = [asdict(each) for each in events]
        running.print_json(
            {"item": item_story.item, "happenings": happened, "next": next_line, "cache": shared}
        )
        return
    table = Table(
        f"{workload} / {plain(key)}: {item_story.item['state']}, {usd(item_story.item['cost_usd'])}",
        events,
        label("When (UTC)", lambda of: f"{of.at:%Y-%m-%d %H:%M:%S}"),
        label("What", lambda of: of.what),
        label("How", lambda of: of.detail),
    )
    running.print_table(table, width=120)
    print(f"Next: {plain(next_line, most=400)}")
    for each in shared:
        print(f"Cache: {plain(each, most=400)}")


def _print_trace(name: str, spans: Sequence[Span], *, as_json: bool) -> None:
    if as_json:
        running.print_json({"spans": [_span_as_json(each) for each in spans]})
        return
    lines = tree(spans)
    others = list(dict.fromkeys(each.trace_id for each in lines))[1:]
    table = Table(
        f"{name}: trace {lines[0].trace_id}",
        lines,
        label("Span", lambda of: f"└{'─' * (2 * of.depth - 1)} {of.name}" if of.depth else of.name),
        figure("After", "since the item came", lambda of: seconds(of.after_s)),
        figure(
            "Took",
            "until it ended",
            lambda of: "goes on" if of.took_s is None else seconds(of.took_s),
        ),
        label("How", lambda of: of.says),
    )
    running.print_table(table, width=120)
    for each in others:
        print(f"Linked: trace {each}")


def _span_as_json(span: Span) -> dict[str, object]:
    """Return a span with the field names of OTLP's JSON."""
    return {
        "traceId": span.ref.trace_id.hex(),
        "spanId": span.ref.span_id.hex(),
        "parentSpanId": None if span.parent is None else span.parent.hex(),
        "name": span.name,
        "kind": span.kind,
        "startTime": span.began_at,
        "endTime": span.ended_at,
        "attributes": span.says,
        "links": [
            {"traceId": each.trace_id.hex(), "spanId": each.span_id.hex()} for each in span.links
        ],
        "error": span.failure,
    }


@command
def retry(
    workload: str,
    *,
    key: list[str] | None = None,
    all: bool = False,
    why: Why = NONE_GIVEN,
    as_json: AsJson = False,
) -> int:
    """Give failed items another chance, with a full retry budget and the version in force.

    Exit code 1 when a named item has not failed, 2 when there is no such workload.

    Args:
        key: Key of an item; may be repeated.
        all: Every failed item and failed authoritative pass of the workload.
    """
    if bool(key) == all:
        raise WrongUsage("say which items: --key KEY, or --all")
    return perform(Retry, workload, why, as_json, keys=key or [])


@command
def cancel(workload: str, key: str, *, why: Why = NONE_GIVEN, as_json: AsJson = False) -> int:
    """Withdraw an item that is not settled. If a batch already holds it, the answer is billed, recorded and never shown.

    Exit code 1 when it is settled, 2 when there is no such item.
    """
    return perform(Cancel, workload, why, as_json, key=key)


@command
def forget(workload: str, key: str, *, why: Why = NONE_GIVEN, as_json: AsJson = False) -> int:
    """Withdraw an item and erase its content: input, revisions, answers, labels. Its key and its costs stay.

    The provider keeps the results of a batch for 29 days. Exit code 2 when there is no such item.
    """
    return perform(Forget, workload, why, as_json, key=key)


POLL_S = 1.0


class JobAction(PersonAction):
    """Show a job, withdraw its open items, or try its failed items again."""

    job: SignedLine = Field(title="Job")
    """Its name; `lanes jobs` lists the newest."""
    action: Literal["show", "cancel", "retry"] = Field(default="show", title="Action")
    """show: write its page. cancel: withdraw open items; items in a batch are still billed. retry: try failed items again."""

    @property
    def what(self) -> str:
        """The name of the run, including the job."""
        return f"{self.action} job {self.job} of {self.workload}"

    def perform(self, connection: Connection, now: datetime) -> Done:
        """Do it within this transaction; a large job is canceled in several transactions."""
        job_status = job_store.status(connection, self.job, now=now)
        if job_status.workload != self.workload:
            raise ActionRefused(f'job "{self.job}" is of workload "{job_status.workload}"')
        doing = {"cancel": job_store.cancel, "retry": job_store.retry}.get(self.action)
        changed = doing(connection, self.job, now=now) if doing else 0
        job_status = job_store.status(connection, self.job, now=now) if doing else job_status
        message = report.headline(job_status)
        if self.action == "retry":
            message = f"{pluralize(changed, 'item')} will be tried again. {message}"
        left = self.action == "cancel" and changed > 0
        page = report.render(job_status, now)
        return Done(message, asdict(job_status), page, report.key(job_status), left=left)


@command
def jobs(*, as_json: AsJson = False) -> None:
    """List the newest jobs: files, lists sent by a client, and items sent under a job's name."""
    with running.transaction() as (connection, now):
        found = job_store.newest(connection, most=SHOWN_JOBS)
    if as_json:
        running.print_json([asdict(each) for each in found])
    else:
        running.print_table(report.build_table(found, now), width=140)


@command
def job(
    name: str,
    *,
    follow: bool = False,
    cancel: bool = False,
    retry: bool = False,
    results: Path | None = None,
    why: Why = NONE_GIVEN,
    as_json: AsJson = False,
) -> int:
    """Show a job: how many of its items are finished, its cost and expected end, and why items failed.

    `lanes job week.csv --follow`

    Exit code 1 when it was followed to its end and items failed, 2 when there is no such job.

    Args:
        name: Its name, as listed by `lanes jobs`; for a file, the file's name.
        follow: Show its progress until it is done, or until Ctrl-C.
        cancel: Withdraw its open items. If a batch already holds one, the answer is billed, recorded and never shown.
        retry: Try its failed items again, with a full retry budget and the version in force.
        results: Write its items with their current answers to this file, as JSON lines.
    """
    if cancel and retry:
        raise running.WrongUsage("give one of --cancel and --retry")
    with running.database() as pool:
        job_status, now = _look(pool, name)
        if cancel or retry:
            asked = {"job": name, "action": "cancel" if cancel else "retry"}
            return running.perform(JobAction, job_status.workload, why, as_json, **asked)
        if follow:
            job_status, now = _follow(pool, job_status, now)
        if results is not None:
            _write(pool, job_status, results)
    message = "\n".join([f"{report.headline(job_status)}.", *report.outlook(job_status, now)])
    running.tell(message, asdict(job_status), as_json=as_json)
    return 1 if follow and job_status.failed else 0


def _look(pool: Engine, name: str) -> tuple[JobStatus, datetime]:
    with pool.begin() as connection:
        now = clock(connection)
        return job_store.status(connection, name, now=now), now


def _follow(pool: Engine, job_status: JobStatus, now: datetime) -> tuple[JobStatus, datetime]:
    """Show the job's progress until it is done, or until Ctrl-C, and return its last status and its time."""
    with suppress(KeyboardInterrupt), onlooker() as display:
        while True:
            total = max(job_status.received, (job_status.sent or 0) - (job_status.refused or 0))
            if job_status.answered:
                display.show_count("answered", job_status.answered + job_status.over, total)
            display.show_count(plain(job_status.job, most=30), job_status.over, total)
            display.show_wait(" ".join(report.outlook(job_status, now)))
            if job_status.is_done:
                break
            time.sleep(POLL_S)
            job_status, now = _look(pool, job_status.job)
    return job_status, now


def _write(pool: Engine, job_status: JobStatus, file: Path) -> None:
    """Write the job's items to the file.

    Raises:
        SetupError: the file cannot be written.
    """
    query, form = ListingQuery(job_status.workload, job_id=job_status.job_id), Jsonl()
    try:
        with file.open("w", encoding="utf-8") as out, counting(file.name) as written:
            for items in pages(pool, query, None):
                out.write(form.rows(items))
                written.add(len(items))
    except OSError as error:
        raise SetupError(f'"{file}" cannot be written: {error.strerror}') from error
