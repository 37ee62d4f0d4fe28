"""What forbids a rollout to go forwards: critical incidents that are open where its traffic goes."""

from sqlalchemy import Connection, and_, literal_column, or_, select

from lanes.incident import EVERYBODY, Incident, lane_of
from lanes.rollout import Rollout
from lanes.store import workloads
from lanes.store.incidents import read_incident
from lanes.store.tables import incident

OPEN_AND_CRITICAL = and_(
    incident.c.state == literal_column("'open'"), incident.c.severity == literal_column("'critical'")
)


def of(connection: Connection, moved: Rollout) -> list[Incident]:
    """The critical incidents that are open on the rollout's workload and the lane that receives its traffic.

    Those of the provider that are nobody's in particular count where they are about the model of that lane.
    """
    receiving = moved.playbook.direction.receiving
    version = workloads.in_force(connection).get(moved.workload)
    model = version.spec.model_of(receiving) if version is not None else ""
    provider = and_(incident.c.workload == EVERYBODY, incident.c.subject == model)
    rows = connection.execute(
        select(incident)
        .where(OPEN_AND_CRITICAL, or_(incident.c.workload == moved.workload, provider))
        .order_by(incident.c.id)
    )
    found = [read_incident(row) for row in rows]
    return [each for each in found if lane_of(each.promise, each.subject) in (None, receiving)]
