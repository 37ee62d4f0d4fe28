"""Posting to Slack from the outboxes. No failure of Slack fails a run or loses a message.

Only `watch`, whose role one process holds, posts to Slack, apart from a person's `lanes alerts --test`. Details of incidents
are looked up when the message is sent; a failed lookup never stops a message.
"""

import asyncio
import time
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from prefect.logging import get_run_logger
from prefect.settings import get_current_settings
from pydantic import ValidationError

from blocks.slack_channel import SlackChannel
from lanes.promises.briefing import Briefing, not_looked_up
from lanes.promises.incident import (
    Incident,
    IncidentNews,
    IncidentState,
    Promise,
    Severity,
    SlackPost,
    SlackStep,
    delay_after,
    find_news,
    next_step,
)
from lanes.report import digest
from lanes.settings import Settings
from lanes.slack import threads
from lanes.slack.messenger import DeliveryError, MessagePlace, Messenger
from lanes.slack.wording import IncidentPages, SlackMessage, message, reminder
from lanes.store import incidents
from lanes.store.database import Database
from lanes.store.promises import briefings, slack_outbox
from lanes.store.promises.slack_outbox import SlackNote
from lanes.store.report import digests
from lanes.store.rollouts import rollouts
from lanes.store.settling import jobs
from lanes.words import BLOCK
from tasks.pages import Finder, LookupLimits
from tasks.runs import summarize_error

LOOKS_BACK = timedelta(days=1)  # margin for Slack's clock; the metadata identifies the message


@dataclass(frozen=True)
class Briefed:
    """The details of an incident, and the pages that show more."""

    briefing: Briefing
    pages: IncidentPages
    explains: Sequence[Incident] = ()

    @property
    def incomplete_because(self) -> str:
        """Why the message lacks links or details that a later lookup may find; empty if it is complete."""
        return self.pages.no_artifact or self.briefing.failed_lookup


class Briefer:
    """A lookup of the details of one round's incidents."""

    def __init__(self, db: Database, finder: Finder) -> None:
        self._db, self._finder, self._spent_s = db, finder, 0.0

    async def brief(self, incident: Incident) -> Briefed:
        """Return the incident's details, and store them with it; a resolved incident keeps those from when it was open."""
        began = time.monotonic()
        try:
            briefing = await self._brief(incident)
            pages = await self._finder.find(incident, briefing, now=await self._db.now())
            return Briefed(
                briefing, pages, await self._db.run(incidents.list_explained, incident.id)
            )
        except Exception as error:
            text = "incident %d is posted without its cause: %s"
            get_run_logger().warning(text, incident.id, summarize_error(error))
            nothing = IncidentPages(no_artifact="nothing could be looked up")
            return Briefed(
                _read_briefing(incident) or not_looked_up(incident, type(error).__name__), nothing
            )
        finally:
            self._spent_s += time.monotonic() - began

    async def _brief(self, incident: Incident) -> Briefing:
        old_details = _read_briefing(incident)
        if (
            old_details is not None
            and old_details.causes
            and incident.state is IncidentState.RESOLVED
        ):
            return old_details
        if self._spent_s > self._finder.limits.round_s:
            return old_details or not_looked_up(incident, "too many incidents at once")
        async with self._db.transaction() as run:
            new_details = await run(briefings.brief, incident, now=run.now)
        if old_details is not None and old_details.causes and not new_details.causes:
            same = {
                "causes": old_details.causes,
                "counted_over": old_details.counted_over,
                "more": old_details.more,
            }
            new_details = new_details.model_copy(update=same)
        new_details = await self._finder.complete(incident, new_details)
        await self._db.run(
            incidents.record_briefing, incident.id, new_details.model_dump(mode="json")
        )
        return new_details


def _read_briefing(incident: Incident) -> Briefing | None:
    """Return the stored details, or None without any, or if another release wrote them in a format this one cannot read."""
    try:
        return Briefing.model_validate(incident.briefing) if incident.briefing else None
    except ValidationError:
        return None


