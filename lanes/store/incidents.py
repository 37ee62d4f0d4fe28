"""Incidents: one is open per promise, workload and subject. Opening and ending tell the world in one transaction."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, case, exists, insert, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert as upsert

from lanes.incident import EVERYBODY, TERMS, Incident, IncidentState, Promise, Severity
from lanes.promises import Assessment
from lanes.store import outbox
from lanes.store.tables import attempt, batch, incident, slack_post
from lanes.words import Lane, Outcome, Verdict

OPENED = "lanes.incident.opened"
RESOLVED = "lanes.incident.resolved"
KEY = (incident.c.promise, incident.c.workload, incident.c.subject)
MOST = 200


@dataclass(frozen=True)
class Recorded:
    """Ids of the incidents that a record opened and resolved."""

    opened: list[int]
    resolved: list[int]


def record(connection: Connection, assessments: Sequence[Assessment], *, now: datetime) -> Recorded:
    """Every breach among the assessments has its open incident, and what is over was resolved."""
    standing = {tuple(row) for row in connection.execute(select(*KEY).where(_open()))}
    opened = [open(connection, each, now=now) for each in assessments if each.verdict is Verdict.FAILED]
    over = [each for each in assessments if each.ends and (each.promise, each.workload, each.subject) in standing]
    resolved = [
        resolve(connection, each.promise, each.workload, each.subject, sentence=each.sentence, now=now) for each in over
    ]
    return Recorded([id_ for id_ in opened if id_ is not None], [id_ for id_ in resolved if id_ is not None])


def open(connection: Connection, breach: Assessment, *, now: datetime) -> int | None:
    """The breach has its open incident: a new one, whose id is returned, or the open one with the newest figures.

    A new one is announced and waits for Slack. The severity of an open one never falls.
    """
    unit = TERMS[breach.promise].unit
    figures: dict[str, Any] = {
        "severity": breach.severity, "value": breach.value, "limit_value": breach.limit, "sentence": breach.sentence,
        "updated_at": now,
    }  # fmt: skip
    key = {"promise": breach.promise, "workload": breach.workload, "subject": breach.subject}
    of_key = [column == value for column, value in zip(KEY, key.values(), strict=True)]
    if connection.execute(select(incident.c.id).where(_open(), *of_key)).first() is None:
        added = connection.execute(
            upsert(incident)
            .values(**key, **figures, state=IncidentState.OPEN, unit=unit, opened_at=now)
            .on_conflict_do_nothing(index_elements=list(key), index_where=_open())
            .returning(incident)
        ).first()
        if added is not None:
            connection.execute(insert(slack_post).values(incident_id=added.id, next_try_at=now))
            _announce(connection, OPENED, read_incident(added), now)
            return added.id
    worst = case((incident.c.severity == Severity.CRITICAL, Severity.CRITICAL), else_=breach.severity)
    changed = tuple_(incident.c.value, incident.c.limit_value, incident.c.sentence, incident.c.severity)
    connection.execute(
        update(incident)
        .where(_open(), *of_key)
        .where(changed != tuple_(breach.value, breach.limit, breach.sentence, worst))
        .values({**figures, "severity": worst})
    )
    return None


def resolve(
    connection: Connection, promise: Promise, workload: str, subject: str = "", *, sentence: str, now: datetime
) -> int | None:
    """The open incident is resolved and the world told; its id, None when none was open.

    It keeps the last value that broke the promise.
    """
    of_key = zip(KEY, (promise, workload, subject), strict=True)
    ended = connection.execute(
        update(incident)
        .where(_open(), *(column == value for column, value in of_key))
        .values(state=IncidentState.RESOLVED, resolved_at=now, updated_at=now, sentence=sentence)
        .returning(incident)
    ).first()
    if ended is None:
        return None
    _announce(connection, RESOLVED, read_incident(ended), now)
    return ended.id


def record_invalid(connection: Connection, breaches: Iterable[Assessment], *, now: datetime) -> None:
    """Exactly the workloads whose block is invalid have an open incident of that kind."""
    invalid = {each.workload: each for each in breaches}
    for each in invalid.values():
        open(connection, each, now=now)
    mended = and_(incident.c.promise == Promise.WORKLOAD_INVALID, incident.c.workload.not_in(list(invalid)))
    for workload in connection.execute(select(incident.c.workload).where(_open(), mended)).scalars().all():
        said = f'The block of workload "{workload}" can be published again.'
        resolve(connection, Promise.WORKLOAD_INVALID, workload, sentence=said, now=now)


def thaw(connection: Connection, *, now: datetime) -> list[int]:
    """The provider's refusals are over where a call or a batch that began later went well; ids of what was resolved.

    That a batch is taken proves nothing where the account's trouble showed within one: there only an answer does.
    """
    here = and_(attempt.c.workload == incident.c.workload, incident.c.subject == attempt.c.lane + " lane")
    later = and_(attempt.c.ended_at > incident.c.opened_at, attempt.c.started_at > incident.c.opened_at)
    answered = exists().where(here, later, attempt.c.outcome == Outcome.VALID)
    within = exists().where(here, attempt.c.ended_at >= incident.c.opened_at, attempt.c.outcome == Outcome.UNSERVED)
    submitted = exists().where(
        batch.c.workload == incident.c.workload, batch.c.submitted_at > incident.c.opened_at,
        incident.c.subject == f"{Lane.BATCH} lane",
    )  # fmt: skip
    taken = and_(submitted, ~within)
    frozen = select(incident.c.workload, incident.c.subject).where(
        _open(), incident.c.promise == Promise.PROVIDER_FROZEN, or_(answered, taken)
    )
    said = "The provider takes what is asked again."
    over = [
        resolve(connection, Promise.PROVIDER_FROZEN, row.workload, row.subject, sentence=said, now=now)
        for row in connection.execute(frozen).all()
    ]
    return [id_ for id_ in over if id_ is not None]


def listed(connection: Connection, *, states: Collection[IncidentState], limit: int = MOST) -> list[Incident]:
    """The newest incidents in these states, newest first."""
    rows = connection.execute(
        select(incident).where(incident.c.state.in_(list(states))).order_by(incident.c.id.desc()).limit(limit)
    )
    return [read_incident(row) for row in rows]


def since(connection: Connection, moment: datetime, *, limit: int) -> list[Incident]:
    """The open incidents and those opened from `moment` on: open ones first, then the newest."""
    wanted = select(incident).where(or_(_open(), incident.c.opened_at >= moment))
    rows = connection.execute(wanted.order_by(_open().desc(), incident.c.id.desc()).limit(limit))
    return [read_incident(row) for row in rows]


def _open() -> ColumnElement[bool]:
    return incident.c.state == IncidentState.OPEN


def read_incident(row: Any) -> Incident:
    """A row with the columns of `incident`."""
    return Incident(
        row.id, str(row.uid), row.promise, row.workload, row.subject, Severity(row.severity), IncidentState(row.state),
        row.value, row.limit_value, row.unit, row.sentence, row.opened_at, row.updated_at,
        row.resolved_at,
    )  # fmt: skip


def _announce(connection: Connection, event: str, told: Incident, now: datetime) -> None:
    payload = {
        "incident_id": told.id, "promise": told.promise, "subject": told.subject, "severity": told.severity,
        "value": told.value, "limit_value": told.limit_value, "unit": told.unit, "sentence": told.sentence,
    }  # fmt: skip
    resource = "lanes.provider" if told.workload == EVERYBODY else f"lanes.workload.{told.workload}"
    outbox.add(connection, event, resource, payload, now=now)
