"""Incidents that are opened or resolved by their own query: risks to due times, taken roles, lost subjects, ended refusals."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, select, text, update

from lanes.errors import ActionRefused
from lanes.ids import IncidentId
from lanes.promises.assessment import Assessment
from lanes.promises.breaches import (
    CONTEXT,
    DEAR,
    ForeignHolder,
    role_free,
    role_subject,
    role_taken,
)
from lanes.promises.deadlines import CALM_FOR, AtRisk, deadline_at_risk, describe_end
from lanes.promises.incident import EVERYBODY, IncidentChanges, IncidentState, Promise
from lanes.promises.quality import OF_CLASS, quality_drift
from lanes.standing.roles import Role
from lanes.store import incidents
from lanes.store.asking import through
from lanes.store.batch.doubts import WANTED
from lanes.store.figures import reading
from lanes.store.incidents import resolve
from lanes.store.signals import CLASS
from lanes.store.statements import is_
from lanes.store.states import FINISHED_BATCH
from lanes.store.tables import incident
from lanes.store.work import UNASKED
from lanes.store.workload import workloads
from lanes.units import pluralize
from lanes.words import Signature

SEEN_EVERY = timedelta(minutes=1)  # how often an incident records that its items are still at risk
MOST = 10_000  # the most items that are counted
# Promises that `lanes.promises.judge` evaluates at every check. An incident that it no longer evaluates has lost its subject.
JUDGED = (
    Promise.BATCH_SLOW,
    Promise.BATCH_FAILING,
    Promise.BATCH_INVALID,
    Promise.BATCH_INCOMPLETE,
    Promise.BATCH_NEVER_STARTED,
    Promise.COLLECT_STOPPED,
    Promise.REALTIME_SLOW,
    Promise.REALTIME_FAILING,
    Promise.AUTHORITATIVE_FAILED,
    Promise.ITEMS_FAILED,
    Promise.BUDGET,
    Promise.DEADLINE_MISSED,
    Promise.FEED_SILENT,
    Promise.RULE_RAISES,
    Promise.ROUTING_SHIFTED,
    Promise.GUARDS_FIRE,
    Promise.CHANCE_WRONG,
    Promise.READ_LATE,
    Promise.QUALITY_DRIFT,
    Promise.MODEL_CHANGED,
)
OPEN = "select workload, promise, subject from lanes.incident where state = 'open' and promise = any(:promises)"
PAUSED = "select name from lanes.workload where paused_at is not null"

# Incidents that no longer need a decision: the batch has no submitted work that is still wanted, or the workload has no rollout
# that waits for approval.
DECIDED = f"""
select o.workload, o.promise, o.subject
  from lanes.incident o
 where o.state = 'open' and o.promise = 'batch_unclear'
   and not exists (
     select from lanes.batch b
       join lanes.work w on w.batch_id = b.id and w.state = 'submitted'
       join lanes.item i on i.id = w.item_id
      where o.subject = 'batch ' || b.id and {WANTED})
union all
select o.workload, o.promise, o.subject
  from lanes.incident o
 where o.state = 'open' and o.promise = 'approval_waits'
   and not exists (select from lanes.rollout r where r.workload = o.workload and r.state = 'waiting_approval')
"""

# The items that are held by a refusal of the account, or of a model for a workload: work that needs a call, and unrouted items.
# A refusal is over once a later call or batch has succeeded, or once it holds nothing. If the refusal appeared within a batch,
# an accepted batch proves nothing: only an answer does. `lanes.store.settling.refusals` handles refused versions. A refusal
# concerns the workloads of the account, or the workload of the incident.
CONCERNS = (
    "(o.workload = f.name or o.workload = '*' and coalesce(f.account, o.subject) = o.subject)"
)
IS_OF = """
(o.workload = '*' or o.subject = 'model ' || case held.lane when 'batch' then v.batch_model else v.realtime_model end)
"""
FROZEN = f"""
select o.id, o.workload, o.subject, o.value, seen.answered or (seen.taken and not seen.within) as answered,
       (select count(*) from (
          select from lanes.workload f
            cross join lateral (
              select w.version_id, w.lane from {UNASKED} w where w.workload = f.name
              union all
              select w.version_id, w.lane
                from lanes.batch b
                join lanes.work w on w.batch_id = b.id and w.state = 'submitted'
                join lanes.item i on i.id = w.item_id
               where b.workload = f.name and b.state not in {FINISHED_BATCH} and {WANTED}
              union all
              select f.version_id, coalesce(n.pin, 'realtime') from lanes.item n
               where n.workload = f.name and n.position is null and n.canceled_at is null and f.version_id is not null) held
            join lanes.version v on v.id = held.version_id
           where {CONCERNS} and f.paused_at is null and {IS_OF}
           limit {MOST}) held) as items
  from lanes.incident o
 cross join lateral (
   select exists (
            select from lanes.workload f
              join lanes.attempt a on a.workload = f.name and a.ended_at > o.opened_at and a.started_at > o.opened_at
              join lanes.work held on held.id = a.work_id
              join lanes.version v on v.id = held.version_id
             where {CONCERNS} and a.outcome = 'valid' and {IS_OF}) as answered,
          exists (
            select from lanes.batch b
             where (o.workload = b.workload or o.workload = '*' and b.account = o.subject) and b.submitted_at > o.opened_at
               and (o.workload = '*' or o.subject = 'model ' || b.model)) as taken,
          exists (
            select from lanes.workload f join lanes.attempt a on a.workload = f.name and a.ended_at >= o.opened_at
             where {CONCERNS} and a.lane = 'batch' and a.outcome = 'unserved') as within) seen
 where o.state = 'open' and o.promise = 'provider_frozen' and o.subject not like 'version %'
 order by o.id
