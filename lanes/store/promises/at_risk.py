"""Due items that are too unsure to be in time have their incident, as long as there are such, and a while longer."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, select

from lanes.promises.deadlines import CALM_FOR, AtRisk, deadline_at_risk, nothing_at_risk
from lanes.promises.incident import IncidentState, Promise, Recorded
from lanes.store import incidents
from lanes.store.literals import is_
from lanes.store.tables import incident


def record(connection: Connection, seen: Sequence[AtRisk], *, now: datetime) -> Recorded:
    """Exactly the workloads with items at risk have an open incident of that kind, and those that had some a moment ago.

    `seen` is everything that one look found, one for each workload. To be called with nothing too: that ends what was.
    """
    recorded = incidents.record(connection, [deadline_at_risk(each, now) for each in seen if each.items], now=now)
    calm = select(incident.c.workload).where(
        is_(incident.c.state, IncidentState.OPEN), incident.c.promise == Promise.DEADLINE_AT_RISK,
        incident.c.workload.not_in([each.workload for each in seen if each.items]), incident.c.updated_at <= now - CALM_FOR,
    )  # fmt: skip
    for workload in connection.execute(calm).scalars().all():
        ended = incidents.resolve(
            connection, Promise.DEADLINE_AT_RISK, workload, sentence=nothing_at_risk(workload), now=now
        )
        recorded.resolved.extend([] if ended is None else [ended])
    return recorded
