"""The Slack outbox: the posts of incidents with their reminders, and notes.

Notes are replies in threads, a message for each rollout and large job, and the daily digest. A try is recorded before it is
sent, so that a crash in between is visible. A reply is deleted once it is sent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as upsert

from lanes.ids import IncidentId, JobId, RolloutId
from lanes.promises.incident import (
    EDIT_EVERY,
    READ_WITHIN,
    Handling,
    Incident,
    IncidentState,
    Promise,
    Severity,
    SlackPost,
)
from lanes.rollouts.rollout import LogEntry
from lanes.settling.listing import JobStatus
from lanes.store.asking import read_as
from lanes.store.incidents import read_incident
from lanes.store.statements import differs, is_
from lanes.store.tables import incident, job, rollout_event, slack_note, slack_post, version

LEASE = timedelta(seconds=60)  # time after the start of a try in which no other try starts
MOST = 50
REMIND_EVERY = timedelta(days=1)
REPLIES_WAIT = timedelta(hours=1)
JOB_ITEMS = 100  # a smaller job has no message
JOB_EVERY = timedelta(minutes=1)  # the least time between two edits of the message of an open job
DONE = {"unsure": False, "attempts": 0, "last_error": None}
UNFINISHED = differs(slack_post.c.posted_state, IncidentState.RESOLVED)


def list_due(connection: sa.Connection, *, edits: bool, now: datetime) -> list[SlackPost]:
    """Return the incidents that `next_step` would post or edit, in the order in which they changed.

    Without `edits` a message cannot be changed. Incidents that wait after a failed try are not due yet.
    """
    posted = slack_post.c.posted_state.is_not(None)
    at = sa.func.coalesce(incident.c.resolved_at, now)
    silent = sa.and_(is_(incident.c.handling, Handling.SILENCED), incident.c.handled_until > at)
    untold = sa.and_(~posted, slack_post.c.unsure | silent.is_not(sa.true()))
    is_resolved = is_(incident.c.state, IncidentState.RESOLVED)
    changed_at = sa.case(
        (untold, incident.c.opened_at),
        (is_resolved, incident.c.resolved_at),
        else_=incident.c.updated_at,
    )
    outdated = sa.and_(slack_post.c.ts.is_not(None), _is_outdated(now)) if edits else sa.false()
    rows = connection.execute(
        select_posts()
        .where(
            UNFINISHED,
            slack_post.c.next_try_at <= now,
            sa.or_(untold, sa.and_(posted, sa.or_(is_resolved, outdated))),
        )
        .order_by(changed_at, slack_post.c.incident_id)
        .limit(MOST)
    )
    return [read_post(row) for row in rows]


def select_posts() -> sa.Select[Any]:
    """Select every incident with the state of its Slack message."""
    return sa.select(slack_post, incident).join(incident, incident.c.id == slack_post.c.incident_id)


def read_post(row: Any) -> SlackPost:
    """Return the post of a row of `select_posts`."""
    return read_as(SlackPost, row, incident=read_incident(row))


def _is_outdated(now: datetime) -> sa.ColumnElement[bool]:
    worse = slack_post.c.posted_severity.is_distinct_from(incident.c.severity)
    handled = incident.c.handled_at > slack_post.c.posted_at
    unread = incident.c.updated_at > slack_post.c.posted_at - READ_WITHIN
    may_edit = slack_post.c.posted_at <= now - EDIT_EVERY
    incomplete = slack_post.c.last_error.is_not(None)
    return sa.or_(worse, handled, sa.and_(may_edit, sa.or_(unread, incomplete)))


def begin(
    connection: sa.Connection, incident_id: IncidentId, *, posts: Severity | None, now: datetime
) -> bool:
    """Record the start of a try that `posts` with this severity, or edits if None; return False if another try has begun.

    If a try posts and its end is not recorded, the next try searches Slack for the message before it posts.
    """
    attempts, unsure = slack_post.c.attempts + 1, slack_post.c.unsure | (posts is not None)
    shown = {} if posts is None else {"posted_severity": posts}
    tried = {"attempts": attempts, "next_try_at": now + LEASE, "unsure": unsure}
    its = slack_post.c.incident_id == incident_id, slack_post.c.next_try_at <= now
    begun = sa.update(slack_post).where(*its).values(**tried, **shown)
    return connection.execute(begun).rowcount == 1


def record_posted(
    connection: sa.Connection,
    of: Incident,
    *,
    channel: str | None,
    ts: str | None,
    posted: bool = False,
    incomplete_because: str | None = None,
    now: datetime,
) -> None:
    """Record the place of a message that shows the incident in this state; a message that was `posted` notifies people.

    `incomplete_because` says why the message lacks links or details; such a message is edited again after `EDIT_EVERY`.
    """
    more: dict[str, Any] = {"last_error": incomplete_because} | (
        {"reminded_at": now} if posted else {}
    )
    _record_place(
        connection, of.id, channel, ts, of.state, now, posted_severity=of.severity, **more
    )


def record_found(
    connection: sa.Connection,
    incident_id: IncidentId,
    *,
    channel: str | None,
    ts: str | None,
    now: datetime,
) -> None:
    """Record the place of a message that was sent without an answer, and that shows the incident as open."""
    _record_place(connection, incident_id, channel, ts, IncidentState.OPEN, now, reminded_at=now)


def _record_place(
    connection: sa.Connection,
    incident_id: IncidentId,
    channel: str | None,
    ts: str | None,
    state: IncidentState,
    now: datetime,
    **more: Any,
) -> None:
    place = {"channel": channel, "ts": ts, "posted_state": state, "posted_at": now}
    _update(connection, incident_id, **DONE | place | more, next_try_at=now)


def record_failure(
    connection: sa.Connection,
    incident_id: IncidentId,
    error: str | None,
    *,
    maybe: bool,
    next_try_at: datetime,
) -> None:
    """Record a failed try; if the message may have arrived (`maybe`), the next try searches Slack for it first."""
    _update(connection, incident_id, last_error=error, unsure=maybe, next_try_at=next_try_at)


def forget(connection: sa.Connection, incident_id: IncidentId) -> None:
    """Record that the message is gone from Slack, so that a new one may be posted."""
    _update(connection, incident_id, ts=None, posted_state=None, posted_severity=None)


def _update(connection: sa.Connection, incident_id: IncidentId, **values: Any) -> None:
    known = slack_post.c.incident_id == incident_id
    connection.execute(sa.update(slack_post).where(known).values(**values))


def channels(connection: sa.Connection) -> Sequence[str | None]:
    """Return the ids of the channels of the newest messages."""
    known = sa.select(slack_post.c.channel).where(slack_post.c.channel.is_not(None))
    newest = known.group_by(slack_post.c.channel).order_by(
        sa.func.max(slack_post.c.incident_id).desc()
    )
    return connection.execute(newest.limit(len(Severity))).scalars().all()


def drop_untold(connection: sa.Connection) -> None:
    """Delete the outbox rows of resolved incidents that were never posted to Slack."""
    over = sa.select(incident.c.id).where(incident.c.state == IncidentState.RESOLVED)
    never_told = slack_post.c.posted_state.is_(None), slack_post.c.incident_id.in_(over)
    connection.execute(sa.delete(slack_post).where(*never_told))


def list_untold(connection: sa.Connection) -> dict[IncidentId, str]:
    """Return the error of the last failed try, by incident, for incidents whose end Slack does not show yet."""
    failed = sa.and_(slack_post.c.last_error.is_not(None), slack_post.c.attempts > 0)
    wanted = sa.select(slack_post.c.incident_id, slack_post.c.last_error).where(failed, UNFINISHED)
    rows = connection.execute(wanted.order_by(slack_post.c.incident_id))
    return {row.incident_id: row.last_error for row in rows}


def due_reminders(connection: sa.Connection, *, now: datetime) -> list[SlackPost]:
    """Return the open incidents of which people need a reminder, oldest first.

    These are approvals whose message or last reminder is a day old, and incidents that a person no longer handles.
    """
    reminded_at, until = slack_post.c.reminded_at, incident.c.handled_until
    is_old = sa.func.coalesce(reminded_at, incident.c.opened_at) <= now - REMIND_EVERY
    asks = sa.and_(
        incident.c.promise == Promise.APPROVAL_WAITS, slack_post.c.ts.is_not(None), is_old
    )
    unhandled = sa.and_(until.is_not(None), (reminded_at < until).is_not(sa.false()))
    rows = connection.execute(
        select_posts()
        .where(UNFINISHED, is_(slack_post.c.posted_state, IncidentState.OPEN))
        .where(is_(incident.c.state, IncidentState.OPEN), (until > now).is_not(sa.true()))
        .where(sa.or_(asks, unhandled))
        .order_by(incident.c.id)
    )
    return [read_post(row) for row in rows]


def record_reminder(connection: sa.Connection, incident_id: IncidentId, *, now: datetime) -> None:
    """Record that a reminder is in the outbox."""
    _update(connection, incident_id, reminded_at=now)


@dataclass(frozen=True)
class SlackNote:
    """A message that waits to be sent, or edited where it has a `ts`; `unsure` means that a try may have gone through."""

    id: int
    uid: str
    rollout_id: RolloutId | None
    job_id: JobId | None
    content: dict[str, Any] | None
    channel: str | None
    thread_ts: str | None
    ts: str | None
    events: int
    ended_at: datetime | None
    created_at: datetime
    unsure: bool
    attempts: int


def add_note(connection: sa.Connection, content: Any, *, now: datetime, **where: Any) -> None:
    """Queue a message that is sent once: to a `channel`, in the thread of `thread_ts`, or as the digest of a `day`.

    A second digest of the same day is ignored; a digest without content only records that its hour has passed.
    """
    note = upsert(slack_note).values(content=content, created_at=now, **where)
    when = now if content is not None else None
    connection.execute(note.values(next_try_at=when).on_conflict_do_nothing())


def tell_job(connection: sa.Connection, status: JobStatus, *, now: datetime) -> None:
    """Queue an update of the job's message: at once if the job is done, otherwise at most every `JOB_EVERY`."""
    if status.received < JOB_ITEMS or (status.over == status.received and status.done_at is None):
        return  # a small job, or one whose end follows at once
    columns = slack_note.c
    its = {"job_id": status.job_id, "channel": Severity.DIGEST, "ended_at": status.done_at}
    shown = upsert(slack_note).values(**its, created_at=now, next_try_at=now)
    is_old = columns.next_try_at.is_(None) & (columns.shown_at <= now - JOB_EVERY)
    wanted = is_old if status.done_at is None else sa.true()
    again = {"index_elements": ["job_id"], "set_": {"next_try_at": now}, "where": wanted}
    connection.execute(shown.on_conflict_do_update(**again))


