"""Slack messages beside those of incidents: replies in threads, a message for each rollout and large job, and the daily digest.

As in `slack_posts`, a try is marked before it is sent. A reply is deleted once it is sent.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as upsert

from lanes.ids import JobId, RolloutId
from lanes.promises.incident import Severity
from lanes.rollouts.rollout import LogEntry
from lanes.settling.listing import JobStatus
from lanes.store.asking import read_as
from lanes.store.promises.slack_posts import LEASE, MOST
from lanes.store.tables import job, rollout_event, slack_note, version

REPLIES_WAIT = timedelta(hours=1)
JOB_ITEMS = 100  # a smaller job has no message
JOB_EVERY = timedelta(minutes=1)  # at least, between two edits of the message of an open job
DONE = {"unsure": False, "attempts": 0, "last_error": None}


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


def add(connection: sa.Connection, content: Any, *, now: datetime, **where: Any) -> None:
    """Queue a message that Slack gets once: in the `channel`, in a thread with `thread_ts`, as the digest of a `day`.

    A second digest of the same day is ignored; one without content only records that its hour has passed.
    """
    told = upsert(slack_note).values(content=content, created_at=now, **where)
    when = now if content is not None else None
    connection.execute(told.values(next_try_at=when).on_conflict_do_nothing())


def tell_job(connection: sa.Connection, of: JobStatus, *, now: datetime) -> None:
    """Let the job's message show how it stands: at once if it is done, else `JOB_EVERY`."""
    if of.received < JOB_ITEMS or (of.over == of.received and of.done_at is None):
        return  # the second: its end follows
    columns = slack_note.c
    its = {"job_id": of.job_id, "channel": Severity.DIGEST, "ended_at": of.done_at}
    shown = upsert(slack_note).values(**its, created_at=now, next_try_at=now)
    is_old = columns.next_try_at.is_(None) & (columns.shown_at <= now - JOB_EVERY)
    wanted = is_old if of.done_at is None else sa.true()
    again = {"index_elements": ["job_id"], "set_": {"next_try_at": now}, "where": wanted}
    connection.execute(shown.on_conflict_do_update(**again))


def due(connection: sa.Connection, *, now: datetime) -> list[SlackNote]:
    """Return the messages to send or edit now, oldest first; a reply waits an hour at most for those before in its thread."""
    before, columns = slack_note.alias(), slack_note.c
    waits = before.c.next_try_at.is_not(None) & (before.c.created_at > now - REPLIES_WAIT)
    is_next = ~sa.exists().where(
        before.c.thread_ts == columns.thread_ts, before.c.id < columns.id, waits
    )
    wanted = sa.select(slack_note).where(columns.next_try_at <= now, is_next)
    rows = connection.execute(wanted.order_by(slack_note.c.id).limit(MOST))
    return [read_as(SlackNote, row, uid=str(row.uid)) for row in rows]


def awaits_digest(connection: sa.Connection, day: datetime) -> bool:
    """Return whether the digest of the day that begins then was not made yet; a stand has none on its first day."""
    known = sa.exists().where(slack_note.c.day == day.date())
    served = sa.exists().where(version.c.published_at < day)
    return bool(connection.execute(sa.select(served & ~known)).scalar())


def begin(connection: sa.Connection, note: SlackNote, *, now: datetime) -> datetime | None:
    """Record that a try has begun, and return its lease, or None if another one has begun since.

    If its end is not recorded, the next one looks before it posts.
    """
    tried = {"attempts": note.attempts + 1, "next_try_at": now + LEASE, "unsure": note.ts is None}
    its = sa.update(slack_note).where(slack_note.c.id == note.id, slack_note.c.next_try_at <= now)
    begun = its.values(tried).returning(slack_note.c.next_try_at)
    return connection.execute(begun).scalar_one_or_none()


def sent(connection: sa.Connection, note: SlackNote) -> None:
    """Record that Slack has a reply or a digest."""
    its = sa.delete(slack_note).where(slack_note.c.id == note.id, slack_note.c.day.is_(None))
    connection.execute(its)
    _update(connection, note, **DONE, next_try_at=None, content=None)


def shown(
    connection: sa.Connection,
    note: SlackNote,
    *,
    channel: str | None,
    ts: str | None,
    lease: datetime,
    ended_at: datetime | None = None,
) -> list[LogEntry]:
    """Record that Slack shows the rollout or job, and return the rollout's events that its thread was not told yet.

    What moved since `begin` is due again. `ended_at` is the end of the job.
    """
    columns, next_try_at = rollout_event.c, slack_note.c.next_try_at
    its = sa.select(rollout_event).where(columns.rollout_id == note.rollout_id)
    rows = connection.execute(its.where(columns.id > note.events).order_by(columns.id)).all()
    told = max([note.events, *(row.id for row in rows)])
    again = sa.case((next_try_at != lease, next_try_at), else_=sa.null())
    at = {"channel": channel, "ts": ts, "events": told, "next_try_at": again}
    last = {"shown_at": lease - LEASE, "ended_at": ended_at or note.ended_at}
    _update(connection, note, **DONE, **at, **last)
    return [read_as(LogEntry, row) for row in rows]


def not_sent(
    connection: sa.Connection, note: SlackNote, error: str, *, unsure: bool, next_try_at: datetime
) -> None:
    """Record a failed try; the next one looks first if this one may have gone through."""
    _update(connection, note, last_error=error, unsure=unsure, next_try_at=next_try_at)


def record_gone(connection: sa.Connection, note: SlackNote) -> None:
    """Record that the message is gone from Slack: a new one may be posted, a reply to it is given up."""
    connection.execute(
        sa.delete(slack_note).where(slack_note.c.id == note.id, slack_note.c.thread_ts.is_not(None))
    )
    _update(connection, note, ts=None)


def drop(connection: sa.Connection, *, keep_digests: bool) -> None:
    """Forget what waits: there is no Slack, or a webhook, which posts nothing but digests and ends of jobs."""
    columns = slack_note.c
    waits, is_job = columns.next_try_at.is_not(None), columns.job_id.is_not(None)
    is_end = sa.exists().where(job.c.id == columns.job_id, job.c.done_at.is_not(None))
    kept = columns.day.is_not(None) | is_end if keep_digests else sa.false()
    later = {"next_try_at": None, "shown_at": columns.next_try_at}
    connection.execute(sa.update(slack_note).where(waits, is_job, ~kept).values(later))
    connection.execute(sa.delete(slack_note).where(waits, ~kept))


def _update(connection: sa.Connection, note: SlackNote, **values: Any) -> None:
    connection.execute(sa.update(slack_note).where(slack_note.c.id == note.id).values(**values))