"""
COUNTED = "update lanes.incident set value = :items, updated_at = :now where id = :id and value <> :items and state = 'open'"
# Rows that every reader or writer of quality figures locks first, until its transaction ends.
READERS = """
select from lanes.watermark where name in ('quality of attempts', 'quality of labels', 'watch') order by name for update
"""
# Delete the reference that a person replaced, of the whole field and of its classes: it is learned from the next answers.
ACCEPT = f"""
delete from lanes.quality q using lanes.quality d
 where d.workload = :workload and d.has_drift
   and (q.version_id, q.lane, q.measure, split_part(q.field, '{OF_CLASS}', 1))
     = (d.version_id, d.lane, d.measure, split_part(d.field, '{OF_CLASS}', 1))
"""
REPLACED = "Its version is no longer in force, or its quality is not watched."
GONE_OF = {Promise.QUALITY_DRIFT: REPLACED, Promise.MODEL_CHANGED: REPLACED}
GONE = "It no longer holds items: all were decided, answered, cancelled or removed."
ANSWERED = "The provider accepts calls again."
UNASKED_NOW = "No work waits for it: the next item will be asked."
# Sessions of users outside Lanes, and of superusers other than ours: `pg_has_role` treats superusers as members of every role.
FOREIGN = """
    select l.objid as role, l.pid, a.usename as user, a.application_name as application, host(a.client_addr) as address
      from pg_locks l join pg_stat_activity a using (pid) join pg_roles u on u.oid = a.usesysid
     where locktype = 'advisory' and granted and classid = :class and objid = any(:roles) and a.usename <> current_user
       and l.database = (select oid from pg_database where datname = current_database())
       and (u.rolsuper or not exists (
             select from pg_roles r where r.rolname in ('lanes_worker', 'lanes_owner') and pg_has_role(u.oid, r.oid, 'member')))
     order by 1, 2
