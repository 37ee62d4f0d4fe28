"""Pages in the Prefect UI for incidents, jobs and outages: artifacts, links to forms, and the state of a drain's run."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Self, TypeVar
from uuid import UUID

from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.filters import DeploymentFilter, FlowRunFilter
from prefect.client.schemas.objects import State, StateType, WorkPoolStatus
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_run_logger

from blocks.provider import Provider
from blocks.workload import Workload
from lanes.ids import JobId
from lanes.promises.briefing import Briefing, Cause
from lanes.promises.incident import Incident
from lanes.promises.remedy import KEPT_BY, FormLink, FormTarget, form, list_handling_forms
from lanes.realtime.health import Standstill, Standstills
from lanes.report import incident
from lanes.report import incident as page_of
from lanes.report import job as page_of_job
from lanes.report.links import artifact_page, block_page, form_page, run_page
from lanes.settling.listing import JobStatus
from lanes.slack.wording import IncidentPages
from lanes.standing.runs import Deployment, departing_workload
from lanes.store.promises import briefings
from lanes.store.realtime import outages
from lanes.store.workload.accounts import LaneAccount
from lanes.text import remove_quotes
from lanes.words import BLOCK, Lane
from tasks.connections import Connections, this_run
from tasks.runs import summarize_error

T = TypeVar("T")
NEWEST = 20  # runs that are searched
BEGUN = ("PENDING", "RUNNING", "COMPLETED", "FAILED", "CRASHED", "CANCELLED", "CANCELLING")
AWAY = "Prefect could not be asked"


@dataclass(frozen=True)
class LookupLimits:
    """The time limits for looking up details of incidents, so that even two hundred at once are posted."""

    question_s: float = 3.0  # one request to Prefect
    round_s: float = 20.0  # all lookups of one round of posts


class Finder:
    """Lookups in Prefect for one round of messages, with one client; after a failure, the rest are posted without them."""

    def __init__(self, limits: LookupLimits) -> None:
        self.limits, self._away = limits, False
        self._client: PrefectClient | None = None
        self._opened = AsyncExitStack()
        self._handles: UUID | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        with suppress(Exception):  # the messages were posted
            await self._opened.aclose()

    async def complete(self, of: Incident, briefing: Briefing) -> Briefing:
        """Add the details that only Prefect has: the outcome of the newest run that should have sent or collected batches."""
        if of.promise not in KEPT_BY or briefing.flow_run_id is not None:
            return briefing
        return await self._ask(lambda client: _add_run(client, of, briefing)) or briefing

    async def find(self, of: Incident, briefing: Briefing, *, now: datetime) -> IncidentPages:
        """Return the pages that Prefect can provide. The artifact links to the form too."""
        link = form(of)
        form_url = link and await self._ask(lambda client: _form_page(client, of, briefing, link))
        remedy = (link.label, form_url) if link and form_url else None
        page = await self._ask(lambda client: _incident_page(client, of, briefing, remedy, now))
        handling = await self._ask(self._find_handling_form)
        handle = [
            handling and form_page(handling, each.parameters) for each in list_handling_forms(of)
        ]
        return IncidentPages(page, "" if page else AWAY, form_url, *handle)

    async def _find_handling_form(self, client: PrefectClient) -> UUID:
        """Return the deployment whose form silences and acknowledges incidents; it is requested once a round."""
        if self._handles is None:
            address = Deployment.HANDLE_INCIDENT.address
            self._handles = (await client.read_deployment_by_name(address)).id
        return self._handles

    async def _ask(self, ask: Callable[[PrefectClient], Awaitable[T]]) -> T | None:
        """Return Prefect's answer, or None without one within `question_s` seconds. Never raises."""
        if self._away:
            return None
        try:
            async with asyncio.timeout(self.limits.question_s):
                self._client = self._client or await self._opened.enter_async_context(get_client())
                return await ask(self._client)
        except ObjectNotFound:
            return None
        except Exception as error:  # whatever Prefect does, the message is posted
            self._away = True
            message = "incidents are posted without details from Prefect: %s"
            get_run_logger().warning(message, summarize_error(error))
            return None


async def write_artifact(
    client: PrefectClient, key: str, markdown: str, headline: str, *, flow_run_id: UUID | None
) -> str:
    """Write a new version of the artifact on behalf of that run, and return its page.

    Prefect's own function would also connect to the event stream, to emit an event about the artifact.
    """
    artifact = ArtifactCreate(
        key=key, type="markdown", data=markdown, description=headline, flow_run_id=flow_run_id
    )
    body = artifact.model_dump(mode="json", exclude_unset=True)
    response = await client.request("POST", "/artifacts/", json=body)
    return artifact_page(key, response.json()["id"])