def due_notes(connection: sa.Connection, *, now: datetime) -> list[SlackNote]:
    """Return the messages to send or edit now, oldest first; a reply waits an hour at most for earlier ones of its thread."""
    before, columns = slack_note.alias(), slack_note.c
    waits = before.c.next_try_at.is_not(None) & (before.c.created_at > now - REPLIES_WAIT)
    is_next = ~sa.exists().where(
        before.c.thread_ts == columns.thread_ts, before.c.id < columns.id, waits
    )
    wanted = sa.select(slack_note).where(columns.next_try_at <= now, is_next)
    rows = connection.execute(wanted.order_by(slack_note.c.id).limit(MOST))
    return [read_as(SlackNote, row, uid=str(row.uid)) for row in rows]


def awaits_digest(connection: sa.Connection, day: datetime) -> bool:
    """Return whether the digest of the day that begins at `day` is missing; a stand has no digest on its first day."""
    known = sa.exists().where(slack_note.c.day == day.date())
    served = sa.exists().where(version.c.published_at < day)
    return bool(connection.execute(sa.select(served & ~known)).scalar())


def begin_note(connection: sa.Connection, note: SlackNote, *, now: datetime) -> datetime | None:
    """Record the start of a try and return the end of its lease, or None if another try has begun.

    If the end of the try is not recorded, the next try searches Slack for the message before it posts.
    """
    tried = {"attempts": note.attempts + 1, "next_try_at": now + LEASE, "unsure": note.ts is None}
    its = sa.update(slack_note).where(slack_note.c.id == note.id, slack_note.c.next_try_at <= now)
    begun = its.values(tried).returning(slack_note.c.next_try_at)
    return connection.execute(begun).scalar_one_or_none()


