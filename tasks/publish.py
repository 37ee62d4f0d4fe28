"""Publishing: each changed workload block becomes a version, and the versions in force are written to Prefect.

In Prefect, a version in force shows as a schedule of `depart` in its window, and as a workload that forms offer.
"""

import asyncio
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterName,
    FlowFilter,
    FlowFilterName,
)
from prefect.client.schemas.objects import BlockDocument, DeploymentSchedule
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.logging import get_run_logger

from blocks.provider import Provider
from blocks.workload import Workload
from lanes.errors import ActionRefused, SpecInvalid, StillLocked
from lanes.promises.breaches import invalid_workload
from lanes.standing import runs
from lanes.standing.runs import Deployment, departing_workload
from lanes.store import incidents
from lanes.store.database import Database
from lanes.store.workload import candidates, golden, workloads
from lanes.store.workload.golden import PublishOptions, PublishReply
from lanes.store.workload.workloads import InForce
from lanes.words import BLOCK
from lanes.workload.definition import parse
from lanes.workload.form import offer_workloads
from lanes.workload.version import Version
from tasks.runs import plain_task, summarize_error

SLUG = Workload.get_block_type_slug()
MOST_LOOKS = 3  # reads of the blocks, while each read changes a version


KNOWN_WITHIN_S = 5.0
# a deploy removes schedules and choices, so a frequent publisher checks them again
ASKED_AGAIN_S = 15.0
MOST_TRIES = 3


@dataclass
class VersionsToPrefect:
    """The versions that Prefect had at the last check, so that frequent publishing sends it fewer requests."""

    known: frozenset[str] | None = None
    at: float = 0.0  # time of that check, by this host's monotonic clock
    within_s: float = KNOWN_WITHIN_S  # longest wait of a publisher for Prefect

    def still(self, stored: InForce) -> bool:
        return self.known == _list_names(stored) and time.monotonic() - self.at < ASKED_AGAIN_S

    def now(self, stored: InForce) -> None:
        self.known, self.at = _list_names(stored), time.monotonic()


