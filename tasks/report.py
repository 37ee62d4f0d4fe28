"""Takes the snapshot and writes it as the report's artifact."""

from datetime import UTC, datetime, timedelta

from prefect import task
from prefect.artifacts import acreate_markdown_artifact
from prefect.cache_policies import NO_CACHE

from lanes.errors import ActionRefused
from lanes.report import markdown
from lanes.report.links import REPORT
from lanes.store.database import Database
from lanes.store.report import snapshot


async def begins(db: Database, since: datetime | None, *, hours: int) -> datetime:
    """The moment from which on the report covers what was received; one without an offset is in UTC.

    Raises:
        ActionRefused: it is still to come.
    """
    now = await db.now()
    if since is None:
        return now - timedelta(hours=hours)
    moment = since if since.tzinfo is not None else since.replace(tzinfo=UTC)
    if moment > now:
        raise ActionRefused(
            f"since: {moment:%Y-%m-%d %H:%M %Z} is still to come (it is {now.astimezone(UTC):%Y-%m-%d %H:%M} UTC); "
            "choose a moment that is over, or leave it empty"
        )
    return moment


@task(name="write report", cache_policy=NO_CACHE, persist_result=False)
async def write_report(db: Database, since: datetime) -> str:
    """The newest version of artifact `lanes-report` shows everything received since then; its headline."""
    figures = await db.run(snapshot.take, since=since, now=await db.now())
    headline = markdown.headline(figures)
    await acreate_markdown_artifact(markdown.render(figures), key=REPORT, description=headline)
    return headline