def note_sent(connection: sa.Connection, note: SlackNote) -> None:
    """Record that Slack has a reply or a digest."""
    its = sa.delete(slack_note).where(slack_note.c.id == note.id, slack_note.c.day.is_(None))
    connection.execute(its)
    _update_note(connection, note, **DONE, next_try_at=None, content=None)


def note_shown(
    connection: sa.Connection,
    note: SlackNote,
    *,
    channel: str | None,
    ts: str | None,
    lease: datetime,
    ended_at: datetime | None = None,
) -> list[LogEntry]:
    """Record that Slack shows the rollout or job, and return the rollout's events that are not in its thread yet.

    If the rollout or job has changed since `begin_note`, its message is due again. `ended_at` is the end of the job.
    """
    columns, next_try_at = rollout_event.c, slack_note.c.next_try_at
    its = sa.select(rollout_event).where(columns.rollout_id == note.rollout_id)
    rows = connection.execute(its.where(columns.id > note.events).order_by(columns.id)).all()
    shown = max([note.events, *(row.id for row in rows)])
    again = sa.case((next_try_at != lease, next_try_at), else_=sa.null())
    at = {"channel": channel, "ts": ts, "events": shown, "next_try_at": again}
    last = {"shown_at": lease - LEASE, "ended_at": ended_at or note.ended_at}
    _update_note(connection, note, **DONE, **at, **last)
    return [read_as(LogEntry, row) for row in rows]


