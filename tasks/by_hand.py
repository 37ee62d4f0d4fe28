"""The task that performs an action of a person."""

from contextlib import suppress

from prefect import State, task
from prefect.artifacts import acreate_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from lanes.commands.actions import AbortRollout, DecideProposal, PersonAction
from lanes.standing import runs
from lanes.store.database import Database
from lanes.store.rollouts import rollouts
from tasks.approval import withdraw
from tasks.asking import ask_for_run
from tasks.outgoing import publish_events
from tasks.runs import REFUSALS, database, refused


async def by_hand(action: PersonAction) -> str | State[str]:
    """Return what is true after the action, or the refused state of a run whose action is impossible."""
    try:
        async with database() as db:
            return await perform(db, action)
    except REFUSALS as reason:
        return refused(reason)


@task(name="act", task_run_name="{action.what}", cache_policy=NO_CACHE, persist_result=False)
async def perform(db: Database, action: PersonAction) -> str:
    """Perform the action and return the sentence that says what is true now.

    Raises:
        UnknownWorkload, UnknownItem, ActionRefused, StillLocked: it cannot be done, and why.
    """
    done = None
    while done is None or done.left:
        async with db.transaction() as run:
            done = await run(action.perform, run.now)
    get_run_logger().info("%s (%s: %s)", done.said, action.who, action.why)
    if done.page:
        await acreate_markdown_artifact(done.page, key=done.key, description=action.what)
    await publish_events(db)
    if isinstance(action, AbortRollout):
        run_id = await db.run(rollouts.newest_run_of, action.workload)
        await withdraw(run_id, f"aborted by {action.who}: {action.why}")
    if isinstance(action, DecideProposal) and action.action == "approve":
        with suppress(Exception):  # Prefect is away: the hourly run leads the rollout
            await ask_for_run(runs.migrate())
    return done.said
