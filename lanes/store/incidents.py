"""Incidents: one is open per promise, workload and subject. Opening and ending tell the world in one transaction.

What an outage of the provider explains has that incident for its parent. Slack is told of it once the parent is over, where it
breaks its promise still; where it does not, it ends untold.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, case, exists, or_, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import DBAPIError

from lanes.ids import IncidentId
from lanes.promises.assessment import Assessment
from lanes.promises.definitions import mended_workload
from lanes.promises.incident import EVERYBODY, TERMS, Incident, IncidentState, Promise, Recorded, Severity
from lanes.store import outbox
from lanes.store.literals import is_
from lanes.store.outbox import EventOut
from lanes.store.tables import attempt, batch, incident, slack_post
from lanes.words import Lane, Outcome, Verdict

OPENED = "lanes.incident.opened"
RESOLVED = "lanes.incident.resolved"
KEY = (incident.c.promise, incident.c.workload, incident.c.subject)
MOST = 200

# An outage of a model explains, to the workloads that ask it, the incident of its account.
EXPLAINED = """
select f.name, i.id
  from lanes.outage o
  join lanes.version v on v.realtime_model = o.model
  join lanes.workload f on f.version_id = v.id
  join lanes.incident i on i.state = 'open' and i.promise = 'provider_down' and i.workload = '*' and i.subject = o.account
 where o.over_at is null
"""


def record(connection: Connection, assessments: Sequence[Assessment], *, now: datetime) -> Recorded:
    """Open an incident for every breach among the assessments, and resolve those that are over and were open long enough.

    Each stands alone: one that the database refuses harms no other.
    """
    untold = and_(incident.c.parent_id.is_not(None), ~exists().where(slack_post.c.incident_id == incident.c.id))
    rows = connection.execute(select(*KEY, incident.c.opened_at, untold.label("untold")).where(_open()))
    standing = {(row.promise, row.workload, row.subject): row for row in rows}
    explained = {row.name: IncidentId(row.id) for row in connection.execute(text(EXPLAINED))}
    recorded = Recorded()
    for each in assessments:
        key, parent_id = (each.promise, each.workload, each.subject), explained.get(each.workload) if each.in_outage else None
        if each.verdict is Verdict.FAILED:
            _alone(connection, each, recorded.opened, recorded, now, partial(open, parent_id=parent_id))
            continue
        known = standing.get(key)
        if known is None:
            continue
        outlived = known.untold and parent_id is None and each.verdict is not Verdict.ERROR
        if outlived or (each.ends and now - known.opened_at >= each.stays):
            _alone(connection, each, recorded.resolved, recorded, now, _resolve_as_judged)
    return recorded


def open(
    connection: Connection, breach: Assessment, *, parent_id: IncidentId | None = None, now: datetime
) -> IncidentId | None:
    """The breach has its open incident: a new one, whose id is returned, or the open one with the newest figures.

    A new one is announced, and waits for Slack where no other explains it (`parent_id`), or as soon as none does any more. The
    severity of an open one never falls.
    """
    figures: dict[str, Any] = {
        "severity": breach.severity, "value": breach.value, "limit_value": breach.limit, "samples": breach.samples,
        "sentence": breach.sentence, "updated_at": now,
    }  # fmt: skip
    met = {"why": breach.why, "flow_run_id": breach.flow_run_id, "block_id": breach.block_id}
    figures |= {name: each for name, each in met.items() if each is not None}
    of_key = [column == value for column, value in zip(KEY, (breach.promise, breach.workload, breach.subject), strict=True)]
    known = connection.execute(select(incident.c.id, incident.c.parent_id).where(_open(), *of_key)).first()
    if known is None and (added := _added(connection, breach, figures, parent_id, now)) is not None:
        return added
    if known is not None and known.parent_id is not None and parent_id is None:
        _to_be_told(connection, known.id, now)
    worst = case((incident.c.severity == Severity.CRITICAL, Severity.CRITICAL), else_=breach.severity)
    changed = tuple_(incident.c.value, incident.c.limit_value, incident.c.samples, incident.c.sentence, incident.c.severity)
    connection.execute(
        update(incident)
        .where(_open(), *of_key)
        .where(changed != tuple_(breach.value, breach.limit, breach.samples, breach.sentence, worst))
        .values({**figures, "severity": worst})
    )
    return None


def _added(
    connection: Connection, breach: Assessment, figures: Mapping[str, Any], parent_id: IncidentId | None, now: datetime
) -> IncidentId | None:
    """The id of a new incident, which is announced; None where somebody else has opened it meanwhile."""
    added = connection.execute(
        upsert(incident)
        .values(
            **figures, promise=breach.promise, workload=breach.workload, subject=breach.subject, state=IncidentState.OPEN,
            unit=TERMS[breach.promise].unit, opened_at=now, opened_value=breach.value, parent_id=parent_id,
        )
        .on_conflict_do_nothing(index_elements=[column.name for column in KEY], index_where=_open())
        .returning(incident)
    ).first()  # fmt: skip
    if added is None:
        return None
    if parent_id is None:
        _to_be_told(connection, added.id, now)
    _announce(connection, OPENED, read_incident(added), now)
    return added.id


def resolve(
    connection: Connection, promise: Promise, workload: str, subject: str = "", *, sentence: str, now: datetime
) -> IncidentId | None:
    """The open incident is resolved and the world told; its id, None when none was open.

    It keeps the last value that broke the promise, and why it was broken.
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


