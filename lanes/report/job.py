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


def key(of: JobStatus) -> str:
    """Return the key of the artifact with the job's page."""
    name = re.sub("[^a-z0-9]+", "-", of.job.lower())[:80]
    return f"lanes-job-{of.job_id}-{name.strip('-')}".rstrip("-")


def headline(of: JobStatus) -> str:
    """Return the progress of the job in one line."""
    told = {name: getattr(of, name) for name in COUNTS}
    parts = ", ".join(f"{count(number)} {name}" for name, number in told.items() if number)
    over = f"{count(of.over)} of {pluralize(of.received, 'item')} over"
    whose = f"Job {plain(of.job, most=80)} of {plain(of.workload, most=60)}"
    return f"{whose} is {of.state}: {over}{parts and f' ({parts})'}"


def outlook(of: JobStatus, now: datetime) -> list[str]:
    """Return sentences on the job's cost, its expected end, and the reasons of failed items."""
    costs, ends = usd(of.cost_usd), of.cost_usd
    if not of.is_done and of.estimated_usd is not None:
        costs, ends = f"{costs} so far, about {usd(of.estimated_usd)} in the end", of.estimated_usd
    if of.budget_usd is not None:
        costs += f", {'above' if ends > of.budget_usd else 'of'} its budget of {usd(of.budget_usd)}"
    told = [f"Cost: {costs}."]
    if of.expected_end_at is not None and of.probability is not None:
        by, chance = clock(of.expected_end_at, beside=now), percent(of.probability)
        told.append(f"Expected to be done by {by}, with a probability of {chance}.")
    reasons = of.failures.items()
    return told + [f"{pluralize(items, 'item')} failed: {plain(why)}" for why, items in reasons]


def bar(of: JobStatus, mark: str = "") -> str:
    """Return the share of items that no longer wait (answered or finished), as a bar between marks and in percent."""
    share = (of.over + of.answered) / max(of.received, 1)
    filled = "█" * int(WIDTH * share)
    return f"{mark}{filled:░<{WIDTH}}{mark} {100 * share:.0f} % no longer wait"


def render(of: JobStatus, now: datetime) -> str:
    """Return the page's Markdown."""
    title, _, counts = headline(of).rpartition(": ")
    lines = "\n".join(f"- {cell(each, most=400)}" for each in (f"{counts}.", *outlook(of, now)))
    does = (
        "`lanes job NAME --follow` shows it in a terminal, and `--results FILE` writes its answers."
    )
    form = "The form [`job`](/v2/deployments?flowOrDeploymentName=job) withdraws open items, or tries failed ones again."
    return f"# {cell(title, most=400)}\n\n{bar(of, '`')}\n\n{lines}\n\n{does} {form}\n"


def build_table(of: Sequence[JobStatus], now: datetime) -> Table[JobStatus]:
    """Return jobs as a table."""
    return Table(
        "Jobs, the newest first",
        of,
        label("Job", lambda each: plain(each.job, most=40)),
        label("Workload", lambda each: plain(each.workload, most=30)),
        label("State", lambda each: each.state),
        phrase("Since", "its first input came", lambda each: clock(each.created_at, beside=now)),
        figure("Items", "that exist because of it", lambda each: count(each.received)),
        figure("Over", "settled, failed or canceled", lambda each: count(each.over)),
        figure("Failed", "", lambda each: count(each.failed)),
        figure("Cost", "so far", lambda each: usd(each.cost_usd)),
    )
