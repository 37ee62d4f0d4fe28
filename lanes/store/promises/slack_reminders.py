"""Who has to be reminded in Slack: whoever was asked to approve a rollout and has not answered for a day."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, select, text

from lanes.ids import IncidentId
from lanes.promises.incident import IncidentState, Promise, Reminder
from lanes.store.incidents import read_incident
from lanes.store.literals import differs, is_
from lanes.store.tables import incident, slack_post

EVERY = timedelta(days=1)
RETRY = timedelta(minutes=10)  # after a try that Slack refused

MARK = "update lanes.slack_post set reminded_at = :at where incident_id = :incident_id"


def due(connection: Connection, *, now: datetime) -> Sequence[Reminder]:
    """The open questions of which nobody was told or reminded for a day, oldest first."""
    told_last = func.coalesce(slack_post.c.reminded_at, incident.c.opened_at)
    rows = connection.execute(
        select(incident, slack_post.c.channel, slack_post.c.ts)
        .join(slack_post, slack_post.c.incident_id == incident.c.id)
        .where(
            differs(slack_post.c.posted_state, IncidentState.RESOLVED),
            is_(slack_post.c.posted_state, IncidentState.OPEN),
        )
        .where(slack_post.c.ts.is_not(None), told_last <= now - EVERY)
        .where(
            is_(incident.c.state, IncidentState.OPEN), incident.c.promise == Promise.APPROVAL_WAITS
        )
        .order_by(incident.c.id)
    )
    return [Reminder(read_incident(row), row.channel, row.ts) for row in rows]


def begun(connection: Connection, incident_id: IncidentId, *, now: datetime) -> None:
    """People count as reminded from before the try on, so that they are once a day at most."""
    connection.execute(text(MARK), {"incident_id": incident_id, "at": now})


def refused(connection: Connection, incident_id: IncidentId, *, now: datetime) -> None:
    """Slack did not take it: it is tried again in ten minutes."""
    connection.execute(text(MARK), {"incident_id": incident_id, "at": now - EVERY + RETRY})
