"""The incidents among which a rollout looks for what hinders it."""

from sqlalchemy import Connection, and_, exists, literal_column, or_, select

from lanes.promises.breaches import model_subject
from lanes.promises.incident import EVERYBODY, Incident, Promise
from lanes.rollouts.hindrances import hindering
from lanes.rollouts.rollout import Rollout
from lanes.store.incidents import read_incident
from lanes.store.tables import incident, outage
from lanes.store.workload import workloads

OPEN_AND_CRITICAL = and_(
    incident.c.state == literal_column("'open'"),
    incident.c.severity == literal_column("'critical'"),
)


def of(connection: Connection, moved: Rollout) -> list[Incident]:
    """The critical incidents that are open on the rollout's workload and the lane that receives its traffic.

    An outage of the provider belongs to no workload: it counts where it takes the model of that lane. So does a model that is
    refused. A refusal of the account counts always.
    """
    receiving = moved.playbook.direction.receiving
    version = workloads.in_force(connection).get(moved.workload)
    model = version.spec.model_of(receiving) if version is not None else ""
    taken = exists().where(
        outage.c.account == incident.c.subject, outage.c.model == model, outage.c.over_at.is_(None)
    )
    is_frozen = incident.c.promise == Promise.PROVIDER_FROZEN
    provider = and_(incident.c.workload == EVERYBODY, or_(is_frozen, taken))
    own = and_(
        incident.c.workload == moved.workload,
        or_(~is_frozen, incident.c.subject == model_subject(model)),
    )
    rows = connection.execute(
        select(incident).where(OPEN_AND_CRITICAL, or_(own, provider)).order_by(incident.c.id)
    )
    return hindering(map(read_incident, rows), receiving)
