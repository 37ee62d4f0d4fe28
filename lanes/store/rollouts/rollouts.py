"""Queries on rollouts, which `rollout_moves` changes, and the manual controls: splits, and pauses of workloads.

Each function for a person returns a sentence about the new state.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, and_, exists, func, literal_column, or_, select, true, update

from lanes.errors import ActionRefused
from lanes.ids import RolloutId, RouteId
from lanes.promises.breaches import model_subject
from lanes.promises.incident import EVERYBODY, Incident, Promise
from lanes.rollouts import refusals
from lanes.rollouts.refusals import select_hindering
from lanes.rollouts.rollout import LogEntry, Rollout, read_rollout
from lanes.routing.split import Split, SplitRecord
from lanes.store.asking import read_as
from lanes.store.incidents import read_incident
from lanes.store.statements import is_among
from lanes.store.tables import incident, outage, rollout, rollout_event, route, split, workload
from lanes.store.workload import accounts, candidates, workloads
from lanes.words import OPEN_ROLLOUT, Lane

# The items `i` whose split a rollout moves: those of its consumer, or of all consumers without a split of their own.
WHOSE = """i.workload = :workload
     and case when cast(:consumer as text) is not null then i.consumer = :consumer
              else i.consumer is null or (
                select s.basis_points from lanes.split s where s.workload = i.workload and s.consumer = i.consumer
                 order by s.id desc limit 1) is null end"""
LOCKS_FROM = 1_000_000  # added to a rollout's id for the second key of its advisory lock; exceeds every role's number
OPEN_AND_CRITICAL = and_(
    incident.c.state == literal_column("'open'"),
    incident.c.severity == literal_column("'critical'"),
)


def lock_key(rollout_id: RolloutId) -> int:
    """Return the number of the role that the run that leads this rollout holds."""
    return LOCKS_FROM + rollout_id % 1_000_000_000


def find(connection: Connection, rollout_id: RolloutId) -> Rollout:
    """Return the rollout with this id."""
    return read_rollout(connection.execute(select(rollout).where(rollout.c.id == rollout_id)).one())


def read_open(connection: Connection, name: str) -> Rollout | None:
    """Return the open rollout of a workload, if any."""
    row = connection.execute(
        select(rollout).where(rollout.c.workload == name, is_among(rollout.c.state, OPEN_ROLLOUT))
    ).first()
    return read_rollout(row) if row is not None else None


def list_open(connection: Connection) -> list[Rollout]:
    """Return every open rollout, oldest first."""
    rows = connection.execute(
        select(rollout).where(is_among(rollout.c.state, OPEN_ROLLOUT)).order_by(rollout.c.id)
    )
    return [read_rollout(row) for row in rows]


def find_led_by(connection: Connection, run_id: UUID) -> Rollout | None:
    """Return the rollout that this run of `migrate` started or led last."""
    its = select(rollout).where(rollout.c.flow_run_id == run_id)
    row = connection.execute(its.order_by(rollout.c.id.desc()).limit(1)).first()
    return read_rollout(row) if row is not None else None


def read_newest_run(connection: Connection, name: str) -> UUID | None:
    """Return the run that leads, or last led, the newest rollout of a workload."""
    its = select(rollout.c.flow_run_id).where(rollout.c.workload == name)
    newest = its.order_by(rollout.c.id.desc()).limit(1)
    return connection.execute(newest).scalar_one_or_none()


def newest_route(connection: Connection) -> RouteId:
    """Return the id of the newest route of all workloads, 0 without any: a step measures only later routes."""
    return connection.execute(select(func.coalesce(func.max(route.c.id), 0))).scalar_one()


def lead(connection: Connection, rollout_id: RolloutId, run_id: UUID) -> None:
    """Record that this run leads the rollout from now on; the caller must hold the rollout's lock."""
    connection.execute(update(rollout).where(rollout.c.id == rollout_id).values(flow_run_id=run_id))


def log(connection: Connection, rollout_id: RolloutId) -> list[LogEntry]:
    """Return the events of a rollout, oldest first."""
    columns = rollout_event.c
    its = select(rollout_event).where(columns.rollout_id == rollout_id)
    rows = connection.execute(its.order_by(columns.id))
    return [read_as(LogEntry, row) for row in rows]


def split_history(
    connection: Connection, name: str, consumer: str | None, limit: int
) -> list[SplitRecord]:
    """Return the newest splits of a workload and consumer, newest first."""
    rows = connection.execute(
        select(split.c.basis_points, split.c.who, split.c.why, split.c.set_at)
        .where(split.c.workload == name, split.c.consumer.is_not_distinct_from(consumer))
        .order_by(split.c.id.desc())
        .limit(limit)
    )
    return [SplitRecord(row.basis_points, row.who, row.why, row.set_at) for row in rows]


