"""Tells Slack of incidents from the outbox. Whatever Slack does, nothing here fails a run and nothing is lost.

Slack is told by `watch` alone, whose role one process holds, and by a person who tries it (`lanes alerts --test`).
"""

import asyncio
from datetime import timedelta

from prefect.logging import get_run_logger
from prefect.settings import get_current_settings

from blocks.slack_channel import SlackChannel
from lanes.promises.incident import SlackPost, SlackStep, delay_after, next_step
from lanes.slack.messenger import DeliveryError, MessagePlace, Messenger
from lanes.slack.wording import message, reminder
from lanes.store.database import Database
from lanes.store.promises import slack_posts
from lanes.store.rollouts import rollouts
from tasks.briefed import Briefed, Briefer
from tasks.pages import Finder, LookupLimits
from tasks.runs import BLOCK


async def remind(db: Database, messenger: Messenger, *, ui_url: str) -> int:
    """Reply to each message whose question is due, once a day, and return the number of replies. A webhook has no threads."""
    if not messenger.edits:
        return 0
    now, total = await db.now(), 0
    for each in await db.run(slack_posts.due_reminders, now=now):
        run_id = await db.run(rollouts.newest_run_of, each.incident.workload)
        said = reminder(each.incident, now, ui_url=ui_url, run_id=run_id)
        await db.run(slack_posts.begin_reminder, each.incident.id, now=now)
        try:
            await asyncio.to_thread(messenger.reply, MessagePlace(each.channel, each.ts), said)
        except DeliveryError as problem:
            if not problem.maybe:
                await db.run(slack_posts.retry_reminder, each.incident.id, now=now)
            break
        total += 1
    return total


LOOKS_BACK = timedelta(days=1)  # Slack's clock is not ours; which message it is, its metadata says


async def deliver_posts(db: Database) -> int:
    """Deliver the posts that are due to the channel of block `lanes`; return the number of messages posted or edited.

    Without that block incidents stay in `incident_log`.
    """
    now = await db.now()
    posts = await db.run(slack_posts.due, edits=True, now=now)
    if not posts and not await db.run(slack_posts.due_reminders, now=now):
        return 0
    messenger = await _messenger()
    if messenger is None:
        await db.run(slack_posts.drop_untold)
        return 0
    ui_url = str(get_current_settings().ui_url or "http://127.0.0.1:4200")
    return await tell(db, messenger, ui_url=ui_url) + await remind(db, messenger, ui_url=ui_url)


async def tell(
    db: Database, messenger: Messenger, *, ui_url: str, limits: LookupLimits = LookupLimits()
) -> int:
    """Post and edit messages as far as Slack accepts them; return how many.

    What it refused waits. When it gives no answer or limits our rate, the others wait for the next time too.
    """
    total = 0
    async with Finder(limits) as finder:
        briefer = Briefer(db, finder)
        for post in await db.run(slack_posts.due, edits=messenger.edits, now=await db.now()):
            try:
                total += await _tell_of(db, messenger, briefer, post, ui_url)
            except DeliveryError as problem:
                if problem.maybe or problem.retry_after_s:
                    break
    return total


async def _tell_of(
    db: Database, messenger: Messenger, briefer: Briefer, post: SlackPost, ui_url: str
) -> bool:
    """Post or edit the message of this incident, and return whether anything was sent.

    Raises:
        DeliveryError: its post is back in the outbox.
    """
    async with db.transaction() as run:
        move = next_step(post, edits=messenger.edits, now=run.now)
        if move is SlackStep.NOTHING:
            return False
        await run(slack_posts.begin, post.incident.id, posts=move is SlackStep.POST, now=run.now)
    try:
        if move is SlackStep.POST and post.unsure and await _was_posted(db, messenger, post):
            return False
        place = await _send(messenger, move, post, await briefer.brief(post.incident), ui_url)
    except DeliveryError as problem:
        await _not_told(db, move, post, problem)
        raise
    async with db.transaction() as run:
        await run(slack_posts.told, post.incident, channel=place.channel, ts=place.ts, now=run.now)
    return True


async def _messenger() -> Messenger | None:
    try:
        block = await SlackChannel.aload(BLOCK)
    except ValueError:  # there is no such block
        return None
    return block.connect()


async def _was_posted(db: Database, messenger: Messenger, post: SlackPost) -> bool:
    """Return whether a post without an answer arrived; if so, its message is ours again."""
    channel = await db.run(slack_posts.channel_id)
    uid, since = post.incident.uid, post.incident.opened_at - LOOKS_BACK
    try:
        place = await asyncio.to_thread(messenger.find, uid, since=since, channel=channel)
    except DeliveryError as problem:
        pause = problem.retry_after_s
        if problem.maybe or pause:
            raise DeliveryError(str(problem), maybe=True, retry_after_s=pause) from problem
        get_run_logger().warning("incident %d may be told twice: %s", post.incident.id, problem)
        return False
    if place is None:
        return False
    async with db.transaction() as run:
        at = {"channel": place.channel, "ts": place.ts}
        await run(slack_posts.found, post.incident.id, **at, now=run.now)
    return True


async def _send(
    messenger: Messenger, move: SlackStep, post: SlackPost, known: Briefed, ui_url: str
) -> MessagePlace:
    said = message(post.incident, known.briefing, known.pages, ui_url=ui_url)
    if move is SlackStep.POST:
        return await asyncio.to_thread(messenger.post, said)
    place = MessagePlace(post.channel, post.ts)
    await asyncio.to_thread(messenger.edit, place, said)
    return place


async def _not_told(db: Database, move: SlackStep, post: SlackPost, problem: DeliveryError) -> None:
    attempts = post.attempts + 1
    if attempts == 1:
        get_run_logger().warning("incident %d waits to be told: %s", post.incident.id, problem)
    unsure = problem.maybe and move is SlackStep.POST
    async with db.transaction() as run:
        if move is SlackStep.EDIT and problem.gone:
            await run(slack_posts.forget, post.incident.id)
        again = run.now + delay_after(attempts, retry_after_s=problem.retry_after_s)
        await run(
            slack_posts.not_told, post.incident.id, str(problem), maybe=unsure, next_try_at=again
        )
