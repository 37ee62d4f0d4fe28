"""Write artifacts for a person: the report of a period on two pages, and the advice for a workload."""

from datetime import UTC, datetime, timedelta

from prefect import task
from prefect.artifacts import acreate_markdown_artifact
from prefect.cache_policies import NO_CACHE

from lanes.advice.recommendation import advise
from lanes.errors import ActionRefused
from lanes.report import page, summary
from lanes.report.advice import in_page
from lanes.report.advice_numbers import headline as advised
from lanes.report.links import DETAILS, REPORT, artifact_page
from lanes.store.advice.advice import asked
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
    main = page.main_page(figures, samples, details_page=artifact_page(DETAILS, str(details)))
    await acreate_markdown_artifact(main, key=REPORT, description=headline)
    return headline


@task(name="write advice", cache_policy=NO_CACHE, persist_result=False)
async def write_advice(
    db: Database,
    workload: str,
    *,
    days: int,
    items_per_month: float | None = None,
    correction_usd: float | None = None,
) -> str:
    """Write the advice as a new version of artifact `lanes-advice-<workload>`; return its headline.

    Raises:
        UnknownWorkload: no workload of that name has a published version.
    """
    now = await db.now()
    seen, kept = await db.run(asked, workload, since=now - timedelta(days=days), now=now)
    advice = advise(seen, kept, items_per_month=items_per_month, correction_usd=correction_usd)
    said = advised(advice)
    page = in_page(advice)
    await acreate_markdown_artifact(page, key=f"lanes-advice-{workload}", description=said)
    return said
