"""Publishes what operators edited: each workload block that changed becomes a version."""

from dataclasses import dataclass, field

from prefect import get_client, task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from blocks.workload import Workload
from lanes.errors import SpecInvalid, StillLocked
from lanes.promises import invalid_workload
from lanes.store import incidents, workloads
from lanes.store.database import Database
from lanes.workload import Version, parse
from tasks import schedules

SLUG = Workload.get_block_type_slug()


@dataclass
class Published:
    """The versions in force, the workloads whose version cannot be read, the sentences about blocks that could not be
    published, and one where the schedules are behind."""

    versions: dict[str, Version] = field(default_factory=dict)
    unreadable: set[str] = field(default_factory=set)
    problems: list[SpecInvalid] = field(default_factory=list)
    unscheduled: str | None = None


async def publish(db: Database) -> Published:
    """Every valid block is in force as a version; an invalid one left its last version in force and is an incident, as
    is a version in force that cannot be read any more. `submit` runs in the windows of those in force, once Prefect knows.

    Raises:
        StillLocked: somebody else holds a workload that changed; every other one is published.
    """
    published, held = Published(), list[StillLocked]()
    async with get_client() as client:
        documents = await client.read_block_documents_by_type(SLUG)
    for document in documents:
        try:
            spec = parse(document.name or "", document.data)
        except SpecInvalid as problem:
            published.problems.append(problem)
            continue
        try:
            async with db.transaction() as run:
                await run(workloads.publish, document.name or "", spec, now=run.now)
        except StillLocked as locked:
            held.append(locked)
    stored = await db.run(workloads.read_in_force)
    published.versions, published.problems = stored.versions, published.problems + stored.unreadable
    blocks = {document.name: document.id for document in documents}
    invalid = [
        invalid_workload(each.workload, each.problems, block_id=blocks.get(each.workload)) for each in published.problems
    ]
    async with db.transaction() as run:
        await run(incidents.record_invalid, invalid, now=run.now)
    published.unreadable = {each.workload for each in stored.unreadable}
    published.unscheduled = await schedules.unscheduled(published.versions, keep=published.unreadable)
    if held:
        raise held[0]
    return published


@task(name="publish workloads", cache_policy=NO_CACHE, persist_result=False)
async def publish_workloads(db: Database) -> Published:
    """As `publish`, and each problem stands in the log of the run."""
    published = await publish(db)
    for problem in published.problems:
        get_run_logger().error("%s", problem)
    if published.unscheduled is not None:
        get_run_logger().warning("%s", published.unscheduled)
    return published
