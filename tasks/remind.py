"""Reminders in Slack of a question that has been unanswered for a day, in the thread of its message."""

import asyncio

from lanes.slack.messenger import DeliveryError, MessagePlace, Messenger
from lanes.slack.wording import reminder
from lanes.store.database import Database
from lanes.store.promises import slack_posts
from lanes.store.rollouts import rollouts


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
