"""The causes of an incident: the errors of attempts in its period, their counts and their items.

Every query is bounded, regardless of the size of the history.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from lanes.ids import BatchId, ItemId
from lanes.promises.answers import FAILED_FOR
from lanes.promises.briefing import SCOPES, UNEXPLAINED, AttemptFilter, ErrorCount
from lanes.promises.deadlines import MISSED_WITHIN
from lanes.promises.incident import EVERYBODY, Incident, Promise, batch_of_subject
from lanes.store.asking import through
from lanes.store.figures import due, reading
from lanes.store.signals import Role, holders
from lanes.text import ABOUT_AN_INPUT, remove_quotes
from lanes.units import pluralize, seconds
from lanes.words import Lane, Outcome

MOST = 5_000  # newest attempts, or failed items, that are read
LONGEST = 500  # characters of an error
MOST_PAYLOADS = 20  # inputs with which errors are compared
BATCHES = 1_000  # newest batches that are searched for those of a workload

ATTEMPTS = f"""
with newest as (
  select a.outcome, left(a.error, {LONGEST}) as error, a.item_id, a.flow_run_id, a.ended_at, a.latency_ms
    from unnest(cast(:workloads as text[])) w(name)
   cross join unnest(cast(:lanes as text[])) l(lane)
   cross join lateral (
     select * from lanes.attempt a
      where a.workload = w.name and a.lane = l.lane and a.ended_at >= :since and a.ended_at <= :until
      order by a.ended_at desc limit {MOST}) a
   where (cast(:batch_id as bigint) is null or a.batch_id = :batch_id)
     and (cast(:purpose as text) is null or a.purpose = :purpose))
select outcome, error, count(*) as times, (array_agg(item_id order by ended_at desc, item_id desc))[1:3] as item_ids,
       (array_agg(flow_run_id order by ended_at desc, item_id desc) filter (where flow_run_id is not null))[1] as flow_run_id,
       max(ended_at) as ended_at, percentile_cont(0.95) within group (order by latency_ms) / 1000 as call_s
  from newest group by 1, 2 order by 3 desc, 1, 2
"""
FAILED = f"""
select left(failure, {LONGEST}) as error, count(*) as times, (array_agg(id order by failed_at desc, id desc))[1:3] as item_ids
  from (select id, failure, failed_at from lanes.item
         where workload = :workload and failed_at >= :since and failed_at <= :until
           and settled_at is null and canceled_at is null
         order by failed_at desc limit {MOST}) newest
 where failure is not null
 group by 1 order by 2 desc, 1
"""
NOTES = f"""
select id, state, note, flow_run_id
  from (select * from lanes.batch order by id desc limit {BATCHES}) b
 where workload = :workload and note is not null and intended_at >= :since and state in ('released', 'intended', 'held')
 order by id desc limit 5
"""
# The missed due times by the lane and reason of their route, the most frequent first.
MISSED = """
select lane, word, sum(n - items)::bigint as times
  from (
    select lane, word, n, items from lanes.figure
     where grain = 'minute' and kind = 'deadline' and workload = :workload and at >= :since and at <= :until
    union all
    select lane, word, n, items from lanes.figure_delta
     where kind = 'deadline' and workload = :workload and at >= :since and at <= :until) minutes
 where word <> 'overdue'
 group by 1, 2 having sum(n - items) > 0 order by 3 desc, 1, 2
"""
BATCH = "select requests, processed, note, ended_at from lanes.batch where id = :id"
UNRESOLVED = """
select b.id, b.workload from lanes.batch b join lanes.batch_doubt d on d.batch_id = b.id
 where b.state = 'intended' and d.create_ended_at is not null limit 1
"""
AFFECTED = """
select distinct f.name
  from lanes.outage o
  join lanes.version v on v.realtime_model = o.model
  join lanes.workload f on f.version_id = v.id
 where o.account = :account and coalesce(f.account, o.account) = o.account and (o.over_at is null or o.over_at >= :opened_at)
 order by 1
"""
ALL = "select name from lanes.workload where version_id is not null order by name"
OF_ACCOUNT = """
select name from lanes.workload where version_id is not null and coalesce(account, :account) = :account order by name
"""
# As in the promises' measurements, failures during an outage belong to the outage's incident.
WELL = f"""
select {reading.WELL_SINCE} from lanes.workload w join lanes.version v on v.id = w.version_id where w.name = :workload
"""
PAYLOADS = "select id, payload from lanes.item where id = any(:ids)"
NEWEST_RUN = """
select flow_run_id from lanes.attempt
 where item_id = any(:ids) and flow_run_id is not null order by ended_at desc limit 1