async def deliver_posts(db: Database) -> int:
    """Deliver due messages to the channels of block `lanes`; return the number of messages sent or edited.

    Without that block, incidents are only in `incident_log`, and other messages are dropped.
    """
    now = await db.now()
    day = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    digest_at = day + timedelta(hours=Settings.read().digest_hour)
    digest_due = now >= digest_at and await db.run(slack_outbox.awaits_digest, day)
    queries = (
        slack_outbox.due_reminders,
        slack_outbox.due_notes,
        partial(slack_outbox.list_due, edits=True),
    )
    if not digest_due and not any([await db.run(look, now=now) for look in queries]):
        return 0
    messenger = await _messenger()
    if messenger is None:
        await db.run(slack_outbox.drop_untold)
        await db.run(slack_outbox.drop_notes, keep_digests=False)
        if digest_due:
            await db.run(slack_outbox.add_note, None, day=day.date(), now=now)
        return 0
    ui_url = str(get_current_settings().ui_url or "http://127.0.0.1:4200")
    count = await tell(db, messenger, ui_url=ui_url)
    await remind(db, ui_url=ui_url)
    count += await send(db, messenger, ui_url=ui_url)
    if digest_due:
        await _write_digest(db, messenger, digest_at, ui_url)
    return count


async def _write_digest(db: Database, messenger: Messenger, at: datetime, ui_url: str) -> None:
    """Put the digest of the day before `at` in the outbox."""
    async with db.transaction() as run:
        sections = digest.parts(await run(digests.take, since=at - timedelta(days=1), now=run.now))
        content = threads.digest(sections, at.date(), ui_url=ui_url).content
        where = {"channel": messenger.channel_of(Severity.DIGEST), "day": at.date()}
        await run(slack_outbox.add_note, content, **where, now=run.now)


async def remind(db: Database, *, ui_url: str) -> None:
    """Queue reminders of waiting approvals, and of incidents no longer silenced or acknowledged; a webhook posts them anew."""
    now = await db.now()
    for post in await db.run(slack_outbox.due_reminders, now=now):
        run_id = await db.run(rollouts.read_newest_run, post.incident.workload)
        slack_message = threads.reply(post.incident, IncidentNews.AGAIN)
        if post.incident.promise == Promise.APPROVAL_WAITS:
            slack_message = reminder(post.incident, now, ui_url=ui_url, run_id=run_id)
        async with db.transaction() as run:
            await run(slack_outbox.record_reminder, post.incident.id, now=run.now)
            if post.ts is None:
                await run(slack_outbox.forget, post.incident.id)
            else:
                thread = {"channel": post.channel, "thread_ts": post.ts}
                await run(slack_outbox.add_note, slack_message.content, **thread, now=run.now)


async def send(db: Database, messenger: Messenger, *, ui_url: str) -> int:
    """Send replies, messages of rollouts and jobs, and digests, as far as Slack accepts them; return their number."""
    due = await db.run(slack_outbox.due_notes, now=await db.now())
    if not messenger.edits:
        await db.run(slack_outbox.drop_notes, keep_digests=True)
    return await _send_in_order(_send_note(db, messenger, note, ui_url) for note in due)


async def _send_in_order(sent: Iterable[Coroutine[Any, Any, bool]]) -> int:
    """Send the messages one by one and return the number sent; stop if Slack does not answer or limits our rate."""
    total = 0
    for each in sent:
        try:
            total += await each
        except DeliveryError as problem:
            if problem.maybe or problem.retry_after_s:
                break
    return total


