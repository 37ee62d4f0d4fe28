"""Deletes what is kept for a while only, in small transactions."""

from dataclasses import dataclass
from datetime import timedelta

from prefect import task
from prefect.cache_policies import NO_CACHE

from lanes.store import retention
from lanes.store.database import Database


@dataclass(frozen=True)
class Retention:
    """For how many days refused inputs and reads are kept."""

    refused_days: int
    reads_days: int


@task(name="delete what is over", cache_policy=NO_CACHE, persist_result=False)
async def sweep_out(db: Database, kept: Retention) -> dict[str, int]:
    """Everything older was deleted; the number of rows by kind."""
    now = await db.now()
    deleted = {"refused inputs": 0, "reads": 0}
    for kind, delete, days in (
        ("refused inputs", retention.delete_refused, kept.refused_days),
        ("reads", retention.delete_reads, kept.reads_days),
    ):
        while number := await db.run(delete, before=now - timedelta(days=days)):
            deleted[kind] += number
    return deleted
