"""The Slack outbox: what Slack was told of each incident, and who has to be reminded.

A post is marked before it is sent, so that a crash in between shows.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from lanes.ids import IncidentId
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
from lanes.store.asking import read_as
from lanes.store.incidents import read_incident
from lanes.store.statements import differs, is_
from lanes.store.tables import incident, slack_post

LEASE = timedelta(seconds=60)  # how long a try that began is left alone
MOST = 50
REMIND_EVERY = timedelta(days=1)


def due(connection: sa.Connection, *, edits: bool, now: datetime) -> list[SlackPost]:
    """Return the incidents that `next_step` has something to tell of, those that changed first in front.

    Without `edits` a message cannot be changed. Incidents that wait after a failed try come later.
    """
    posted = slack_post.c.posted_state.is_not(None)
    at = sa.func.coalesce(incident.c.resolved_at, now)
    silent = sa.and_(is_(incident.c.handling, Handling.SILENCED), incident.c.handled_until > at)
    untold = sa.and_(~posted, slack_post.c.unsure | silent.is_not(sa.true()))
    over = is_(incident.c.state, IncidentState.RESOLVED)
    changed_at = sa.case(
        (untold, incident.c.opened_at), (over, incident.c.resolved_at), else_=incident.c.updated_at
    )
    outdated = sa.and_(slack_post.c.ts.is_not(None), _is_outdated(now)) if edits else sa.false()
    unfinished = differs(slack_post.c.posted_state, IncidentState.RESOLVED)
    rows = connection.execute(
        all_of_them()
        .where(
            unfinished,
            slack_post.c.next_try_at <= now,
            sa.or_(untold, sa.and_(posted, sa.or_(over, outdated))),
        )
        .order_by(changed_at, slack_post.c.incident_id)
        .limit(MOST)
    )
    return [read_post(row) for row in rows]


def all_of_them() -> sa.Select[Any]:
    """Select every incident with what Slack was told of it."""
    return sa.select(slack_post, incident).join(incident, incident.c.id == slack_post.c.incident_id)


def read_post(row: Any) -> SlackPost:
    """Return the post of a row of `all_of_them`."""
    return read_as(SlackPost, row, incident=read_incident(row))


def _is_outdated(now: datetime) -> sa.ColumnElement[bool]:
    worse = slack_post.c.posted_severity.is_distinct_from(incident.c.severity)
    handled = incident.c.handled_at > slack_post.c.posted_at
    unread = incident.c.updated_at > slack_post.c.posted_at - READ_WITHIN
    return sa.or_(worse, handled, sa.and_(slack_post.c.posted_at <= now - EDIT_EVERY, unread))


def begin(
    connection: sa.Connection, incident_id: IncidentId, *, posts: Severity | None, now: datetime
) -> bool:
    """Record that a try has begun, that `posts` with this severity or edits; return False if another one has begun since.

    If it posts and its end is not recorded, the next one looks before it posts.
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
    now: datetime,
) -> None:
    """Record that a message at that place shows the incident as it is in `of`; people are notified if it was `posted`."""
    more = {"reminded_at": now} if posted else {}
    _told(connection, of.id, channel, ts, of.state, now, posted_severity=of.severity, **more)


def found(
    connection: sa.Connection,
    incident_id: IncidentId,
    *,
    channel: str | None,
    ts: str | None,
    now: datetime,
) -> None:
    """Record the place of a message that was sent without an answer, and that shows the incident as open."""
    _told(connection, incident_id, channel, ts, IncidentState.OPEN, now, reminded_at=now)


def _told(
    connection: sa.Connection,
    incident_id: IncidentId,
    channel: str | None,
    ts: str | None,
    state: IncidentState,
    now: datetime,
    **more: Any,
) -> None:
    done = {"unsure": False, "attempts": 0, "next_try_at": now, "last_error": None}
    place = {"channel": channel, "ts": ts, "posted_state": state, "posted_at": now}
    _update(connection, incident_id, **place, **done, **more)


def not_told(
    connection: sa.Connection,
    incident_id: IncidentId,
    error: str | None,
    *,
    maybe: bool,
    next_try_at: datetime,
) -> None:
    """Record a failed try; the next one looks first if this one `maybe` arrived."""
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
    """Forget the resolved incidents that Slack was never told of."""
    over = sa.select(incident.c.id).where(incident.c.state == IncidentState.RESOLVED)
    never_told = slack_post.c.posted_state.is_(None), slack_post.c.incident_id.in_(over)
    connection.execute(sa.delete(slack_post).where(*never_told))


def untold(connection: sa.Connection) -> dict[IncidentId, str]:
    """Return why the last try failed, by incident, for those that Slack has not been told of."""
    failed = slack_post.c.last_error.is_not(None)
    unfinished = differs(slack_post.c.posted_state, IncidentState.RESOLVED)
    wanted = sa.select(slack_post.c.incident_id, slack_post.c.last_error).where(failed, unfinished)
    rows = connection.execute(wanted.order_by(slack_post.c.incident_id))
    return {row.incident_id: row.last_error for row in rows}


def due_reminders(connection: sa.Connection, *, now: datetime) -> list[SlackPost]:
    """Return the open incidents of which people are told again, oldest first.

    Those are approvals whose message or last reminder is a day old, and incidents that a person no longer handles.
    """
    reminded_at, until = slack_post.c.reminded_at, incident.c.handled_until
    is_old = sa.func.coalesce(reminded_at, incident.c.opened_at) <= now - REMIND_EVERY
    asks = sa.and_(
        incident.c.promise == Promise.APPROVAL_WAITS, slack_post.c.ts.is_not(None), is_old
    )
    unhandled = sa.and_(until.is_not(None), (reminded_at < until).is_not(sa.false()))
    state = slack_post.c.posted_state
    rows = connection.execute(
        all_of_them()
        .where(differs(state, IncidentState.RESOLVED), is_(state, IncidentState.OPEN))
        .where(is_(incident.c.state, IncidentState.OPEN), (until > now).is_not(sa.true()))
        .where(sa.or_(asks, unhandled))
        .order_by(incident.c.id)
    )
    return [read_post(row) for row in rows]


def reminded(connection: sa.Connection, incident_id: IncidentId, *, now: datetime) -> None:
    """Record that a reminder is in the outbox."""
    _update(connection, incident_id, reminded_at=now)