async def _send_note(db: Database, messenger: Messenger, note: SlackNote, ui_url: str) -> bool:
    """Send or edit one message; return False if another process does.

    Raises:
        DeliveryError: Slack did not accept the message, which stays in the outbox.
    """
    async with db.transaction() as run:
        if (lease := await run(slack_outbox.begin_note, note, now=run.now)) is None:
            return False
        rollout = None if note.rollout_id is None else await run(rollouts.find, note.rollout_id)
        job = None if note.job_id is None else await run(jobs.status, note.job_id, now=run.now)
    body = note.content or {}
    if rollout is not None:
        body = threads.rollout_message(rollout, ui_url=ui_url).content
    if job is not None:
        body = threads.job_message(job, run.now, ui_url=ui_url).content
    uid = {"event_type": "lanes_note", "event_payload": {"uid": note.uid}}
    message = SlackMessage(body["text"], body["blocks"], uid)
    try:
        place = await _place(messenger, note, message)
    except DeliveryError as problem:
        pause = delay_after(note.attempts + 1, retry_after_s=problem.retry_after_s)
        async with db.transaction() as run:
            tried = {"unsure": problem.maybe and note.ts is None, "next_try_at": run.now + pause}
            await run(slack_outbox.note_not_sent, note, str(problem), **tried)
            if problem.gone:
                await run(slack_outbox.record_gone, note)
        raise
    async with db.transaction() as run:
        if rollout is None and job is None:
            await run(slack_outbox.note_sent, note)
            return True
        place_fields = {"channel": place.channel, "ts": place.ts, "ended_at": job and job.done_at}
        news = await run(slack_outbox.note_shown, note, **place_fields, lease=lease)
        replies = [threads.rollout_reply(rollout, each, ui_url=ui_url) for each in news if rollout]
        is_in_thread = place.ts is not None and (note.ts is not None or note.unsure)
        if job and job.done_at not in (None, note.ended_at) and is_in_thread:
            replies.append(threads.job_reply(job, run.now))
        for each in replies:
            thread = {"channel": place.channel, "thread_ts": place.ts}
            await run(slack_outbox.add_note, each.content, **thread, now=run.now)
    return True


async def _place(messenger: Messenger, note: SlackNote, message: SlackMessage) -> MessagePlace:
    """Edit the message, or post it unless an earlier try succeeded; return its place."""
    is_digest = note.channel == Severity.DIGEST
    target = messenger.channel_of(Severity.DIGEST) if is_digest else note.channel
    place = MessagePlace(target, note.ts) if note.ts is not None else None
    if place is None and note.unsure:
        since, label = note.created_at - LOOKS_BACK, f"message {note.id}"
        default = messenger.channel_of(None)
        for home in dict.fromkeys((target or default, target if note.thread_ts else default)):
            thread = MessagePlace(home, note.thread_ts)
            place = place or await _find_message(messenger, note.uid, thread, since, label)
        if place is not None and note.rollout_id is None and note.job_id is None:
            return place
    if place is not None:
        await asyncio.to_thread(messenger.edit, place, message)
        return place
    if note.thread_ts is not None:
        thread = MessagePlace(note.channel, note.thread_ts)
        await asyncio.to_thread(messenger.reply, thread, message)
        return thread
    return await asyncio.to_thread(messenger.post, message, target)


async def tell(
    db: Database, messenger: Messenger, *, ui_url: str, limits: LookupLimits = LookupLimits()
) -> int:
    """Post and edit messages of incidents as far as Slack accepts them; return their number.

    A refused message waits for the next round. If Slack does not answer or limits our rate, so do the remaining messages.
    """
    async with Finder(limits) as finder:
        briefer = Briefer(db, finder)
        due = await db.run(slack_outbox.list_due, edits=messenger.edits, now=await db.now())
        return await _send_in_order(_tell(db, messenger, briefer, post, ui_url) for post in due)