"""


@dataclass(frozen=True)
class CauseFindings:
    """Errors with the population of their counts, the items that met them, and the run that logged the newest error."""

    met: Sequence[ErrorCount] = ()
    counted_over: str = ""
    item_ids: Sequence[ItemId] = field(default_factory=list)
    flow_run_id: UUID | None = None
    unexplained: str = ""


def list_workloads(connection: Connection, incident: Incident) -> list[str]:
    """Return the workloads that an incident concerns: its own, all, or those of the account or models that do not answer."""
    if incident.workload != EVERYBODY:
        return [incident.workload]
    if incident.promise is Promise.PROVIDER_FROZEN:
        return list(connection.execute(text(OF_ACCOUNT), {"account": incident.subject}).scalars())
    if incident.promise is not Promise.PROVIDER_DOWN:
        return list(connection.execute(text(ALL)).scalars())
    parameters = {"account": incident.subject, "opened_at": incident.opened_at}
    return list(connection.execute(text(AFFECTED), parameters).scalars())


def parse_batch(incident: Incident) -> BatchId | None:
    """Return the batch that an incident is about, if any."""
    return batch_of_subject(incident.subject)


def period(incident: Incident, window: timedelta, now: datetime) -> dict[str, datetime]:
    """Return the period of an incident's causes: the last `window`, or the whole incident and the `window` before it.

    The longer period applies to resolved incidents, to incidents of all workloads, and to refusals by the provider.
    """
    until = incident.resolved_at or now
    since = until - window if incident.resolved_at is None else incident.opened_at - window
    if incident.workload == EVERYBODY or incident.promise == Promise.PROVIDER_FROZEN:
        since = incident.opened_at - window
    return {"since": since, "until": until}


def find(connection: Connection, incident: Incident, *, now: datetime) -> CauseFindings:
    """Return the findings about the incident's cause."""
    promise = incident.promise
    if promise is Promise.ITEMS_FAILED:
        return _find_failed_items(connection, incident, now)
    if promise is Promise.BATCH_NEVER_STARTED:
        return _find_not_submitted(connection, incident)
    if promise is Promise.BATCH_SLOW:
        return _find_in_batch(connection, incident)
    if promise is Promise.DEADLINE_MISSED:
        return _find_missed(connection, incident, now)
    scope = SCOPES.get(promise)
    if scope is None:
        examples: list[ItemId] = []
        if promise in (Promise.QUALITY_DRIFT, Promise.MODEL_CHANGED):
            for each in reading.list_watched(through(connection), drifted=True):
                if (each.workload, each.subject) == (incident.workload, incident.subject):
                    examples += map(ItemId, each.examples)
        return CauseFindings(unexplained=UNEXPLAINED.get(promise, ""), item_ids=examples)
    return _find_in_attempts(connection, incident, scope, now)


def _find_in_attempts(
    connection: Connection, incident: Incident, scope: AttemptFilter, now: datetime
) -> CauseFindings:
    within = period(incident, scope.window, now)
    if incident.promise in (Promise.REALTIME_SLOW, Promise.REALTIME_FAILING):
        at = {"recent": within["since"], "workload": incident.workload}
        within["since"] = connection.execute(text(WELL), at).scalar() or within["since"]
    of_these = {
        "workloads": list_workloads(connection, incident),
        "lanes": list(Lane) if scope.lane is None else [scope.lane],
        "batch_id": parse_batch(incident),
        "purpose": scope.purpose,
        **within,
    }
    rows = connection.execute(text(ATTEMPTS), of_these).all()
    bad = [row for row in rows if row.outcome in scope.outcomes]
    looked_at = sum(row.times for row in rows)
    over = _describe_attempts(looked_at, within["until"] - within["since"])
    ids, run = [id_ for row in bad for id_ in row.item_ids], _newest_run(bad) or _newest_run(rows)
    why = "" if bad else _describe_unexplained(connection, incident, rows, over)
    return CauseFindings(_list_errors(connection, bad), over, ids, run, why)


def _describe_unexplained(
    connection: Connection, incident: Incident, rows: Sequence[Any], over: str
) -> str:
    """Return why real time is slow although nothing failed; for other promises, that no attempt shows a cause."""
    promise = incident.promise
    if promise is not Promise.REALTIME_SLOW:
        return UNEXPLAINED.get(promise) or f"none of the {over.removeprefix('the ')} says why"
    if not holders(connection, Role.DRAIN):
        return "no drain runs: nothing claims what waits"
    valid = [row for row in rows if row.outcome == Outcome.VALID]
    if not valid:
        return "no call ended in that time"
    return (
        f"no attempt failed; the calls themselves take up to {seconds(valid[0].call_s)} (p95), the rest is waiting for a "
        "place or for a rest to end"
    )