def record_invalid(connection: Connection, breaches: Iterable[Assessment], *, now: datetime) -> Recorded:
    """Exactly the workloads whose block is invalid have an open incident of that kind; of several breaches the first."""
    invalid, recorded = dict[str, Assessment](), Recorded()
    for each in breaches:
        invalid.setdefault(each.workload, each)
    for each in invalid.values():
        _alone(connection, each, recorded.opened, recorded, now, open)
    mended = and_(incident.c.promise == Promise.WORKLOAD_INVALID, incident.c.workload.not_in(list(invalid)))
    for row in connection.execute(select(incident.c.workload, incident.c.why).where(_open(), mended)).all():
        said = mended_workload(row.workload, row.why)
        ended = resolve(connection, Promise.WORKLOAD_INVALID, row.workload, sentence=said, now=now)
        recorded.resolved.extend([ended] if ended is not None else [])
    return recorded


def thaw(connection: Connection, *, now: datetime) -> list[IncidentId]:
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


def _alone(
    connection: Connection, judged: Assessment, done: list[IncidentId], recorded: Recorded, now: datetime,
    write: Callable[..., IncidentId | None],
) -> None:  # fmt: skip
    try:
        with connection.begin_nested():
            id_ = write(connection, judged, now=now)
    except DBAPIError as error:
        if error.connection_invalidated:
            raise
        of = f"{judged.promise} of {judged.workload}" + (f", {judged.subject}" if judged.subject else "")
        recorded.refused.append(f"{of} could not be written: {type(error.orig).__name__}")
        return
    if id_ is not None:
        done.append(id_)


def _to_be_told(connection: Connection, id: IncidentId, now: datetime) -> None:
    """Slack is told of it, once."""
    connection.execute(upsert(slack_post).values(incident_id=id, next_try_at=now).on_conflict_do_nothing())


def _resolve_as_judged(connection: Connection, judged: Assessment, *, now: datetime) -> IncidentId | None:
    return resolve(connection, judged.promise, judged.workload, judged.subject, sentence=judged.sentence, now=now)


def _open() -> ColumnElement[bool]:
    return is_(incident.c.state, IncidentState.OPEN)


def read_incident(row: Any) -> Incident:
    """A row with the columns of `incident`."""
    return Incident(
        row.id, str(row.uid), row.promise, row.workload, row.subject, row.severity, row.state,
        row.value, row.limit_value, row.samples, row.unit, row.sentence, row.opened_at, row.updated_at,
        row.resolved_at, row.why, row.opened_value, row.flow_run_id, row.block_id, row.briefing, row.parent_id,
    )  # fmt: skip


def briefed(connection: Connection, id: IncidentId, briefing: Mapping[str, Any]) -> None:
    """The incident keeps what is told of its cause, its stakes and its trend."""
    connection.execute(update(incident).where(incident.c.id == id).values(briefing=dict(briefing)))


def _announce(connection: Connection, event: str, told: Incident, now: datetime) -> None:
    payload = {
        "incident_id": told.id, "promise": told.promise, "subject": told.subject, "severity": told.severity,
        "value": told.value, "limit_value": told.limit_value, "unit": told.unit, "sentence": told.sentence,
        "parent_id": told.parent_id,
    }  # fmt: skip
    resource = "lanes.provider" if told.workload == EVERYBODY else f"lanes.workload.{told.workload}"
    outbox.add(connection, [EventOut(event, resource, payload)], now=now)