async def _tell(
    db: Database, messenger: Messenger, briefer: Briefer, post: SlackPost, ui_url: str
) -> bool:
    """Post or edit the message of this incident, and return whether anything was sent.

    Raises:
        DeliveryError: Slack did not accept the message; its post is back in the outbox.
    """
    async with db.transaction() as run:
        move, now = next_step(post, edits=messenger.edits, now=run.now), run.now
        if move is SlackStep.NOTHING:
            return False
        severity = post.incident.severity if move is SlackStep.POST else None
        if not await run(slack_outbox.begin, post.incident.id, posts=severity, now=run.now):
            return False
    try:
        if move is SlackStep.POST and post.unsure and await _was_posted(db, messenger, post):
            return False
        if post.posted_state is None and post.incident.is_silent(now):
            await db.run(
                slack_outbox.record_failure, post.incident.id, None, maybe=False, next_try_at=now
            )
            return False
        briefed = await briefer.brief(post.incident)
        place = await _send(messenger, move, post, briefed, ui_url)
    except DeliveryError as problem:
        await _note_failure(db, move, post, problem)
        raise
    place_fields, posted = {"channel": place.channel, "ts": place.ts}, move is SlackStep.POST
    shown = {
        **place_fields,
        "posted": posted,
        "incomplete_because": briefed.incomplete_because or None,
    }
    async with db.transaction() as run:
        await run(slack_outbox.record_posted, post.incident, **shown, now=run.now)
        news = None if posted else find_news(post, run.now)
        if news is not None:
            text = threads.reply(post.incident, news).content
            thread = {"channel": place.channel, "thread_ts": place.ts}
            await run(slack_outbox.add_note, text, **thread, now=run.now)
        target = messenger.channel_of(post.incident.severity)
        if news is IncidentNews.WORSE and target != messenger.channel_of(post.posted_severity):
            text = threads.pointer(post.incident, place.channel).content
            await run(slack_outbox.add_note, text, channel=target, now=run.now)
    return True


async def _messenger() -> Messenger | None:
    try:
        block = await SlackChannel.aload(BLOCK)
    except ValueError:  # there is no such block
        return None
    return block.connect()


async def _was_posted(db: Database, messenger: Messenger, post: SlackPost) -> bool:
    """Return whether an unanswered post arrived; if so, record the place of its message."""
    named = map(messenger.channel_of, (post.posted_severity, None))
    since, what = post.incident.opened_at - LOOKS_BACK, f"incident {post.incident.id}"
    for channel in dict.fromkeys([*await db.run(slack_outbox.channels), *named]):
        where = MessagePlace(channel)
        if place := await _find_message(messenger, post.incident.uid, where, since, what):
            async with db.transaction() as run:
                at = {"channel": place.channel, "ts": place.ts}
                await run(slack_outbox.record_found, post.incident.id, **at, now=run.now)
            return True
    return False


async def _find_message(
    messenger: Messenger, uid: str, thread: MessagePlace, since: datetime, what: str
) -> MessagePlace | None:
    """Return the place of a message that may have been posted, or None if it was not posted or cannot be searched for."""
    try:
        return await asyncio.to_thread(messenger.find, uid, thread, since=since)
    except DeliveryError as problem:
        pause = problem.retry_after_s
        if problem.maybe or pause:
            raise DeliveryError(str(problem), maybe=True, retry_after_s=pause) from problem
        get_run_logger().warning("%s may be told twice: %s", what, problem)
        return None


async def _send(
    messenger: Messenger, move: SlackStep, post: SlackPost, details: Briefed, ui_url: str
) -> MessagePlace:
    more = {"explains": details.explains, "ui_url": ui_url}
    slack_message = message(post.incident, details.briefing, details.pages, **more)
    if move is SlackStep.POST:
        target = messenger.channel_of(post.incident.severity)
        return await asyncio.to_thread(messenger.post, slack_message, target)
    place = MessagePlace(post.channel, post.ts)
    await asyncio.to_thread(messenger.edit, place, slack_message)
    return place


async def _note_failure(
    db: Database, move: SlackStep, post: SlackPost, problem: DeliveryError
) -> None:
    attempts = post.attempts + 1
    if attempts == 1:
        get_run_logger().warning("incident %d waits to be told: %s", post.incident.id, problem)
    unsure = problem.maybe and move is SlackStep.POST
    async with db.transaction() as run:
        if move is SlackStep.EDIT and problem.gone:
            await run(slack_outbox.forget, post.incident.id)
        again = run.now + delay_after(attempts, retry_after_s=problem.retry_after_s)
        await run(
            slack_outbox.record_failure,
            post.incident.id,
            str(problem),
            maybe=unsure,
            next_try_at=again,
        )