def _newest_run(rows: Sequence[Any]) -> UUID | None:
    newest = sorted(rows, key=lambda row: row.ended_at, reverse=True)
    return next((row.flow_run_id for row in newest if row.flow_run_id is not None), None)


def _find_failed_items(connection: Connection, incident: Incident, now: datetime) -> CauseFindings:
    within = period(incident, FAILED_FOR, now)
    rows = connection.execute(text(FAILED), {"workload": incident.workload, **within}).all()
    ids = [id_ for row in rows for id_ in row.item_ids]
    run = connection.execute(text(NEWEST_RUN), {"ids": ids[:20]}).scalar() if ids else None
    over = f"{pluralize(sum(row.times for row in rows), 'failed item')} of the last 24 hours"
    return CauseFindings(
        _list_errors(connection, rows), over, ids, run, UNEXPLAINED[Promise.ITEMS_FAILED]
    )


def _find_not_submitted(connection: Connection, incident: Incident) -> CauseFindings:
    since = incident.opened_at - timedelta(days=1)
    rows = connection.execute(text(NOTES), {"workload": incident.workload, "since": since}).all()
    states = (f"batch {row.id} is {row.state}: {remove_quotes(row.note)}" for row in rows)
    notes = [ErrorCount(each, 1) for each in states]
    blocked = connection.execute(text(UNRESOLVED)).first()
    if blocked is not None:
        batch = f"batch {blocked.id} of {blocked.workload}"
        reason = f"the create of {batch} has no answer yet; no other batch is created until it has"
        notes.insert(0, ErrorCount(reason, 1))
    run = next((row.flow_run_id for row in rows if row.flow_run_id is not None), None)
    return CauseFindings(notes, "", [], run, UNEXPLAINED[Promise.BATCH_NEVER_STARTED])


def _find_missed(connection: Connection, incident: Incident, now: datetime) -> CauseFindings:
    within = period(incident, MISSED_WITHIN, now)
    rows = connection.execute(text(MISSED), {"workload": incident.workload, **within}).all()
    findings = [ErrorCount(f"missed on {row.lane}, reason {row.word}", row.times) for row in rows]
    if incident.resolved_at is None:
        waits = due.count_overdue(through(connection), incident.workload, now=now)
        reasons = (
            (f"waits still on {lane}, reason {reason}", times) for lane, reason, times in waits
        )
        findings += [ErrorCount(*each) for each in reasons]
    over = f"{pluralize(sum(each.times for each in findings), 'missed due time')} of the last hour"
    return CauseFindings(findings, over, [], None, UNEXPLAINED[incident.promise])


def _find_in_batch(connection: Connection, incident: Incident) -> CauseFindings:
    """Return the note of the batch, or else its progress."""
    row = connection.execute(text(BATCH), {"id": parse_batch(incident)}).first()
    if row is None:
        return CauseFindings(unexplained="the batch is gone")
    if row.note:
        return CauseFindings([ErrorCount(remove_quotes(row.note), 1)])
    if row.ended_at is not None:
        reason = "it has ended at the provider; its results are still being read"
        return CauseFindings(unexplained=reason)
    done = f"{row.processed:,} of {pluralize(row.requests, 'request')}"
    return CauseFindings(unexplained=f"the provider has finished {done}, and gives no reason")


def _list_errors(connection: Connection, rows: Sequence[Any]) -> list[ErrorCount]:
    """Return the errors without quotations of their inputs."""
    refusals = {row.item_ids[0] for row in rows if row.error and ABOUT_AN_INPUT.search(row.error)}
    some = sorted(refusals)[:MOST_PAYLOADS]
    inputs = connection.execute(text(PAYLOADS), {"ids": some}) if some else ()
    payloads = {row.id: [row.payload] for row in inputs}
    return [ErrorCount(_describe_error(row, payloads), row.times, row.item_ids[0]) for row in rows]


def _describe_error(row: Any, payloads: dict[int, list[Any]]) -> str:
    """Return an error without quotations of its input.

    The error of a refused pack may quote any item of the pack, and these items are not known here.
    """
    shared = getattr(row, "outcome", None) == Outcome.PACK_REFUSED
    payload = None if shared else payloads.get(row.item_ids[0])
    return remove_quotes(row.error or f"{row.outcome}, without a reason", payload)


def _describe_attempts(attempts: int, window: timedelta) -> str:
    newest = "the newest " if attempts >= MOST else ""
    return f"{newest}{pluralize(attempts, 'attempt')} of the last {seconds(window.total_seconds())}"
