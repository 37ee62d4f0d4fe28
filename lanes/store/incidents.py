"""Incidents: at most one is open per promise, workload and subject; its events are written in the same transaction.

The incident of an outage of the provider, a refusal of the account, an exhausted budget or a taken role is the parent of the
incidents that it explains. A child incident is posted to Slack only if it outlasts its parent.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import DBAPIError

from lanes.ids import IncidentId
from lanes.promises.assessment import Assessment
from lanes.promises.breaches import DEAR, LOSSES, describe_mended_workload, role_subject
from lanes.promises.deadlines import MISSED_WITHIN
from lanes.promises.incident import (
    EVERYBODY,
    TERMS,
    Handling,
    Incident,
    IncidentChanges,
    IncidentState,
    Promise,
    Severity,
)
from lanes.standing.roles import Role
from lanes.store import outbox
from lanes.store.asking import read_as
from lanes.store.outbox import EventOut
from lanes.store.statements import is_
from lanes.store.tables import incident, slack_post
from lanes.words import Lane, Signature, Verdict

OPENED = "lanes.incident.opened"
RESOLVED = "lanes.incident.resolved"
KEY = (incident.c.promise, incident.c.workload, incident.c.subject)
MOST = 200
HANDLED = (
    incident.c.handling,
    incident.c.handled_by,
    incident.c.handled_why,
    incident.c.handled_at,
    incident.c.handled_until,
)
FIGURES = ("severity", "value", "limit_value", "sentence")  # these change while it is open

# Causes that are measured together with the breaches that they explain.
CAUSES = (Promise.BUDGET, Promise.COLLECT_STOPPED)
ROLES = ", ".join(
    f"('{role_subject(role)}', array{[str(lane) for lane in Lane if lane in lanes]}::text[])"
    for role, (_, lanes) in LOSSES.items()
)
# The lanes of each workload that stand still, with the open or recently resolved incident that is the cause, and its end:
# a model that does not answer, a refused account or model, an exhausted budget of a whole workload, or a taken role.
# A stopped `collect` explains only the promises in UNCOLLECTED, below.
STANDSTILLS = f"""
with cause as (
  select * from lanes.incident
   where promise in ('provider_down', 'provider_frozen', 'budget', 'role_taken', 'collect_stopped')
     and (state = 'open' or resolved_at >= :since))
select f.name as workload, c.id, c.promise, c.subject, array['realtime'] as lanes,
       coalesce(c.resolved_at, o.over_at) as ended_at
  from cause c
  join lanes.outage o on o.account = c.subject and (o.over_at is null or o.over_at >= :since)
  join lanes.version v on v.realtime_model = o.model
  join lanes.workload f on f.version_id = v.id and coalesce(f.account, o.account) = o.account
 where c.promise = 'provider_down' and c.workload = '*'
union all
select f.name, c.id, c.promise, c.subject,
       case when c.promise = 'provider_frozen' and c.workload <> '*' then
         array_remove(array[case c.subject when 'model ' || v.realtime_model then 'realtime' end,
                            case c.subject when 'model ' || v.batch_model then 'batch' end], null)
            when right(c.subject, length('{DEAR}')) = '{DEAR}' then array['batch']
       else array['realtime', 'batch'] end,
       c.resolved_at
  from cause c
  join lanes.workload f on c.workload = f.name or c.workload = '*'
   and (c.promise <> 'provider_frozen' or coalesce(f.account, c.subject) = c.subject)
  join lanes.version v on v.id = f.version_id
 where c.promise = 'provider_frozen'
    or c.promise = 'budget' and c.value >= 100
       and (c.subject in ('day budget', 'month budget') or right(c.subject, length('{DEAR}')) = '{DEAR}')
union all
select f.name, c.id, c.promise, c.subject, coalesce(r.lanes, array[]::text[]), c.resolved_at
  from cause c left join (values {ROLES}) r (subject, lanes) on r.subject = c.subject
 cross join (select name from lanes.workload union all select '*') f
 where c.promise in ('role_taken', 'collect_stopped')
 order by id