"""


def list_open(connection: Connection) -> Sequence[Any]:
    """Return the open incidents of the promises in `JUDGED`, as rows of workload, promise and subject.

    Call this before the promises are measured: `end_gone` needs the result.
    """
    return connection.execute(text(OPEN), {"promises": [*JUDGED]}).all()


def end_gone(
    connection: Connection,
    judged: Iterable[Assessment],
    open_before: Iterable[Any],
    *,
    now: datetime,
) -> list[IncidentId]:
    """Resolve the incidents whose subject is gone, and return their ids.

    `judged` has all assessments of one check, and `open_before` the incidents that were open before its measurement: the
    subject of an incident that opened since then may not have been measured.
    """
    measured = {(each.promise, each.workload, each.subject) for each in judged}
    paused = set(connection.execute(text(PAUSED)).scalars())
    resolved_ids = list[IncidentId | None]()
    for row in open_before:
        key = (row.promise, row.workload, row.subject)
        if key in measured or row.subject.endswith((DEAR, CONTEXT)):  # a departure resolves these
            continue
        is_paused = f'Workload "{row.workload}" is paused: nothing of it is asked.'
        sentence = is_paused if row.workload in paused else GONE_OF.get(row.promise, GONE)
        resolved_ids.append(resolve(connection, *key, sentence=sentence, now=now))
    for row in connection.execute(text(DECIDED)).all():
        key = (row.promise, row.workload, row.subject)
        resolved_ids.append(resolve(connection, *key, sentence=GONE, now=now))
    return [id_ for id_ in resolved_ids if id_ is not None]


def accept_quality(connection: Connection, workload: str, by: Signature) -> str:
    """Make the future answers the reference of every drifted figure of the workload; return a sentence about the result.

    Raises:
        UnknownWorkload: there is no such workload.
        ActionRefused: no answers of the workload have drifted.
    """
    workloads.check_known(connection, workload)
    connection.execute(text(READERS))
    found = reading.list_watched(through(connection), drifted=True)
    ours = [each for each in found if each.workload == workload and each.watch.is_drifting]
    drifted = [quality_drift(each, by.now) for each in ours]
    if not drifted:
        raise ActionRefused(f'no answers of workload "{workload}" have changed; see `lanes alerts`')
    connection.execute(text(ACCEPT), {"workload": workload})
    message = f"Accepted by {by.who}: {by.why}. The answers from now on are the reference."
    for each in drifted:
        sentence = f"{each.sentence} {message}"
        resolve(connection, each.promise, workload, each.subject, sentence=sentence, now=by.now)
    return f"{workload}: the answers from now on are the reference of {pluralize(len(drifted), 'figure')}"


def thaw(connection: Connection, *, now: datetime) -> list[IncidentId]:
    """Resolve the provider's refusals that are over and return their ids; update the item counts of all others."""
    resolved_ids = list[IncidentId | None]()
    for row in connection.execute(text(FROZEN)).all():
        if row.answered or not row.items:
            key = (Promise.PROVIDER_FROZEN, row.workload, row.subject)
            reason = ANSWERED if row.answered else UNASKED_NOW
            resolved_ids.append(resolve(connection, *key, sentence=reason, now=now))
        else:
            connection.execute(text(COUNTED), {"id": row.id, "items": row.items, "now": now})
    return [id_ for id_ in resolved_ids if id_ is not None]


def record_at_risk(
    connection: Connection, risks: Sequence[AtRisk], *, now: datetime
) -> IncidentChanges:
    """Keep an incident open for each workload with items at risk; `risks` has all risks that one check found.

    An incident is resolved `CALM_FOR` after its last item at risk, so this function must be called without risks too.
    """
    active_risks = [each for each in risks if each.items]
    changes = incidents.record(
        connection, [deadline_at_risk(each, now) for each in active_risks], now=now
    )
    columns = incident.c
    ours = and_(is_(columns.state, IncidentState.OPEN), columns.promise == Promise.DEADLINE_AT_RISK)
    at_risk = columns.workload.in_([each.workload for each in active_risks])
    seen = update(incident).where(ours, at_risk, columns.updated_at <= now - SEEN_EVERY)
    connection.execute(seen.values(updated_at=now))
    calm = select(columns.workload).where(ours, ~at_risk, columns.updated_at <= now - CALM_FOR)
    for name in connection.execute(calm).scalars().all():
        message, promise = describe_end(name), Promise.DEADLINE_AT_RISK
        if (ended := resolve(connection, promise, name, sentence=message, now=now)) is not None:
            changes.resolved.append(ended)
    return changes


def find_taken_roles(connection: Connection) -> Mapping[Role, Sequence[ForeignHolder]]:
    """Return the sessions of other users that hold a role of Lanes, by role, without locking anything."""
    holders_by_role = defaultdict[Role, list[ForeignHolder]](list)
    at = {"class": CLASS, "roles": [int(each) for each in Role]}
    for row in connection.execute(text(FOREIGN), at):
        role = Role(row.role)
        holders_by_role[role].append(
            ForeignHolder(role, row.pid, row.user, row.application, row.address)
        )
    return holders_by_role


def record_taken_roles(
    connection: Connection, *, now: datetime
) -> Mapping[Role, Sequence[ForeignHolder]]:
    """Keep an incident open for each role that sessions of other users hold; return these roles with their holders."""
    taken = find_taken_roles(connection)
    for role, holders in taken.items():
        incidents.open(connection, role_taken(role, holders), now=now)
    held, promise = {role_subject(role) for role in taken}, Promise.ROLE_TAKEN
    is_open = is_(incident.c.state, IncidentState.OPEN)
    known = select(incident.c.subject).where(is_open, incident.c.promise == promise)
    for subject in connection.execute(known).scalars().all():
        if subject not in held:
            message = role_free(subject)
            resolve(connection, promise, EVERYBODY, subject, sentence=message, now=now)
    return taken
