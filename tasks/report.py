"""Take the snapshot of a period and write it as the report's two artifacts."""

from datetime import UTC, datetime, timedelta

from prefect import task
from prefect.artifacts import acreate_markdown_artifact
from prefect.cache_policies import NO_CACHE

from lanes.errors import ActionRefused
from lanes.report import page, summary
from lanes.report.links import DETAILS, REPORT, artifact_page
from lanes.store.database import Database
from lanes.store.report import snapshot
from lanes.store.settling import listing


async def begins(db: Database, since: datetime | None, *, hours: int) -> datetime:
    """Return when the report's period begins; a moment without an offset is in UTC.

    Raises:
        ActionRefused: it is in the future.
    """
    now = await db.now()
    if since is None:
        return now - timedelta(hours=hours)
    moment = since if since.tzinfo is not None else since.replace(tzinfo=UTC)
    if moment > now:
        raise ActionRefused(
            f"since: {moment:%Y-%m-%d %H:%M %Z} is in the future (it is {now.astimezone(UTC):%Y-%m-%d %H:%M} UTC); "
            "choose an earlier moment, or leave it empty"
        )
    return moment


@task(name="write report", cache_policy=NO_CACHE, persist_result=False)
async def write_report(db: Database, since: datetime) -> str:
    """Write the newest version of both artifacts from everything received since then, and return the headline."""
    figures = await db.run(snapshot.take, since=since, now=await db.now())
    samples = await db.run(listing.samples, since=since)
    headline = summary.headline(figures)
    details = await acreate_markdown_artifact(
        page.details_page(figures), key=DETAILS, description=f"Everything else: {headline}"
    )
    await acreate_markdown_artifact(
        page.main_page(figures, samples, details_page=artifact_page(DETAILS, str(details))),
        key=REPORT,
        description=headline,
    )
    return headline
