"""Takes the snapshot and writes it as the report's artifact."""

from datetime import datetime

from prefect import task
from prefect.artifacts import acreate_markdown_artifact
from prefect.cache_policies import NO_CACHE

from lanes.report import markdown
from lanes.report.links import REPORT
from lanes.store.database import Database
from lanes.store.report import snapshot


@task(name="write report", cache_policy=NO_CACHE, persist_result=False)
async def write_report(db: Database, since: datetime) -> str:
    """The newest version of artifact `lanes-report` shows everything received since then; its headline."""
    figures = await db.run(snapshot.take, since=since, now=await db.now())
    headline = markdown.headline(figures)
    await acreate_markdown_artifact(markdown.render(figures), key=REPORT, description=headline)
    return headline
