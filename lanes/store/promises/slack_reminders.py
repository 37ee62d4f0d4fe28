"""Who has to be reminded in Slack: whoever was asked to approve a rollout and has not answered for a day."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, text

from lanes.promises.incident import Incident
from lanes.store.promises.incidents import read_incident

EVERY = timedelta(days=1)
RETRY = timedelta(minutes=10)  # after a try that Slack refused

DUE = """
select i.*, p.channel, p.ts
  from lanes.slack_post p
  join lanes.incident i on i.id = p.incident_id
 where p.posted_state is distinct from 'resolved' and p.posted_state = 'open' and p.ts is not null
   and i.state = 'open' and i.promise = 'approval_waits'
   and coalesce(p.reminded_at, i.opened_at) <= :before
 order by i.id
"""
MARK = "update lanes.slack_post set reminded_at = :at where incident_id = :incident_id"


@dataclass(frozen=True)
class Reminder:
    """An incident that waits for a person, and where its message stands."""

    incident: Incident
    channel: str | None
    ts: str


def due(connection: Connection, *, now: datetime) -> Sequence[Reminder]:
    """The open questions of which nobody was told or reminded for a day, oldest first."""
    rows = connection.execute(text(DUE), {"before": now - EVERY})
    return [Reminder(read_incident(row), row.channel, row.ts) for row in rows]


def begun(connection: Connection, incident_id: int, *, now: datetime) -> None:
    """People count as reminded from before the try on, so that they are once a day at most."""
    connection.execute(text(MARK), {"incident_id": incident_id, "at": now})


def refused(connection: Connection, incident_id: int, *, now: datetime) -> None:
    """Slack did not take it: it is tried again in ten minutes."""
    connection.execute(text(MARK), {"incident_id": incident_id, "at": now - EVERY + RETRY})