def note_not_sent(
    connection: sa.Connection, note: SlackNote, error: str, *, unsure: bool, next_try_at: datetime
) -> None:
    """Record a failed try; if the message may have arrived (`unsure`), the next try searches Slack for it first."""
    _update_note(connection, note, last_error=error, unsure=unsure, next_try_at=next_try_at)


def record_gone(connection: sa.Connection, note: SlackNote) -> None:
    """Record that the message is gone from Slack: a new message may be posted, but a reply is given up."""
    connection.execute(
        sa.delete(slack_note).where(slack_note.c.id == note.id, slack_note.c.thread_ts.is_not(None))
    )
    _update_note(connection, note, ts=None)


def drop_notes(connection: sa.Connection, *, keep_digests: bool) -> None:
    """Drop the waiting messages if there is no Slack, or only a webhook, which posts only digests and ends of jobs."""
    columns = slack_note.c
    waits, is_job = columns.next_try_at.is_not(None), columns.job_id.is_not(None)
    is_end = sa.exists().where(job.c.id == columns.job_id, job.c.done_at.is_not(None))
    kept = columns.day.is_not(None) | is_end if keep_digests else sa.false()
    later = {"next_try_at": None, "shown_at": columns.next_try_at}
    connection.execute(sa.update(slack_note).where(waits, is_job, ~kept).values(later))
    connection.execute(sa.delete(slack_note).where(waits, ~kept))


def _update_note(connection: sa.Connection, note: SlackNote, **values: Any) -> None:
    connection.execute(sa.update(slack_note).where(slack_note.c.id == note.id).values(**values))
