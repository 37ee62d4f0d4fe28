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

SLUG = Workload.get_block_type_slug()


@dataclass
class Published:
    """The versions in force, and the sentences about blocks that could not be published."""

    versions: dict[str, Version] = field(default_factory=dict)
    problems: list[SpecInvalid] = field(default_factory=list)


async def publish(db: Database) -> Published:
    """Every valid block is in force as a version; an invalid one left its last version in force and is an incident, as
    is a version in force that cannot be read any more.

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
            await db.run(workloads.publish, document.name or "", spec, now=await db.now())
        except StillLocked as locked:
            held.append(locked)
    stored = await db.run(workloads.read_in_force)
    published.versions, published.problems = stored.versions, published.problems + stored.unreadable
    invalid = [invalid_workload(each.workload, each.problems) for each in published.problems]
    await db.run(incidents.record_invalid, invalid, now=await db.now())
    if held:
        raise held[0]
    return published


@task(name="publish workloads", cache_policy=NO_CACHE, persist_result=False)
async def publish_workloads(db: Database) -> Published:
    """As `publish`, and each problem stands in the log of the run."""
    published = await publish(db)
    for problem in published.problems:
        get_run_logger().error("%s", problem)
    return published
