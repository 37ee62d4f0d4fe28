"""A job as text: a one-line summary, a table of jobs, and the job's page in the Prefect UI."""

import re
from collections.abc import Sequence
from datetime import datetime

from lanes.report.table import Table, figure, label, phrase
from lanes.routing.prospect import percent
from lanes.settling.listing import JobStatus
from lanes.text import cell, plain
from lanes.units import clock, count, pluralize, usd

WIDTH = 40  # characters of a progress bar
COUNTS = ("waiting", "answered", "settled", "failed", "canceled", "duplicates", "refused")


def key(job: JobStatus) -> str:
    """Return the key of the artifact with the job's page."""
    name = re.sub("[^a-z0-9]+", "-", job.job.lower())[:80]
    return f"lanes-job-{job.job_id}-{name.strip('-')}".rstrip("-")


def headline(job: JobStatus) -> str:
    """Return the progress of the job in one line."""
    counts = {name: getattr(job, name) for name in COUNTS}
    parts = ", ".join(f"{count(number)} {name}" for name, number in counts.items() if number)
    over = f"{count(job.over)} of {pluralize(job.received, 'item')} over"
    whose = f"Job {plain(job.job, most=80)} of {plain(job.workload, most=60)}"
    return f"{whose} is {job.state}: {over}{parts and f' ({parts})'}"


def outlook(job: JobStatus, now: datetime) -> list[str]:
    """Return sentences on the job's cost, its expected end, and the reasons of failed items."""
    costs, ends = usd(job.cost_usd), job.cost_usd
    if not job.is_done and job.estimated_usd is not None:
        costs, ends = (
            f"{costs} so far, about {usd(job.estimated_usd)} in the end",
            job.estimated_usd,
        )
    if job.budget_usd is not None:
        costs += (
            f", {'above' if ends > job.budget_usd else 'of'} its budget of {usd(job.budget_usd)}"
        )
    sentences = [f"Cost: {costs}."]
    if job.expected_end_at is not None and job.probability is not None:
        by, chance = clock(job.expected_end_at, beside=now), percent(job.probability)
        sentences.append(f"Expected to be done by {by}, with a probability of {chance}.")
    reasons = job.failures.items()
    return sentences + [
        f"{pluralize(items, 'item')} failed: {plain(why)}" for why, items in reasons
    ]


def bar(job: JobStatus, mark: str = "") -> str:
    """Return the share of items that no longer wait (answered or finished), as a bar between marks and in percent."""
    share = (job.over + job.answered) / max(job.received, 1)
    filled = "█" * int(WIDTH * share)
    return f"{mark}{filled:░<{WIDTH}}{mark} {100 * share:.0f} % no longer wait"


def render(job: JobStatus, now: datetime) -> str:
    """Return the page's Markdown."""
    title, _, counts = headline(job).rpartition(": ")
    lines = "\n".join(f"- {cell(each, most=400)}" for each in (f"{counts}.", *outlook(job, now)))
    does = (
        "`lanes job NAME --follow` shows it in a terminal, and `--results FILE` writes its answers."
    )
    form = "The form [`job`](/v2/deployments?flowOrDeploymentName=job) withdraws open items, or tries failed ones again."
    return f"# {cell(title, most=400)}\n\n{bar(job, '`')}\n\n{lines}\n\n{does} {form}\n"


def build_table(jobs: Sequence[JobStatus], now: datetime) -> Table[JobStatus]:
    """Return jobs as a table."""
    return Table(
        "Jobs, the newest first",
        jobs,
        label("Job", lambda each: plain(each.job, most=40)),
        label("Workload", lambda each: plain(each.workload, most=30)),
        label("State", lambda each: each.state),
        phrase("Since", "its first input came", lambda each: clock(each.created_at, beside=now)),
        figure("Items", "that exist because of it", lambda each: count(each.received)),
        figure("Over", "settled, failed or canceled", lambda each: count(each.over)),
        figure("Failed", "", lambda each: count(each.failed)),
        figure("Cost", "so far", lambda each: usd(each.cost_usd)),
    )