@dataclass
class Published:
    """The versions in force, and the problems of those that could not be published or read.

    `untold` is the reason why they have not been written to Prefect yet.
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
    """Put every valid block in force as a version, or make it a candidate if its workload has a golden set.

    A block with the content of a canary's candidate is skipped; if the canary was rolled back, an incident reports it.
    `options` are, by workload, the options of the person who publishes it.

    An invalid block leaves its last version in force and opens an incident. So does a block whose version lost to the version
    in force on the golden set, and a version in force that can no longer be read. Finally, write the versions in force to
    Prefect, so that `depart` runs in their windows and forms offer them; skip this if `told` shows that Prefect got the same
    versions recently.

    Blocks may be saved and published during the read. So a publisher that changed anything reads the blocks again, and no
    older version stays in force or stays a candidate.

    Raises:
        StillLocked: another transaction holds a changed workload; all other workloads are published.
    """
    outcome, documents, reads = _Taken(moved=True), list[BlockDocument](), 0
    async with get_client() as client:
        while outcome.moved and reads < MOST_LOOKS:
            documents, reads = await client.read_block_documents_by_type(SLUG), reads + 1
            providers = await _providers(client, documents)
            outcome = await _take(db, documents, (options or {}) if reads == 1 else {}, providers)
    published = Published(problems=outcome.problems)
    stored = await db.run(workloads.read_in_force)
    published.versions, published.problems = stored.versions, published.problems + stored.unreadable
    blocks = {document.name: document.id for document in documents}
    invalid = [
        invalid_workload(each.workload, each.problems, block_id=blocks.get(each.workload))
        for each in published.problems
    ]
    async with db.transaction() as run:
        await run(incidents.record_invalid, invalid, now=run.now)
    published.untold = await tell_prefect(db, stored, told)
    if outcome.held:
        raise outcome.held[0]
    return published


@dataclass
class _Taken:
    """The result of publishing some blocks: whether anything changed, and the problems and locks that stopped others."""

    moved: bool = False
    problems: list[SpecInvalid] = field(default_factory=list)
    held: list[StillLocked] = field(default_factory=list)


async def _providers(client: PrefectClient, documents: Sequence[BlockDocument]) -> set[str]:
    """Return the provider blocks that a workload may name; query Prefect only if one other than `lanes` is named."""
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
    result = _Taken()
    for document in documents:
        name = document.name or ""
        try:
            spec = parse(name, document.data)
            if spec.provider not in providers:
                message = f'provider: there is no block "Lanes provider/{spec.provider}"; create it, or name another'
                raise SpecInvalid(name, [message])
        except SpecInvalid as problem:
            result.problems.append(problem)
            continue
        try:
            async with db.transaction() as run:
                if await run(candidates.is_candidate, name, spec):
                    reply = PublishReply(refusal=await run(candidates.explain_rollback, name, spec))
                else:
                    of_name = options.get(name)
                    reply = await run(golden.publish, name, spec, options=of_name, now=run.now)
            result.moved = result.moved or reply.moved
            if reply.refusal is not None:
                result.problems.append(SpecInvalid(name, [reply.refusal]))
        except SpecInvalid as unfit:
            result.problems.append(unfit)
        except StillLocked as locked:
            result.held.append(locked)
        except ActionRefused as refused:
            result.problems.append(SpecInvalid(name, [str(refused)]))
    return result


@plain_task("publish workloads")
async def publish_workloads(db: Database) -> Published:
    """Publish the workload blocks, and log each problem."""
    published = await publish(db)
    for problem in published.problems:
        get_run_logger().error("%s", problem)
    if published.untold is not None:
        get_run_logger().warning("%s", published.untold)
    return published


async def write_schedules(
    client: PrefectClient,
    submit: DeploymentResponse,
    versions: Mapping[str, Version],
    *,
    keep: Collection[str] = (),
) -> bool:
    """Schedule `depart` in each workload's off-peak window; return whether anything changed.

    Schedules of the workloads in `keep`, and schedules that a person added, do not change.
    """
    new_schedules = {make_slug(version): _schedule(version) for version in versions.values()}
    old_schedules = {schedule.slug: schedule for schedule in submit.schedules}
    missing = [schedule for slug, schedule in new_schedules.items() if slug not in old_schedules]
    # must run before the deletion, so that a workload whose window changed is never without a schedule
    if missing:
        await client.create_deployment_schedules(submit.id, missing)
    obsolete = [
        schedule
        for slug, schedule in old_schedules.items()
        if slug not in new_schedules
        and (of := _find_workload(schedule)) is not None
        and of not in keep
    ]
    for schedule in obsolete:
        await client.delete_deployment_schedule(submit.id, schedule.id)
    return bool(missing or obsolete)


def _find_workload(schedule: DeploymentSchedule) -> str | None:
    """Return the workload of a schedule that was written here, or None for a schedule that a person added."""
    workload = departing_workload(schedule.parameters)
    return workload if workload and (schedule.slug or "").startswith(f"{workload}-") else None


def make_slug(version: Version) -> str:
    """Return a schedule's slug: the workload and its window, so that a changed window is a new schedule."""
    window = version.spec.window
    ends = f"{window.start:%H%M}-{window.end:%H%M}-{window.zone.key}"
    return f"{version.workload}-{ends}".lower().replace("/", "-").replace("_", "-")


def _schedule(version: Version) -> DeploymentScheduleCreate:
    window = version.spec.window
    return DeploymentScheduleCreate(
        schedule=CronSchedule(cron=window.cron(), timezone=window.zone.key),
        active=True,
        slug=make_slug(version),
        parameters=dict(runs.depart(version.workload).parameters),
    )


_WITHOUT_A_WORKLOAD = {
    Deployment.ANSWER,
    Deployment.COLLECT,
    Deployment.WATCH,
    Deployment.RECONCILE,
    Deployment.REPORT,
    Deployment.TIDY,
}
ASKING = tuple(each for each in Deployment if each not in _WITHOUT_A_WORKLOAD)  # for a workload


