"""Publishes what operators edited: each workload block that changed becomes a version."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from prefect import get_client, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import BlockDocument
from prefect.logging import get_run_logger

from blocks.provider import Provider
from blocks.workload import Workload
from lanes.errors import ActionRefused, SpecInvalid, StillLocked
from lanes.promises.breaches import invalid_workload
from lanes.store import incidents
from lanes.store.database import Database
from lanes.store.workload import candidates, golden, workloads
from lanes.store.workload.golden import PublishOptions, PublishReply
from lanes.words import BLOCK
from lanes.workload.definition import parse
from lanes.workload.version import Version
from tasks import making_known
from tasks.making_known import VersionsToPrefect

SLUG = Workload.get_block_type_slug()
MOST_LOOKS = 3  # at the blocks, while each look puts a version in force


@dataclass
class Published:
    """The versions in force, and sentences about those that could not be published or read.

    `untold` says why Prefect does not know of them yet.
    """

    versions: dict[str, Version] = field(default_factory=dict)
    problems: list[SpecInvalid] = field(default_factory=list)
    untold: str | None = None


async def publish(
    db: Database,
    told: VersionsToPrefect | None = None,
    *,
    options: Mapping[str, PublishOptions] | None = None,
) -> Published:
    """Put every valid block in force as a version, or make it a candidate where its workload has a golden set.

    A block that says what the candidate of a canary says is left alone; once the canary was rolled back, an incident says so.

    `options` says by workload what the person who publishes it asks for.

    An invalid block leaves its last version in force and opens an incident, as does a block whose version lost to the one in
    force on the golden set, and a version in force that can no longer be read. Then write the versions in force to Prefect, so
    that `depart` runs in their windows and forms offer them; skip this if `told` shows that Prefect got the same lately.

    Blocks may be saved and published during the read. So a publisher that changed anything reads the blocks again, and no
    older version stays in force, or a candidate.

    Raises:
        StillLocked: another transaction holds a workload that changed; every other one is published.
    """
    taken, documents, looks = _Taken(moved=True), list[BlockDocument](), 0
    async with get_client() as client:
        while taken.moved and looks < MOST_LOOKS:
            documents, looks = await client.read_block_documents_by_type(SLUG), looks + 1
            providers = await _providers(client, documents)
            taken = await _take(db, documents, (options or {}) if looks == 1 else {}, providers)
    published = Published(problems=taken.problems)
    stored = await db.run(workloads.read_in_force)
    published.versions, published.problems = stored.versions, published.problems + stored.unreadable
    blocks = {document.name: document.id for document in documents}
    invalid = [
        invalid_workload(each.workload, each.problems, block_id=blocks.get(each.workload))
        for each in published.problems
    ]
    async with db.transaction() as run:
        await run(incidents.record_invalid, invalid, now=run.now)
    published.untold = await making_known.unknown(db, stored, told)
    if taken.held:
        raise taken.held[0]
    return published


@dataclass
class _Taken:
    """What became of some blocks: whether one of them changed anything, and what keeps others from being in force."""

    moved: bool = False
    problems: list[SpecInvalid] = field(default_factory=list)
    held: list[StillLocked] = field(default_factory=list)


async def _providers(client: PrefectClient, documents: Sequence[BlockDocument]) -> set[str]:
    """Return the provider blocks that a workload may name; others than `lanes` are looked up only if one is named."""
    if all(each.data.get("provider", BLOCK) == BLOCK for each in documents):
        return {BLOCK}
    there = await client.read_block_documents_by_type(Provider.get_block_type_slug())
    return {BLOCK, *(each.name or "" for each in there)}


async def _take(
    db: Database,
    documents: Sequence[BlockDocument],
    options: Mapping[str, PublishOptions],
    providers: Collection[str],
) -> _Taken:
    taken = _Taken()
    for document in documents:
        name = document.name or ""
        try:
            spec = parse(name, document.data)
            if spec.provider not in providers:
                said = f'provider: there is no block "Lanes provider/{spec.provider}"; create it, or name another'
                raise SpecInvalid(name, [said])
        except SpecInvalid as problem:
            taken.problems.append(problem)
            continue
        try:
            async with db.transaction() as run:
                if await run(candidates.is_candidate, name, spec):
                    offered = PublishReply(refusal=await run(candidates.taken_back, name, spec))
                else:
                    of_name = options.get(name)
                    offered = await run(golden.publish, name, spec, options=of_name, now=run.now)
            taken.moved = taken.moved or offered.moved
            if offered.refusal is not None:
                taken.problems.append(SpecInvalid(name, [offered.refusal]))
        except SpecInvalid as unfit:
            taken.problems.append(unfit)
        except StillLocked as locked:
            taken.held.append(locked)
        except ActionRefused as refused:
            taken.problems.append(SpecInvalid(name, [str(refused)]))
    return taken


@task(name="publish workloads", cache_policy=NO_CACHE, persist_result=False)
async def publish_workloads(db: Database) -> Published:
    """Publish, and log each problem."""
    published = await publish(db)
    for problem in published.problems:
        get_run_logger().error("%s", problem)
    if published.untold is not None:
        get_run_logger().warning("%s", published.untold)
    return published
