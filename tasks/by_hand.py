"""The task that performs a person's action."""

from contextlib import suppress

from prefect import State
from prefect.artifacts import acreate_markdown_artifact
from prefect.logging import get_run_logger

from lanes.commands.actions import AbortRollout, DecideProposal, Demote, PersonAction, Promote
from lanes.errors import ActionRefused
from lanes.report import replay as report
from lanes.standing import runs
from lanes.store.database import Database
from lanes.store.replays import promotions
from lanes.store.rollouts import rollouts
from tasks.approval import ask_about_replay, withdraw
from tasks.outgoing import publish_events
from tasks.replay import write_diff
from tasks.runs import REFUSALS, ask_for_run, database, plain_task, refuse


async def run_action(action: PersonAction) -> str | State[str]:
    """Perform the action; return the new state as a sentence, or the refused state of a run whose action is impossible."""
    try:
        async with database() as db:
            return await perform(db, action)
    except REFUSALS as reason:
        return refuse(reason)


async def show_replay(action: Promote | Demote) -> str | State[str]:
    """Promote or demote a replay, by default after a person has seen the diff on a form and approved it.

    The person's answer signs the action. An action that is not possible now is refused before a person is asked.
    """
    if not action.ask_first:
        return await run_action(action)
    selector = action.workload, action.generation
    try:
        async with database() as db:
            async with db.transaction() as run:
                if isinstance(action, Promote):
                    verb, replay = (
                        "promote",
                        await run(promotions.promotable, *selector, now=run.now),
                    )
                else:
                    verb, replay = "demote", await run(promotions.demotable, *selector)
            question = report.question(replay, await write_diff(db, replay), verb)
            answer = await ask_about_replay(replay, verb, question)
            if answer is None:
                raise ActionRefused(
                    f"{replay.name} stays {replay.state}: switch on one of the two, and sign it; run the form again"
                )
            if not answer.approved:
                message = (
                    f"{replay.name} stays {replay.state}: {answer.who} declined ({answer.why})"
                )
                get_run_logger().info("%s", message)
                return message
            signed = {"who": answer.who, "why": answer.why, "generation": replay.number}
            return await perform(db, action.model_copy(update=signed))
    except REFUSALS as reason:
        return refuse(reason)


@plain_task("perform", "{action.what}")
async def perform(db: Database, action: PersonAction) -> str:
    """Perform the action and return the new state as a sentence.

    Raises:
        UnknownWorkload, UnknownItem, ActionRefused, StillLocked: the action is not possible; the text gives the reason.
    """
    result = None
    while result is None or result.left:
        async with db.transaction() as run:
            result = await run(action.perform, run.now)
    get_run_logger().info("%s (%s: %s)", result.message, action.who, action.why)
    if result.page:
        await acreate_markdown_artifact(result.page, key=result.key, description=action.what)
    await publish_events(db)
    if isinstance(action, AbortRollout):
        run_id = await db.run(rollouts.read_newest_run, action.workload)
        await withdraw(run_id, f"aborted by {action.who}: {action.why}")
    if isinstance(action, DecideProposal) and action.action == "approve":
        with suppress(Exception):  # Prefect is unavailable: the hourly run leads the rollout
            await ask_for_run(runs.migrate())
    return result.message