async def write_choices(
    client: PrefectClient, forms: Iterable[DeploymentResponse], workloads: Collection[str]
) -> bool:
    """Make each of these forms offer these workloads; return whether any form was written.

    Raises:
        FormsRefused: Prefect did not accept some of the forms; the others are written.
    """
    form_schemas = [(each, _build_schema(each, workloads)) for each in forms]
    outdated = [(each, schema) for each, schema in form_schemas if schema is not None]
    updates = [
        client.update_deployment(each.id, DeploymentUpdate(parameter_openapi_schema=to))
        for each, to in outdated
    ]
    outcomes = await asyncio.gather(*updates, return_exceptions=True)
    refusals = {
        each.name: why
        for (each, _), why in zip(outdated, outcomes, strict=True)
        if isinstance(why, Exception)
    }
    if refusals:
        raise FormsRefused(refusals)
    return bool(outdated)


class FormsRefused(Exception):
    """Forms that Prefect did not accept: the reason by the name of the deployment."""

    def __init__(self, why: dict[str, Exception]) -> None:
        reasons = (f"form `{name}`: {summarize_error(each)}" for name, each in why.items())
        super().__init__("; ".join(reasons))


def _build_schema(
    deployment: DeploymentResponse, workloads: Collection[str]
) -> dict[str, object] | None:
    """Return a parameter schema that offers these workloads, or None if the deployment's schema already does."""
    old_schema = deployment.parameter_openapi_schema or {}
    new_schema = offer_workloads(old_schema, workloads)
    return None if new_schema == old_schema else new_schema


async def tell_prefect(
    db: Database, stored: InForce, told: VersionsToPrefect | None = None
) -> str | None:
    """Write these versions to Prefect with `make_known`; return None, or on failure a sentence with the reason.

    Skip this if `told` shows that they were written recently. Publishing waits at most a few seconds for Prefect.
    """
    told = told or VersionsToPrefect()
    if told.still(stored):
        return None
    try:
        async with asyncio.timeout(told.within_s), get_client() as client:
            stored = await make_known(client, db, stored)
    except Exception as error:  # whatever Prefect does, the versions are in force
        return (
            "the off-peak schedules of `depart` and the choices of forms could not be written; the next publishing tries again "
            f"({summarize_error(error)})"
        )
    told.now(stored)
    return None


async def make_known(client: PrefectClient, db: Database, stored: InForce) -> InForce:
    """Write the off-peak schedules of `depart` and the workload choices of forms to Prefect; return the last versions read.

    A workload whose version cannot be read keeps its schedules and choices. If Prefect is up to date, this makes one request
    and writes nothing. Two processes may publish at once, and one may know fewer versions. So after a write or a failed write,
    a process reads the versions in force again: the last write then includes every version.
    """
    for tries_left in reversed(range(MOST_TRIES)):
        try:
            has_written = await _write(client, stored)
        except Exception:
            if not tries_left:
                raise
            has_written = True
        if not has_written:
            break
        stored = await db.run(workloads.read_in_force)
    return stored


async def _write(client: PrefectClient, stored: InForce) -> bool:
    """Write schedules and forms where they differ; return whether anything was written."""
    keep = {each.workload for each in stored.unreadable}
    forms = {each.name: each for each in await _list_asking(client)}
    if (submit := forms.get(Deployment.DEPART)) is None:
        place = Deployment.DEPART.address
        raise LookupError(f"there is no deployment {place}; `lanes up` makes it")
    scheduled = await write_schedules(client, submit, stored.versions, keep=keep)
    offered = await write_choices(client, forms.values(), {*stored.versions, *keep})
    return scheduled or offered


async def _list_asking(client: PrefectClient) -> list[DeploymentResponse]:
    """Return the deployments whose forms have a workload field; a checkout may deploy only some of them."""
    names = [each.value for each in ASKING]
    return await client.read_deployments(
        flow_filter=FlowFilter(name=FlowFilterName(any_=names)),
        deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=names)),
    )


def _list_names(stored: InForce) -> frozenset[str]:
    unreadable = (each.workload for each in stored.unreadable)
    return frozenset({*map(make_slug, stored.versions.values()), *stored.versions, *unreadable})