def list_hindering(connection: Connection, moved: Rollout) -> list[Incident]:
    """Return the open critical incidents of the rollout's workload and of the lane that receives its traffic.

    An incident of the provider counts only for the account that answers the workload. An outage or a refused model must also
    concern the model of the receiving lane; a refusal of the whole account always counts. A new version receives traffic on
    both lanes.
    """
    receiving = moved.playbook.direction.receiving
    if moved.version is None:
        version = workloads.read_versions(connection).get(moved.workload)
    else:
        version = candidates.find(connection, moved.workload)
    lanes = [*Lane] if receiving is None else [receiving]
    models = [version.spec.model_of(each) for each in lanes] if version is not None else []
    taken = exists().where(
        outage.c.account == incident.c.subject,
        outage.c.model.in_(models),
        outage.c.over_at.is_(None),
    )
    is_frozen = incident.c.promise == Promise.PROVIDER_FROZEN
    account = accounts.read_account(connection, moved.workload).name
    its = incident.c.subject == account if account else true()
    provider = and_(incident.c.workload == EVERYBODY, its, or_(is_frozen, taken))
    concerned = or_(~is_frozen, incident.c.subject.in_([model_subject(each) for each in models]))
    own = and_(incident.c.workload == moved.workload, concerned)
    rows = connection.execute(
        select(incident).where(OPEN_AND_CRITICAL, or_(own, provider)).order_by(incident.c.id)
    )
    return select_hindering(map(read_incident, rows), receiving)


def inherit_split_by_hand(
    connection: Connection, name: str, consumer: str, *, who: str, why: str, now: datetime
) -> str:
    """Put the workload's split in force for a consumer again, instead of the consumer's own.

    Raises:
        UnknownWorkload: there is no such workload.
        ActionRefused: the consumer has no split of its own, or an open rollout moves its split.
    """
    _require_movable(connection, name, consumer)
    before = workloads.splits(connection)
    if not before.has_own(name, consumer):
        raise ActionRefused(
            f'consumer "{consumer}" of workload "{name}" has no split of its own; it inherits already'
        )
    workloads.inherit_split(connection, name, consumer, who=who, why=why, now=now)
    inherited, own = before.of(name, None).basis_points, before.of(name, consumer).basis_points
    shares = (
        f"inherits the workload's split, {inherited / 100:g} % to real-time, {own / 100:g} % before"
    )
    return f'{name} for consumer "{consumer}": {shares}'


def set_split_by_hand(
    connection: Connection, new: Split, *, who: str, why: str, now: datetime
) -> str:
    """Put a split in force.

    Raises:
        UnknownWorkload: there is no such workload.
        ActionRefused: an open rollout moves the same split.
    """
    _require_movable(connection, new.workload, new.consumer)
    before = workloads.splits(connection).of(new.workload, new.consumer).basis_points
    workloads.set_split(connection, new, who=who, why=why, now=now)
    whose = f' for consumer "{new.consumer}"' if new.consumer is not None else ""
    shares = f"{new.basis_points / 100:g} % of undecided items go to real-time, {before / 100:g} % before"
    return f"{new.workload}{whose}: {shares}"


def pause_workload(connection: Connection, name: str, *, now: datetime) -> str:
    """Pause the workload: no more of its work is claimed or submitted, and answers in flight are collected.

    Raises:
        UnknownWorkload: there is no such workload.
    """
    since = _lock_paused_at(connection, name)
    if since is not None:
        return f"{name} is paused already, since {since:%Y-%m-%d %H:%M} UTC"
    workloads.pause(connection, name, since=now)
    return f"{name} is paused: items are admitted and routed, and wait"


def resume_workload(connection: Connection, name: str) -> str:
    """Resume the workload: its work is claimed and submitted again.

    Raises:
        UnknownWorkload: there is no such workload.
    """
    if _lock_paused_at(connection, name) is None:
        return f"{name} is not paused"
    workloads.pause(connection, name, since=None)
    return f"{name} is resumed: what waited is served"


def _require_movable(connection: Connection, name: str, consumer: str | None) -> None:
    _lock_paused_at(connection, name)
    refusal = refusals.refuse_split(name, consumer, read_open(connection, name))
    if refusal is not None:
        raise ActionRefused(refusal)


def _lock_paused_at(connection: Connection, name: str) -> datetime | None:
    """Lock the workload's row until the transaction ends; return when the workload was paused, None if it is not."""
    workloads.lock(connection, name)
    workloads.check_known(connection, name)
    return connection.execute(select(workload.c.paused_at).where(workload.c.name == name)).scalar()
