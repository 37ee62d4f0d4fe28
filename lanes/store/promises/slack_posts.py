"""The Slack outbox: what Slack was told of each incident. A post is marked before it is sent, so that a crash shows."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    case,
    delete,
    false,
    or_,
    select,
    update,
)

from lanes.ids import IncidentId
from lanes.promises.incident import EDIT_EVERY, READ_WITHIN, Incident, IncidentState, SlackPost
from lanes.store.incidents import read_incident
from lanes.store.literals import differs, is_
from lanes.store.tables import incident, slack_post

LEASE = timedelta(seconds=60)  # a try that began is left alone for so long
MOST = 50


def due(connection: Connection, *, edits: bool, now: datetime) -> list[SlackPost]:
    """The incidents of which Slack has to be told something, as `next_move` decides it; what changed first comes first.

    Without `edits` a message cannot be changed. Those that rest after a failed try come later.
    """
    untold = slack_post.c.posted_state.is_(None)
    over = is_(incident.c.state, IncidentState.RESOLVED)
    changed_at = case(
        (untold, incident.c.opened_at), (over, incident.c.resolved_at), else_=incident.c.updated_at
    )
    rows = connection.execute(
        all_of_them()
        .where(
            differs(slack_post.c.posted_state, IncidentState.RESOLVED),
            slack_post.c.next_try_at <= now,
        )
        .where(
            or_(
                untold,
                over,
                and_(slack_post.c.ts.is_not(None), _worth_an_edit(now)) if edits else false(),
            )
        )
        .order_by(changed_at, slack_post.c.incident_id)
        .limit(MOST)
    )
    return [read_post(row) for row in rows]


def all_of_them() -> Select[Any]:
    """Every incident beside what Slack was told of it."""
    return select(slack_post, incident).join(incident, incident.c.id == slack_post.c.incident_id)


def read_post(row: Any) -> SlackPost:
    """A row of `all_of_them`."""
    return SlackPost(
        read_incident(row),
        row.channel,
        row.ts,
        row.posted_state,
        row.posted_severity,
        row.posted_at,
        row.unsure,
        row.attempts,
    )


def _worth_an_edit(now: datetime) -> ColumnElement[bool]:
    return or_(
        slack_post.c.posted_severity.is_distinct_from(incident.c.severity),
        and_(
            slack_post.c.posted_at <= now - EDIT_EVERY,
            incident.c.updated_at > slack_post.c.posted_at - READ_WITHIN,
        ),
    )


def begin(connection: Connection, incident_id: IncidentId, *, posts: bool, now: datetime) -> None:
    """A try has begun; if it `posts` and nobody hears how it ended, the next one looks before it posts again."""
    connection.execute(
        update(slack_post)
        .where(slack_post.c.incident_id == incident_id)
        .values(
            attempts=slack_post.c.attempts + 1,
            next_try_at=now + LEASE,
            unsure=slack_post.c.unsure | posts,
        )
    )


def told(
    connection: Connection, of: Incident, *, channel: str | None, ts: str | None, now: datetime
) -> None:
    """Slack says what `of` says, in a message at that place."""
    connection.execute(
        update(slack_post)
        .where(slack_post.c.incident_id == of.id)
        .values(
            channel=channel,
            ts=ts,
            posted_state=of.state,
            posted_severity=of.severity,
            posted_at=now,
            unsure=False,
            attempts=0,
            next_try_at=now,
            last_error=None,
        )
    )


def found(
    connection: Connection,
    incident_id: IncidentId,
    *,
    channel: str | None,
    ts: str | None,
    now: datetime,
) -> None:
    """A message that was sent without our hearing of it stands at that place and says that the incident is open."""
    connection.execute(
        update(slack_post)
        .where(slack_post.c.incident_id == incident_id)
        .values(
            channel=channel,
            ts=ts,
            posted_state=IncidentState.OPEN,
            posted_at=now,
            unsure=False,
            attempts=0,
            next_try_at=now,
            last_error=None,
        )
    )


def not_told(
    connection: Connection,
    incident_id: IncidentId,
    error: str,
    *,
    maybe: bool,
    next_try_at: datetime,
) -> None:
    """The try failed for that reason; the next one follows then, and looks first when this one `maybe` arrived."""
    connection.execute(
        update(slack_post)
        .where(slack_post.c.incident_id == incident_id)
        .values(last_error=error, unsure=maybe, next_try_at=next_try_at)
    )


def forget(connection: Connection, incident_id: IncidentId) -> None:
    """Slack no longer holds that message: nothing more is told in it, and a new one may be posted."""
    connection.execute(
        update(slack_post)
        .where(slack_post.c.incident_id == incident_id)
        .values(ts=None, posted_state=None, posted_severity=None)
    )


def channel_id(connection: Connection) -> str | None:
    """The id of the channel that the newest message went to, None before the first."""
    return connection.execute(
        select(slack_post.c.channel)
        .where(slack_post.c.channel.is_not(None))
        .order_by(slack_post.c.incident_id.desc())
        .limit(1)
    ).scalar()


def drop_untold(connection: Connection) -> None:
    """Nothing waits to be told of incidents that are over: nobody was there to be told."""
    over = select(incident.c.id).where(incident.c.state == IncidentState.RESOLVED)
    connection.execute(
        delete(slack_post).where(
            slack_post.c.posted_state.is_(None), slack_post.c.incident_id.in_(over)
        )
    )


def untold(connection: Connection) -> dict[IncidentId, str]:
    """Why the last try failed, by incident, of those that Slack was not told of."""
    rows = connection.execute(
        select(slack_post.c.incident_id, slack_post.c.last_error)
        .where(
            slack_post.c.last_error.is_not(None),
            differs(slack_post.c.posted_state, IncidentState.RESOLVED),
        )
        .order_by(slack_post.c.incident_id)
    )
    return {row.incident_id: row.last_error for row in rows}