class JobPages:
    """The pages of jobs: one artifact for each job, which this run updates in place."""

    def __init__(self) -> None:
        self._written: dict[JobId, tuple[str, str]] = {}  # the artifact's id and its text

    async def write(self, job: JobStatus, now: datetime) -> None:
        """Write the page of the job if its text has changed."""
        page, title = page_of_job.render(job, now), page_of_job.headline(job)
        id_, old_page = self._written.get(job.job_id, ("", ""))
        if page == old_page:
            return
        async with get_client() as client:
            if id_:
                body, path = {"data": page, "description": title}, {"id": id_}
                await client.request("PATCH", "/artifacts/{id}", json=body, path_params=path)
            else:
                key, run_id = page_of_job.key(job), this_run()
                at_page = await write_artifact(client, key, page, title, flow_run_id=run_id)
                id_ = at_page.rpartition("/")[2]
        self._written[job.job_id] = id_, page
        if job.is_done:
            del self._written[job.job_id]


async def _incident_page(
    client: PrefectClient,
    of: Incident,
    briefing: Briefing,
    remedy: tuple[str, str] | None,
    now: datetime,
) -> str:
    markdown = page_of.render(of, briefing, remedy=remedy, now=now)
    key, title = page_of.key(of.id), page_of.headline(of)
    return await write_artifact(client, key, markdown, title, flow_run_id=this_run())


async def _add_run(client: PrefectClient, of: Incident, briefing: Briefing) -> Briefing:
    deployment = KEPT_BY[of.promise]
    runs = await client.read_flow_runs(
        deployment_filter=DeploymentFilter.model_validate({"name": {"any_": [deployment]}}),
        flow_run_filter=FlowRunFilter.model_validate({"state": {"type": {"any_": BEGUN}}}),
        sort=FlowRunSort.START_TIME_DESC,
        limit=NEWEST,
    )
    matching_runs = [
        each for each in runs if departing_workload(each.parameters) in (None, of.workload)
    ]
    changes: dict[str, Any] = (
        {"flow_run_id": matching_runs[0].id, "no_run": ""} if matching_runs else {}
    )
    if not briefing.causes:
        outcome = (
            _describe_unfinished(deployment, matching_runs[0].state) if matching_runs else None
        )
        why = await _explain_no_run(client, deployment, of.workload), outcome
        changes["causes"] = tuple(Cause(error=each) for each in why if each)
    return briefing.model_copy(update=changes)


def _describe_unfinished(deployment: Deployment, state: State | None) -> str | None:
    """Return the state of the newest run as a sentence, or None if it completed."""
    if state is None or state.name == "Completed":
        return None
    suffix = f": {remove_quotes(state.message)}" if state.message else ""
    return f"the newest run of `{deployment}` is {state.name}{suffix}"


async def _explain_no_run(
    client: PrefectClient, deployment: Deployment, workload: str
) -> str | None:
    """Return why no run of the deployment begins for a workload, or None if pool, deployment and schedule are ready."""
    with suppress(ObjectNotFound):
        match (await client.read_work_pool(Lane.BATCH)).status:
            case WorkPoolStatus.PAUSED:
                return (
                    "the work pool `batch` is paused in Prefect: no run begins until it is resumed"
                )
            case WorkPoolStatus.NOT_READY:
                return "no worker of the work pool `batch` is online: no run begins until `lanes up` starts one"
    with suppress(ObjectNotFound):
        deployed = await client.read_deployment_by_name(deployment.address)
        if deployed.paused:
            return f"the deployment `{deployment}` is paused in Prefect: no run begins until it is resumed"
        own_schedules = [
            each for each in deployed.schedules if departing_workload(each.parameters) == workload
        ]
        if own_schedules and not any(each.active for each in own_schedules):
            return f"the schedule of `{deployment}` for {workload} is inactive in Prefect: no run begins until it is active"
    return None


async def _form_page(
    client: PrefectClient, of: Incident, briefing: Briefing, link: FormLink
) -> str | None:
    match link.where:
        case FormTarget.DEPLOYMENT:
            deployment = await client.read_deployment_by_name(Deployment(link.name).address)
            return form_page(deployment.id, link.parameters)
        case FormTarget.BLOCK:
            slug = Workload.get_block_type_slug()
            return await _block_page(client, of.block_id, link.name, slug)
        case FormTarget.PROVIDER:
            return await _provider_page(client, of.subject)
        case FormTarget.RUN:
            return None if briefing.flow_run_id is None else run_page(briefing.flow_run_id)


async def _provider_page(client: PrefectClient, account: str) -> str:
    """Return the editor page of the account's provider block, or that of block `lanes` if no block has the account."""
    slug = Provider.get_block_type_slug()
    blocks = await client.read_block_documents_by_type(slug)
    matching_ids = [each.id for each in blocks if each.data.get("account") == account]
    return await _block_page(client, matching_ids[0] if matching_ids else None, BLOCK, slug)


