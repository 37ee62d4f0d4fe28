"""Deleting, emptying and archiving rows by their age, in small transactions."""

from datetime import datetime, timedelta
from functools import partial
from typing import Literal

from lanes.store import webhooks
from lanes.store.database import Database
from lanes.store.doors import archives, emptying
from lanes.store.figures import arrivals, folding
from lanes.store.workload import workloads
from tasks.runs import plain_task


@plain_task("delete what is over")
async def sweep_out(
    db: Database,
    *,
    refused_days: int,
    amendments_days: int,
    labels_days: int,
    reads_days: int,
    webhooks_days: int,
) -> dict[str, int]:
    """Delete rows older than these numbers of days, except the first read of each answer; return the number of rows by kind."""
    now = await db.now()
    kinds = {
        "refused inputs": (emptying.delete_refused, refused_days),
        "amendments": (emptying.delete_amendments, amendments_days),
        "labels": (emptying.delete_labels, labels_days),
        "events of webhooks": (webhooks.delete_old, webhooks_days),
        "minutes of figures": (
            partial(folding.delete_minutes, learned=arrivals.BACK_TO),
            folding.MINUTES_KEPT.days,
        ),
    }
    deleted = {**dict.fromkeys(kinds, 0), "reads": 0}
    for kind, (delete, days) in kinds.items():
        while number := await db.run(delete, before=now - timedelta(days=days)):
            deleted[kind] += number
    onwards: int | None = 0
    before = now - timedelta(days=reads_days)
    while onwards is not None:
        page = await db.run(emptying.delete_reads, before=before, after=onwards)
        deleted["reads"] += page.rows
        onwards = page.onwards
    return deleted


@plain_task("empty what is over")
async def empty_out(db: Database) -> int:
    """Empty items older than the `keep_payload_days` of their workload, also archived items; return their number."""
    before, now = await _read_limits(db, "keep_payload_days")
    emptied, onwards = 0, 0 if before else None
    while onwards is not None:
        page = await db.run(emptying.empty_some, before, after=onwards, now=now)
        emptied, onwards = emptied + page.items, page.onwards
    onwards = 0 if before else None
    while onwards is not None:
        items, onwards = await db.run(emptying.empty_archive, before, after=onwards, now=now)
        emptied += items
    return emptied


@plain_task("archive what is over")
async def archive_out(db: Database) -> int:
    """Archive items that ended more than `archive_after_days` of their workload ago, and return their number."""
    before, now = await _read_limits(db, "archive_after_days")
    untold = await db.run(archives.untold_since) or now
    before = {name: min(moment, untold) for name, moment in before.items()}
    archived, onwards = 0, 0 if before else None
    while onwards is not None:
        page = await db.run(archives.archive_some, before, after=onwards, now=now)
        archived, onwards = archived + page.items, page.onwards
    return archived


async def _read_limits(
    db: Database, field: Literal["keep_payload_days", "archive_after_days"]
) -> tuple[dict[str, datetime], datetime]:
    """Return the end of each workload's retention, if `field` sets its days: now less these days; and return now."""
    now = await db.now()
    versions = await db.run(workloads.read_versions)
    days = {name: getattr(each.spec, field) for name, each in versions.items()}
    return {name: now - timedelta(days=each) for name, each in days.items() if each}, now
