"""Looks at a workload's ledger and writes the advice as an artifact."""

from datetime import timedelta

from prefect import task
from prefect.artifacts import acreate_markdown_artifact
from prefect.cache_policies import NO_CACHE

from lanes.advice.recommendation import advise
from lanes.report.advice import in_page
from lanes.report.advice_numbers import headline
from lanes.store.advice.advice import asked
from lanes.store.database import Database


@task(name="write advice", cache_policy=NO_CACHE, persist_result=False)
async def write_advice(
    db: Database,
    workload: str,
    *,
    days: int,
    items_per_month: float | None = None,
    correction_usd: float | None = None,
) -> str:
    """The newest version of artifact `lanes-advice-<workload>` shows the advice; its headline.

    Raises:
        UnknownWorkload: no workload of that name has a published version.
    """
    now = await db.now()
    seen, kept = await db.run(asked, workload, since=now - timedelta(days=days), now=now)
    advice = advise(seen, kept, items_per_month=items_per_month, correction_usd=correction_usd)
    said = headline(advice)
    await acreate_markdown_artifact(
        in_page(advice), key=f"lanes-advice-{workload}", description=said
    )
    return said
