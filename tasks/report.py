"""Reports for people: the report of a period, the advice for a workload, and the rollouts that it proposes each week."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta

from prefect import get_client
from prefect.artifacts import acreate_markdown_artifact
from prefect.logging import get_run_logger

from lanes.advice.proposals import PLAYBOOK, ProposedRollout
from lanes.advice.recommendation import advise
from lanes.errors import ActionRefused
from lanes.ids import ProposalId
from lanes.report import page, summary
from lanes.report import proposal as report
from lanes.report.advice import render_page
from lanes.report.advice_numbers import headline as advised
from lanes.report.links import DETAILS, REPORT, artifact_page, form_page
from lanes.rollouts.playbook import load
from lanes.standing import runs
from lanes.store.advice import proposals
from lanes.store.advice.advice import basis
from lanes.store.database import Database
from lanes.store.report import snapshot
from lanes.store.settling import listing
from lanes.store.workload import workloads
from tasks.outgoing import publish_events
from tasks.runs import REFUSALS, plain_task


async def begins(db: Database, since: datetime | None, *, hours: int) -> datetime:
    """Return the start of the report's period; a time without an offset is in UTC.

    Raises:
        ActionRefused: the start is in the future.
    """
    now = await db.now()
    if since is None:
        return now - timedelta(hours=hours)
    moment = since if since.tzinfo is not None else since.replace(tzinfo=UTC)
    if moment > now:
        raise ActionRefused(
            f"since: {moment:%Y-%m-%d %H:%M %Z} is in the future (it is {now.astimezone(UTC):%Y-%m-%d %H:%M} UTC); "
            "choose an earlier moment, or leave it empty"
        )
    return moment


@plain_task("write report")
async def write_report(db: Database, since: datetime) -> str:
    """Write new versions of both report artifacts for the items received since then, and return the headline."""
    figures = await db.run(snapshot.take, since=since, now=await db.now())
    samples = await db.run(listing.samples, since=since)
    headline = summary.headline(figures)
    details = await acreate_markdown_artifact(
        page.details_page(figures), key=DETAILS, description=f"Everything else: {headline}"
    )
    main = page.main_page(figures, samples, details_page=artifact_page(DETAILS, str(details)))
    await acreate_markdown_artifact(main, key=REPORT, description=headline)
    return headline


@plain_task("write advice")
async def write_advice(
    db: Database,
    workload: str,
    *,
    days: int,
    items_per_month: float | None = None,
    correction_usd: float | None = None,
) -> str:
    """Write the advice as a new version of artifact `lanes-advice-<workload>`; return its headline.

    Raises:
        UnknownWorkload: no workload of that name has a published version.
    """
    now = await db.now()
    seen, kept = await db.run(basis, workload, since=now - timedelta(days=days), now=now)
    advice = advise(seen, kept, items_per_month=items_per_month, correction_usd=correction_usd)
    message = advised(advice)
    page = render_page(advice)
    await acreate_markdown_artifact(page, key=f"lanes-advice-{workload}", description=message)
    return message


async def review(db: Database, *, days: int) -> str:
    """Write the advice for every published workload, propose rollouts, and return a headline with their number."""
    rollouts = list[ProposedRollout]()
    for name in sorted(await db.run(workloads.read_versions)):
        try:
            await write_advice(db, name, days=days)
            rollouts += await propose(db, name, days=days)
        except REFUSALS as reason:  # changed during the review: continue with the others
            get_run_logger().warning("%s: %s", name, reason)
    with suppress(Exception):  # Prefect is unavailable: the events wait in the outbox
        await publish_events(db)
    return report.headline("every workload", rollouts)


@plain_task("propose", "propose {workload}")
async def propose(db: Database, workload: str, *, days: int) -> list[ProposedRollout]:
    """Propose or refresh the rollouts of a workload, write artifact `lanes-proposals-<workload>`, and return the proposals.

    Raises:
        UnknownWorkload: no workload of that name has a published version.
    """
    now = await db.now()
    seen, kept = await db.run(basis, workload, since=now - timedelta(days=days), now=now)
    outcome = await db.run(proposals.refresh, advise(seen, kept), load(PLAYBOOK), now=now)
    for consumer, why in outcome.refused.items():
        get_run_logger().info("%s, consumer %s, is not proposed: %s", workload, consumer, why)
    text = report.headline(workload, outcome.proposed)
    page = report.render(
        workload, outcome.proposed, outcome.refused, await _forms(outcome.proposed)
    )
    await acreate_markdown_artifact(page, key=report.key(workload), description=text)
    return outcome.proposed


async def _forms(proposed: list[ProposedRollout]) -> dict[ProposalId, str]:
    """Return the address of the form that decides each proposal; leave out forms that Prefect does not return."""
    pages = dict[ProposalId, str]()
    with suppress(Exception):
        async with get_client() as client:
            for each in proposed:
                form = runs.decide_proposal(each.workload, each.id)
                deployed = await client.read_deployment_by_name(form.deployment.address)
                pages[each.id] = form_page(deployed.id, form.parameters)
    return pages
