"""`lanes jobs` and `lanes job`: items that were submitted together, followed and handled as one; and the form `job`."""

import time
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import Field
from sqlalchemy import Connection, Engine

from lanes.commands import running
from lanes.commands.actions import Done, PersonAction
from lanes.commands.options import NONE_GIVEN, AsJson, Why
from lanes.commands.outlet import counting
from lanes.commands.results import pages
from lanes.commands.running import command
from lanes.errors import ActionRefused, SetupError
from lanes.mainjob.onlooker import onlooker
from lanes.report import job as report
from lanes.report.listing import Jsonl
from lanes.settling.jobs import JobStatus
from lanes.settling.listing import ListingQuery
from lanes.store.database import clock
from lanes.store.settling import jobs as kept
from lanes.text import plain
from lanes.units import counted
from lanes.workload.form import SignedLine

SHOWN = 30
POLL_S = 1.0


class JobAction(PersonAction):
    """Show a job, withdraw what is open of it, or try its failed items again."""

    job: SignedLine = Field(title="Job")
    """Its name; `lanes jobs` lists the newest."""
    action: Literal["show", "cancel", "retry"] = Field(default="show", title="Action")
    """show: write its page. cancel: withdraw open items; what a batch holds is billed. retry: try failed items again."""

    @property
    def what(self) -> str:
        """The name of the run, with the job."""
        return f"{self.action} job {self.job} of {self.workload}"

    def perform(self, connection: Connection, now: datetime) -> Done:
        """Do it within this transaction; a large job is canceled by several."""
        found = kept.status(connection, self.job, now=now)
        if found.workload != self.workload:
            raise ActionRefused(f'job "{self.job}" is of workload "{found.workload}"')
        doing = {"cancel": kept.cancel, "retry": kept.retry}.get(self.action)
        changed = doing(connection, self.job, now=now) if doing else 0
        found = kept.status(connection, self.job, now=now) if doing else found
        said = report.headline(found)
        if self.action == "retry":
            said = f"{counted(changed, 'item')} will be tried again. {said}"
        left = self.action == "cancel" and changed > 0
        page = report.render(found, now)
        return Done(said, asdict(found), page, report.key(found), left=left)


@command
def jobs(*, as_json: AsJson = False) -> None:
    """List the newest jobs: files, lists of the client, and what was sent under a job's name."""
    with running.transaction() as (connection, now):
        found = kept.newest(connection, most=SHOWN)
    if as_json:
        running.print_json([asdict(each) for each in found])
    else:
        running.print_table(report.listed(found, now), width=140)


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
    """Show a job: how many of its items are over, its cost and its expected end, and why items failed.

    `lanes job week.csv --follow`

    Exit code 1 when it was followed to its end and items failed, 2 when there is no such job.

    Args:
        name: Its name, as `lanes jobs` lists it; of a file, the file's name.
        follow: Show its progress until it is done, or Ctrl-C.
        cancel: Withdraw its open items. What a batch already holds is billed, recorded and never shown.
        retry: Try its failed items again, with a whole retry budget and the version in force.
        results: Write its items with their current answers into this file, as JSON lines.
    """
    if cancel and retry:
        raise running.WrongUsage("give one of --cancel and --retry")
    with running.database() as pool:
        found, now = _look(pool, name)
        if cancel or retry:
            asked = {"job": name, "action": "cancel" if cancel else "retry"}
            return running.perform(JobAction, found.workload, why, as_json, **asked)
        if follow:
            found, now = _followed(pool, found, now)
        if results is not None:
            _write(pool, found, results)
    told = "\n".join([f"{report.headline(found)}.", *report.outlook(found, now)])
    running.tell(told, asdict(found), as_json=as_json)
    return 1 if follow and found.failed else 0


def _look(pool: Engine, name: str) -> tuple[JobStatus, datetime]:
    with pool.begin() as connection:
        now = clock(connection)
        return kept.status(connection, name, now=now), now


def _followed(pool: Engine, found: JobStatus, now: datetime) -> tuple[JobStatus, datetime]:
    """Show how far the job is until it is done, or until Ctrl-C, and return how it stood last."""
    with suppress(KeyboardInterrupt), onlooker() as shown:
        while True:
            total = max(found.received, (found.sent or 0) - (found.refused or 0))
            if found.answered:
                shown.counts("answered", found.answered + found.over, total)
            shown.counts(plain(found.job, most=30), found.over, total)
            shown.waits(" ".join(report.outlook(found, now)))
            if found.is_done:
                break
            time.sleep(POLL_S)
            found, now = _look(pool, found.job)
    return found, now


def _write(pool: Engine, of: JobStatus, file: Path) -> None:
    """Write its items into the file.

    Raises:
        SetupError: the file cannot be written.
    """
    wanted, form = ListingQuery(of.workload, job_id=of.job_id), Jsonl()
    try:
        with file.open("w", encoding="utf-8") as out, counting(file.name) as written:
            for items in pages(pool, wanted, None):
                out.write(form.rows(items))
                written.add(len(items))
    except OSError as error:
        raise SetupError(f'"{file}" cannot be written: {error.strerror}') from error
