"""Due items that are too unsure to be in time have their incident, as long as there are such, and a while longer."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, and_, select, update

from lanes.promises.deadlines import CALM_FOR, AtRisk, deadline_at_risk, nothing_at_risk
from lanes.promises.incident import IncidentChanges, IncidentState, Promise
from lanes.store import incidents
from lanes.store.literals import is_
from lanes.store.tables import incident

SEEN_EVERY = timedelta(
    minutes=1
)  # what is at risk as before was seen again: it has not been calm since its figures changed


def record(connection: Connection, seen: Sequence[AtRisk], *, now: datetime) -> IncidentChanges:
    """Exactly the workloads with items at risk have an open incident of that kind, and those that had some a moment ago.

    `seen` is everything that one look found, one for each workload. To be called with nothing too: that ends what was.
    """
    recorded = incidents.record(
        connection, [deadline_at_risk(each, now) for each in seen if each.items], now=now
    )
    ours = and_(
        is_(incident.c.state, IncidentState.OPEN), incident.c.promise == Promise.DEADLINE_AT_RISK
    )
    at_risk = incident.c.workload.in_([each.workload for each in seen if each.items])
    connection.execute(
        update(incident)
        .where(ours, at_risk, incident.c.updated_at <= now - SEEN_EVERY)
        .values(updated_at=now)
    )
    calm = select(incident.c.workload).where(
        ours, ~at_risk, incident.c.updated_at <= now - CALM_FOR
    )
    for workload in connection.execute(calm).scalars().all():
        ended = incidents.resolve(
            connection,
            Promise.DEADLINE_AT_RISK,
            workload,
            sentence=nothing_at_risk(workload),
            now=now,
        )
        recorded.resolved.extend([] if ended is None else [ended])
    return recorded