"""

# Promises of the batch lane that these causes do not break: a submitted batch is already paid, and submitting one needs no
# `collect`.
UNAFFECTED: Mapping[Promise, set[str]] = {
    Promise.BATCH_SLOW: {Promise.BUDGET, role_subject(Role.SUBMITTER)},
    Promise.BATCH_NEVER_STARTED: {role_subject(Role.COLLECTOR)},
}

# Incidents that result from uncollected batches, and the causes of those incidents, by promise or subject.
UNCOLLECTED = (Promise.BATCH_SLOW, Promise.COLLECT_STOPPED)
COLLECTS_NOTHING = {Promise.COLLECT_STOPPED, role_subject(Role.COLLECTOR)}


class ExplainedStandstill(NamedTuple):
    """Lanes of a workload that stand still because of an incident; `ended_at` is when they resumed."""

    workload: str
    id: IncidentId
    promise: Promise
    subject: str
    lanes: Collection[Lane]
    ended_at: datetime | None

    def explains(self, breach: Assessment) -> bool:
        """Return whether this standstill explains the breach.

        A standstill that has ended still explains missed due times, for as long as the promises evaluate them.
        """
        lanes = breach.standstill
        if breach.workload != self.workload:
            return False
        of_collect = COLLECTS_NOTHING & {self.promise, self.subject} - {breach.promise}
        if breach.promise in UNCOLLECTED and of_collect:
            return self.ended_at is None
        if not lanes or not lanes <= set(self.lanes):
            return False
        if (of := UNAFFECTED.get(breach.promise)) and of & {self.promise, self.subject}:
            return False
        return self.ended_at is None or breach.promise is Promise.DEADLINE_MISSED


def record(
    connection: sa.Connection, assessments: Sequence[Assessment], *, now: datetime
) -> IncidentChanges:
    """Open an incident for every breach, and resolve incidents whose breach has ended and that were open long enough.

    Each incident has a savepoint of its own, so that one that the database refuses does not affect the others.
    """
    is_told = sa.exists().where(slack_post.c.incident_id == incident.c.id)
    untold = sa.and_(incident.c.parent_id.is_not(None), ~is_told)
    query = sa.select(*KEY, incident.c.opened_at, untold.label("untold")).where(_open())
    rows = connection.execute(query)
    open_incidents = {(row.promise, row.workload, row.subject): row for row in rows}
    recorded = IncidentChanges()
    for are_causes in (True, False):
        standstills = connection.execute(sa.text(STANDSTILLS), {"since": now - MISSED_WITHIN}).all()
        explained = [ExplainedStandstill(*row) for row in standstills]
        judged = [each for each in assessments if (each.promise in CAUSES) is are_causes]
        _record(connection, judged, open_incidents, explained, recorded, now)
    return recorded


def _record(
    connection: sa.Connection,
    assessments: Iterable[Assessment],
    open_incidents: Mapping[Any, Any],
    causes: Sequence[ExplainedStandstill],
    recorded: IncidentChanges,
    now: datetime,
) -> None:
    for assessment in assessments:
        parent_id = next((c.id for c in causes if c.explains(assessment)), None)
        if assessment.verdict is Verdict.FAILED:
            opens = partial(open, parent_id=parent_id)
            _alone(connection, assessment, recorded.opened, recorded, now, opens)
            continue
        incident_row = open_incidents.get(
            (assessment.promise, assessment.workload, assessment.subject)
        )
        if incident_row is None:
            continue
        outlived = (
            incident_row.untold and parent_id is None and assessment.verdict is not Verdict.ERROR
        )
        if outlived or (assessment.ends and now - incident_row.opened_at >= assessment.stays):
            _alone(connection, assessment, recorded.resolved, recorded, now, _resolve_as_judged)


def open(
    connection: sa.Connection,
    breach: Assessment,
    *,
    parent_id: IncidentId | None = None,
    now: datetime,
) -> IncidentId | None:
    """Open an incident for the breach and return its id, or update the open one and return None.

    A new incident is announced. It is also put in the Slack outbox, unless it has a parent or only the daily digest reports
    it. The severity of an open incident never decreases.
    """
    figures: dict[str, Any] = {
        "severity": breach.severity,
        "value": breach.value,
        "limit_value": breach.limit,
        "samples": breach.samples,
        "sentence": breach.sentence,
        "updated_at": now,
    }
    details = {"why": breach.why, "flow_run_id": breach.flow_run_id, "block_id": breach.block_id}
    figures |= {name: each for name, each in details.items() if each is not None}
    of_key = _match_key(breach.promise, breach.workload, breach.subject)
    query = sa.select(incident.c.id, incident.c.parent_id, incident.c.severity)
    open_row = connection.execute(query.where(_open(), *of_key)).first()
    if (
        open_row is None
        and (added := _add(connection, breach, figures, parent_id, now)) is not None
    ):
        return added
    was_told = open_row is None or (
        open_row.parent_id is None and open_row.severity is not Severity.DIGEST
    )
    if open_row is not None and not was_told and parent_id is None:
        _queue_post(connection, open_row.id, breach.severity, now)
    worse = list(Severity)[list(Severity).index(breach.severity) + 1 :]
    worst = sa.case((incident.c.severity.in_(worse), incident.c.severity), else_=breach.severity)
    written = {**figures, "severity": worst}
    old_values, new_values = (
        sa.tuple_(*(columns[name] for name in (*FIGURES, "samples")))
        for columns in (incident.c, written)
    )
    changed = sa.update(incident).where(_open(), *of_key, old_values != new_values)
    connection.execute(changed.values(written))
    return None


def _add(
    connection: sa.Connection,
    breach: Assessment,
    figures: Mapping[str, Any],
    parent_id: IncidentId | None,
    now: datetime,
) -> IncidentId | None:
    """Insert and announce an incident and return its id, or None if another transaction has opened the same incident."""
    added = connection.execute(
        upsert(incident)
        .values(
            **figures,
            promise=breach.promise,
            workload=breach.workload,
            subject=breach.subject,
            state=IncidentState.OPEN,
            unit=TERMS[breach.promise].unit,
            opened_at=now,
            opened_value=breach.value,
            parent_id=parent_id,
            **_silence(connection, breach, now),
        )
        .on_conflict_do_nothing(index_elements=[column.name for column in KEY], index_where=_open())
        .returning(incident)
    ).first()
    if added is None:
        return None
    if parent_id is None:
        _queue_post(connection, added.id, breach.severity, now)
    else:  # the parent's Slack message counts the incidents that it explains, so it has changed
        of_parent = incident.c.id == parent_id
        connection.execute(sa.update(incident).where(of_parent).values(updated_at=now))
    _announce(connection, OPENED, read_incident(added), now)
    return added.id


def resolve(
    connection: sa.Connection,
    promise: Promise,
    workload: str,
    subject: str = "",
    *,
    sentence: str,
    now: datetime,
) -> IncidentId | None:
    """Resolve and announce the open incident and return its id, or None if none was open.

    The incident keeps its cause and the last value that broke the promise.
    """
    row = connection.execute(
        sa.update(incident)
        .where(_open(), *_match_key(promise, workload, subject))
        .values(state=IncidentState.RESOLVED, resolved_at=now, updated_at=now, sentence=sentence)
        .returning(incident)
    ).first()
    if row is None:
        return None
    resolved_incident = read_incident(row)
    if resolved_incident.is_silent(now):
        untold = slack_post.c.posted_state.is_(None) & ~slack_post.c.unsure
        connection.execute(
            sa.delete(slack_post).where(slack_post.c.incident_id == resolved_incident.id, untold)
        )
    _announce(connection, RESOLVED, resolved_incident, now)
    return resolved_incident.id


def handle(
    connection: sa.Connection,
    id: IncidentId,
    workload: str,
    handling: Handling,
    *,
    until: datetime,
    by: Signature,
) -> Incident | None:
    """Record a person's handling of a workload's open incident and return the incident, or None if it does not exist."""
    changes = {"handling": handling, "handled_until": until, "handled_at": by.now}
    signed = {"handled_by": by.who, "handled_why": by.why, "updated_at": by.now}
    of = _open(), incident.c.id == id, incident.c.workload == workload
    row = connection.execute(
        sa.update(incident).where(*of).values(**changes, **signed).returning(incident)
    ).first()
    return None if row is None else read_incident(row)


def _silence(connection: sa.Connection, breach: Assessment, now: datetime) -> dict[str, Any]:
    """Return the handling columns of an earlier incident with the same key whose silence has not ended, by name."""
    of_key = _match_key(breach.promise, breach.workload, breach.subject)
    is_silenced = is_(incident.c.handling, Handling.SILENCED), incident.c.handled_until > now
    silence = sa.select(*HANDLED).where(*of_key, *is_silenced)
    row = connection.execute(silence.order_by(incident.c.id.desc()).limit(1)).first()
    return {} if row is None else dict(row._mapping)


def list_explained(connection: sa.Connection, id: IncidentId) -> list[Incident]:
    """Return the open incidents whose parent is this one, oldest first."""
    its = sa.select(incident).where(_open(), incident.c.parent_id == id).order_by(incident.c.id)
    return [read_incident(row) for row in connection.execute(its)]


def record_invalid(
    connection: sa.Connection, breaches: Iterable[Assessment], *, now: datetime
) -> IncidentChanges:
    """Open an incident for the first breach of each workload with an invalid block; resolve those of all other workloads."""
    invalid, recorded = dict[str, Assessment](), IncidentChanges()
    for breach in breaches:
        invalid.setdefault(breach.workload, breach)
    for breach in invalid.values():
        _alone(connection, breach, recorded.opened, recorded, now, open)
    is_invalid = incident.c.promise == Promise.WORKLOAD_INVALID
    mended = sa.and_(is_invalid, incident.c.workload.not_in(list(invalid)))
    over = sa.select(incident.c.workload, incident.c.why).where(_open(), mended)
    for row in connection.execute(over).all():
        message = describe_mended_workload(row.workload, row.why)
        incident_id = resolve(
            connection, Promise.WORKLOAD_INVALID, row.workload, sentence=message, now=now
        )
        recorded.resolved.extend([incident_id] if incident_id is not None else [])
    return recorded


def list_newest(connection: sa.Connection, *, states: Collection[IncidentState]) -> list[Incident]:
    """Return the newest `MOST` incidents in these states, newest first."""
    wanted = sa.select(incident).where(incident.c.state.in_(list(states)))
    rows = connection.execute(wanted.order_by(incident.c.id.desc()).limit(MOST))
    return [read_incident(row) for row in rows]


def find(connection: sa.Connection, id: IncidentId) -> Incident | None:
    """Return the incident with this id, or None."""
    row = connection.execute(sa.select(incident).where(incident.c.id == id)).first()
    return None if row is None else read_incident(row)


def _alone(
    connection: sa.Connection,
    assessment: Assessment,
    done: list[IncidentId],
    recorded: IncidentChanges,
    now: datetime,
    write: Callable[..., IncidentId | None],
) -> None:
    try:
        with connection.begin_nested():
            id_ = write(connection, assessment, now=now)
    except DBAPIError as error:
        if error.connection_invalidated:
            raise
        subject = f", {assessment.subject}" if assessment.subject else ""
        of = f"{assessment.promise} of {assessment.workload}{subject}"
        recorded.refused.append(f"{of} could not be written: {type(error.orig).__name__}")
        return
    if id_ is not None:
        done.append(id_)


def _queue_post(
    connection: sa.Connection, id: IncidentId, severity: Severity, now: datetime
) -> None:
    """Put the incident in the Slack outbox once, unless only the daily digest reports it."""
    if severity is Severity.DIGEST:
        return
    post = upsert(slack_post).values(incident_id=id, next_try_at=now)
    connection.execute(post.on_conflict_do_nothing())


def _resolve_as_judged(
    connection: sa.Connection, judged: Assessment, *, now: datetime
) -> IncidentId | None:
    of = judged.promise, judged.workload, judged.subject
    return resolve(connection, *of, sentence=judged.sentence, now=now)


def _match_key(*of: str) -> list[sa.ColumnElement[bool]]:
    """Match the incidents of a key: promise, workload and subject."""
    return [column == value for column, value in zip(KEY, of, strict=True)]


def _open() -> sa.ColumnElement[bool]:
    return is_(incident.c.state, IncidentState.OPEN)


def read_incident(row: Any) -> Incident:
    """Return a row of `incident` as an Incident."""
    return read_as(Incident, row, uid=str(row.uid))


def record_briefing(connection: sa.Connection, id: IncidentId, briefing: Mapping[str, Any]) -> None:
    """Store an incident's briefing (cause, stakes and trend) as last posted."""
    connection.execute(
        sa.update(incident).where(incident.c.id == id).values(briefing=dict(briefing))
    )


def _announce(
    connection: sa.Connection, event: str, changed_incident: Incident, now: datetime
) -> None:
    names = ("promise", "subject", "unit", "parent_id", *FIGURES)
    payload = {"incident_id": changed_incident.id} | {
        name: getattr(changed_incident, name) for name in names
    }
    resource = (
        "lanes.provider"
        if changed_incident.workload == EVERYBODY
        else f"lanes.workload.{changed_incident.workload}"
    )
    outbox.add(connection, [EventOut(event, resource, payload)], now=now)