async def _block_page(client: PrefectClient, known: UUID | None, name: str, slug: str) -> str:
    if known is not None:
        return block_page(known)
    return block_page((await client.read_block_document_by_name(name, slug)).id)


DOWN = "Provider down"  # state of a running run while the provider does not answer
UNANSWERED = "Unanswered"  # final state of such a run; it names Prefect's event, so that no automation replaces the run
AGAIN_S = 300.0  # how often the artifact is rewritten during an outage
LIMIT_S = 10.0
CLOSING_S = 3.0


class Notice:
    """The outage notice of one drain's run: the run's state and an artifact, published once per outage of the provider.

    It is published in the background, within a time limit, so that Prefect delays no answer. `standstills` returns the
    standstills by account. `close` it before its run ends, so that no state follows the run's final state.
    """

    def __init__(
        self,
        at: Connections,
        standstills: Callable[[], Mapping[LaneAccount, Standstills]],
        *,
        limit_s: float = LIMIT_S,
    ) -> None:
        self._at, self._standstills, self._limit_s = at, standstills, limit_s
        self._told: tuple[str, ...] = ()
        self._logged: tuple[str, ...] = ()
        self._written = 0.0
        self._waited = False
        self._standing: Sequence[Standstill] = ()
        self._telling: asyncio.Task[None] | None = None

    async def look(self) -> None:
        """Publish a new outage, or its end, in the run's state. Raises the errors of Prefect and the database."""
        whom = tuple(each.whom for each in _list_standstills(self._open()))
        lasts = bool(whom) and time.monotonic() - self._written > AGAIN_S
        if whom != self._told or lasts:
            self._telling = asyncio.create_task(self._tell(whom))
            await asyncio.shield(self._telling)  # a request that has begun is not cancelled

    async def close(self) -> None:
        """End a notice under way within a few seconds, because the next drain waits for this one."""
        if self._telling is not None:
            await asyncio.wait({self._telling}, timeout=CLOSING_S)
            self._telling.cancel()
            await asyncio.gather(self._telling, return_exceptions=True)

    def ending(self, answered: int) -> int | State[int]:
        """Return the run's result: the count, or in an outage a state with a message, failed if no account answered since."""
        standing = self._standing or _list_standstills(self._open())
        if not any(self._open().values()):
            return answered
        message = f"{incident.outage_message(standing, now=standing[0].since)}; {answered:,} items were answered by this run"
        since = standing[0].since
        none = all(each.none_answered_since(since) for each in self._standstills().values())
        type_ = StateType.FAILED if none else StateType.COMPLETED
        return State(type=type_, name=UNANSWERED, message=message)

    def _open(self) -> Mapping[LaneAccount, Sequence[Standstill]]:
        return {account: each.all for account, each in self._standstills().items()}

    async def _tell(self, whom: tuple[str, ...]) -> None:
        async with self._at.db.transaction() as run:
            now = run.now
            by_account = {
                account: await run(outages.complete_standstills, account.name, each)
                for account, each in self._open().items()
            }
        standing = _list_standstills(by_account)
        if not all(each.bad for each in standing) and not self._waited:
            # its incident is about to be written: wait for the next look, to include its details
            self._waited = True
            return
        self._waited, self._standing = False, standing
        if whom != self._logged:
            self._logged = whom
            get_run_logger().warning("%s", incident.outage_message(standing, now=now))
        if self._at.flow_run_id is None:
            return
        async with asyncio.timeout(self._limit_s), get_client() as client:
            if whom != self._told:
                await self._say(client, standing, now)
            await self._write(client, standing, now)
        self._told, self._written = whom, time.monotonic()

    async def _say(
        self, client: PrefectClient, standing: Sequence[Standstill], now: datetime
    ) -> None:
        name, message = DOWN if standing else "Running", incident.outage_message(standing, now=now)
        state = State(type=StateType.RUNNING, name=name, message=message)
        assert self._at.flow_run_id is not None
        await client.set_flow_run_state(self._at.flow_run_id, state)

    async def _write(
        self, client: PrefectClient, standing: Sequence[Standstill], now: datetime
    ) -> None:
        stake = await self._at.db.run(briefings.count_on_lane, Lane.REALTIME, now=now)
        page, summary = (
            incident.render_outage(standing, stake, now=now),
            incident.outage_headline(standing),
        )
        run_id = self._at.flow_run_id
        await write_artifact(client, incident.OUTAGE_KEY, page, summary, flow_run_id=run_id)


def _list_standstills(standing: Mapping[LaneAccount, Sequence[Standstill]]) -> list[Standstill]:
    """Return the standstills of all accounts, the oldest first; each names its account if there are several."""
    found = [
        each if len(standing) == 1 else replace(each, whom=f"{each.whom} of account {account.name}")
        for account, of_it in standing.items()
        for each in of_it
    ]
    return sorted(found, key=lambda each: (each.since, each.whom))
