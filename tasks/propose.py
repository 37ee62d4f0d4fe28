"""The weekly look at every workload: advice, and proposed rollouts to batch for consumers who surely read late."""

from contextlib import suppress
from datetime import timedelta

from prefect import get_client, task
from prefect.artifacts import acreate_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from lanes.advice.proposals import PLAYBOOK, ProposedRollout
from lanes.advice.recommendation import advise
from lanes.ids import ProposalId
from lanes.report import proposal as report
from lanes.report.links import form_page
from lanes.rollouts.playbook import load
from lanes.standing import runs
from lanes.store.advice import proposals
from lanes.store.advice.advice import asked
from lanes.store.database import Database
from lanes.store.workload import workloads
from tasks.outgoing import publish_events
from tasks.report import write_advice
from tasks.runs import REFUSALS


async def review(db: Database, *, days: int) -> str:
    """Write the advice on every published workload, propose rollouts, and return how many are open."""
    found = list[ProposedRollout]()
    for name in sorted(await db.run(workloads.in_force)):
        try:
            await write_advice(db, name, days=days)
            found += await propose(db, name, days=days)
        except REFUSALS as reason:  # it was changed meanwhile: the other workloads go on
            get_run_logger().warning("%s: %s", name, reason)
    with suppress(Exception):  # Prefect is away: the events wait in the outbox
        await publish_events(db)
    return report.headline("every workload", found)


@task(
    name="propose", task_run_name="propose {workload}", cache_policy=NO_CACHE, persist_result=False
)
async def propose(db: Database, workload: str, *, days: int) -> list[ProposedRollout]:
    """Propose or refresh the rollouts of a workload, write artifact `lanes-proposals-<workload>`, and return what is proposed.

    Raises:
        UnknownWorkload: no workload of that name has a published version.
    """
    now = await db.now()
    seen, kept = await db.run(asked, workload, since=now - timedelta(days=days), now=now)
    found = await db.run(proposals.refresh, advise(seen, kept), load(PLAYBOOK), now=now)
    for consumer, why in found.refused.items():
        get_run_logger().info("%s, consumer %s, is not proposed: %s", workload, consumer, why)
    said = report.headline(workload, found.proposed)
    page = report.render(workload, found.proposed, found.refused, await _forms(found.proposed))
    await acreate_markdown_artifact(page, key=report.key(workload), description=said)
    return found.proposed


async def _forms(proposed: list[ProposedRollout]) -> dict[ProposalId, str]:
    """Return the page of the form that decides each proposal; none where Prefect does not know the form."""
    pages = dict[ProposalId, str]()
    with suppress(Exception):
        async with get_client() as client:
            for each in proposed:
                form = runs.decide_proposal(each.workload, each.id)
                deployed = await client.read_deployment_by_name(form.deployment.address)
                pages[each.id] = form_page(deployed.id, form.parameters)
    return pages
