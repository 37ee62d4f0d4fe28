"""Deletes what is kept for a while only, in small transactions."""

from datetime import timedelta

from prefect import task
from prefect.cache_policies import NO_CACHE

from lanes.store import retention
from lanes.store.database import Database


@task(name="delete what is over", cache_policy=NO_CACHE, persist_result=False)
async def sweep_out(db: Database, *, refused_days: int, reads_days: int) -> dict[str, int]:
    """Everything older was deleted; the number of rows by kind."""
    now = await db.now()
    deleted = {"refused inputs": 0, "reads": 0}
    for kind, delete, days in (
        ("refused inputs", retention.delete_refused, refused_days),
        ("reads", retention.delete_reads, reads_days),
    ):
        while number := await db.run(delete, before=now - timedelta(days=days)):
            deleted[kind] += number
    return deleted
