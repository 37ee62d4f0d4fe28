"""The briefing of an incident from the database; each part has a savepoint of its own, and each query a time limit."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from lanes.ids import ItemId
from lanes.promises import briefing
from lanes.promises.answers import FAILED_FOR, RECENT, SETTLED_FOR
from lanes.promises.breaches import lanes_of
from lanes.promises.deadlines import MISSED_WITHIN
from lanes.promises.incident import Incident, Promise, lane_of
from lanes.statistics.figures import Kind
from lanes.store.figures.reading import minutes, percentiles
from lanes.store.promises import causes
from lanes.store.promises.causes import BATCHES, CauseFindings
from lanes.store.rollouts import rollouts
from lanes.store.states import FINISHED_BATCH
from lanes.words import Lane

T = TypeVar("T")
WITHIN = "1500ms"  # time limit of one query
SAMPLES = 20  # items that are searched for one whose key can be typed
ITEMS = "select workload, key from lanes.item where id = any(:ids) order by array_position(cast(:ids as bigint[]), id)"
RUN_OF_BATCH = "select flow_run_id from lanes.batch where id = :id"
# promises whose run is the one that submitted the batch, because nothing was tried yet
OWN_RUN = (Promise.BATCH_SLOW, Promise.BATCH_UNCLEAR)
MOST = 10_000  # pieces of work that are counted for each workload

WAITING = f"""
  select w.item_id, w.rank_at
    from unnest(cast(:workloads as text[])) n(name)
   cross join unnest(cast(:lanes as text[])) l(lane)
   cross join lateral (
     select item_id, rank_at from lanes.work
      where lane = l.lane and workload = n.name and state = 'ready' and generation = 0
      order by rank_at, id limit {MOST}) w
  union all
  select item_id, rank_at from lanes.work
   where state = 'claimed' and generation = 0 and workload = any(cast(:workloads as text[]))
     and lane = any(cast(:lanes as text[]))
  union all
  select i.id, i.received_at
    from unnest(cast(:workloads as text[])) n(name)
   cross join lateral (
     select id, received_at from lanes.item
      where workload = n.name and position is null and canceled_at is null
        and coalesce(pin, 'realtime') = any(cast(:lanes as text[]))
      order by urgent desc, due_at, id limit {MOST}) i
"""
SUBMITTED = f"""
  select w.item_id, w.rank_at
    from lanes.batch b
   cross join lateral (
     select item_id, rank_at from lanes.work where batch_id = b.id and state = 'submitted' limit {MOST}) w
   where b.workload = any(cast(:workloads as text[])) and b.state not in {FINISHED_BATCH}
"""
OF_BATCH = f"select item_id, rank_at from lanes.work where batch_id = :batch_id and state = 'submitted' limit {MOST}"
FAILED = f"""
  select i.id as item_id, i.failed_at as rank_at
    from unnest(cast(:workloads as text[])) n(name)
   cross join lateral (
     select id, failed_at from lanes.item
      where workload = n.name and failed_at >= :since and failed_at <= :until
      order by failed_at desc limit {MOST}) i
"""
COUNTED = """
with owed as ({owed})
select count(*) filter (where i.answered_at is null) as unanswered,
       count(*) filter (where i.answered_at is not null) as uncorrected,
       count(*) filter (where i.answered_at is null and i.due_at < :now) as overdue,
       min(i.due_at) filter (where i.answered_at is null and i.due_at >= :now) as due_at,
       (array_agg(i.workload order by i.due_at, o.rank_at, i.id))[1:20] as workloads,
       (array_agg(i.key order by i.due_at, o.rank_at, i.id))[1:20] as keys,
       (select count(*) from owed) as seen
  from (select item_id, min(rank_at) as rank_at from owed group by 1) o
  cross join lateral (select * from lanes.item where id = o.item_id limit 1) i
 where i.settled_at is null and i.canceled_at is null
"""


@dataclass(frozen=True)
class StakeFindings:
    """Items that wait for an answer because of an incident, and the most urgent of them by workload and key."""

    stake: briefing.Stake | None = None
    unstaked: str = ""
    items: Sequence[tuple[str, str]] = ()


def brief(
    connection: Connection, incident: Incident, *, now: datetime, within: str = WITHIN
) -> briefing.Briefing:
    """Return the current briefing of an incident; a part with a query that takes longer than `within` says so."""
    limit = text("select set_config('statement_timeout', :within, true)")
    connection.execute(limit, {"within": within})
    no_cause, no_stake = CauseFindings(), StakeFindings()
    cause_findings, cause_error = _alone(
        connection, lambda: causes.find(connection, incident, now=now), no_cause
    )
    stakes, stake_error = _alone(
        connection, lambda: find_stake(connection, incident, now=now), no_stake
    )
    trend, trend_error = _alone(connection, lambda: find_trend(connection, incident, now=now), "")
    errors, promise = briefing.kinds(cause_findings.met), incident.promise
    ids = [*(each.item_id for each in errors if each.item_id is not None), *cause_findings.item_ids]
    items, _ = _alone(connection, lambda: _items(connection, ids), [])
    run, _ = _alone(connection, lambda: _find_run(connection, incident, cause_findings), None)
    sample = (
        None if promise in briefing.UNSAMPLED else briefing.pick_sample([*items, *stakes.items])
    )
    return briefing.Briefing(
        causes=_causes(incident, cause_findings, errors),
        counted_over=cause_findings.counted_over if errors else "",
        more=sum(each.times for each in errors[briefing.MOST_CAUSES :]),
        unexplained=cause_error or cause_findings.unexplained,
        stake=stakes.stake,
        unstaked=f"not known: {stake_error}" if stake_error else stakes.unstaked,
        trend=trend or f"not known: {trend_error}",
        sample=sample,
        unsampled=""
        if sample
        else briefing.UNSAMPLED.get(promise, cause_error or "no item of it is known"),
        flow_run_id=run,
        no_run="" if run else briefing.NO_RUN.get(promise, cause_error or "no run of it is known"),
        failed_lookup=cause_error or stake_error or trend_error,
    )


def _causes(
    incident: Incident, found: CauseFindings, errors: Sequence[briefing.ErrorCount]
) -> tuple[briefing.Cause, ...]:
    """Return the most frequent errors, or else the reason stated when the incident opened; a single note has no count."""
    if not errors:
        return briefing.stated_cause(incident)
    is_counted = bool(found.counted_over)
    return tuple(
        briefing.Cause(error=met.error, times=met.times if is_counted or met.times > 1 else None)
        for met in errors[: briefing.MOST_CAUSES]
    )


def _alone(connection: Connection, ask: Callable[[], T], otherwise: T) -> tuple[T, str]:
    """Return the result of `ask`, or `otherwise` and why the result is not known."""
    try:
        with connection.begin_nested():
            return ask(), ""
    except DBAPIError as error:
        if error.connection_invalidated:
            raise
        return otherwise, f"it could not be looked up ({type(error.orig).__name__})"


def _items(connection: Connection, ids: Sequence[ItemId]) -> list[tuple[str, str]]:
    """Return workload and key of the items, in the order of `ids`."""
    some = list(ids[:SAMPLES])
    rows = connection.execute(text(ITEMS), {"ids": some}) if some else ()
    return [(row.workload, row.key) for row in rows]


def _find_run(connection: Connection, incident: Incident, findings: CauseFindings) -> UUID | None:
    """Return the run that met the incident, the run that submitted the batch, or the run that logged the newest error."""
    if incident.flow_run_id is not None:
        return incident.flow_run_id
    if incident.promise == Promise.APPROVAL_WAITS:
        return rollouts.read_newest_run(connection, incident.workload)
    batch_id = causes.parse_batch(incident)
    own = None
    if batch_id is not None and (incident.promise in OWN_RUN or findings.flow_run_id is None):
        own = connection.execute(text(RUN_OF_BATCH), {"id": batch_id}).scalar_one_or_none()
    return own or findings.flow_run_id


def find_stake(connection: Connection, incident: Incident, *, now: datetime) -> StakeFindings:
    """Count the items at stake in an open incident, or the items that are still owed after a resolved one."""
    promise = incident.promise
    if promise in briefing.UNSTAKED:
        return StakeFindings(unstaked=briefing.UNSTAKED[promise])
    if promise is Promise.AUTHORITATIVE_FAILED:
        return StakeFindings(briefing.Stake(unanswered=0, uncorrected=round(incident.value)))
    at: dict[str, Any] = {
        "workloads": causes.list_workloads(connection, incident),
        "lanes": _lanes(incident),
        "batch_id": causes.parse_batch(incident),
        "now": now,
        **causes.period(incident, FAILED_FOR, now),
    }
    return _count_stake(connection, _select_owed(promise, at), at)


def count_on_lane(connection: Connection, lane: Lane, *, now: datetime) -> briefing.Stake:
    """Count the items of all workloads that wait for an answer from that lane."""
    names = list(connection.execute(text("select name from lanes.workload")).scalars())
    stake = _count_stake(
        connection, WAITING, {"workloads": names, "lanes": [lane], "now": now}
    ).stake
    assert stake is not None
    return stake


def _lanes(incident: Incident) -> list[Lane]:
    """Return the lanes whose items the incident holds up."""
    if incident.promise is Promise.ROLE_TAKEN:
        return sorted(lanes_of(incident.subject))
    lane = Lane.REALTIME if incident.promise is Promise.PROVIDER_DOWN else lane_of(incident.promise)
    return list(Lane) if lane is None else [lane]


def _select_owed(promise: Promise, at: dict[str, Any]) -> str:
    """Return the query for the owed items: failed items, items of the batch, or items that wait on the lanes."""
    if promise is Promise.ITEMS_FAILED:
        return FAILED
    if at["batch_id"] is not None:
        return OF_BATCH
    if promise is Promise.COLLECT_STOPPED:
        return SUBMITTED
    return f"{WAITING} union all {SUBMITTED}" if Lane.BATCH in at["lanes"] else WAITING


def _count_stake(connection: Connection, owed: str, at: dict[str, Any]) -> StakeFindings:
    row = connection.execute(text(COUNTED.format(owed=owed)), at).one()
    stake = briefing.Stake(
        unanswered=row.unanswered,
        uncorrected=row.uncorrected,
        overdue=row.overdue,
        due_at=row.due_at,
        at_least=row.seen >= MOST,
    )
    return StakeFindings(stake, items=list(zip(row.workloads or (), row.keys or (), strict=True)))


MOST_LOOKED_AT = 5_000  # newest passes, or failed items, of a period that are read
BEFORE = "in the 15 minutes before"
HOUR = timedelta(hours=1)

TRIED = f"""
select coalesce(sum(n), 0)::bigint as attempts, coalesce(sum(n) filter (where word <> 'valid'), 0)::bigint as failed
  from {minutes(Kind.ATTEMPT, "word, n", lane=Lane.REALTIME)}
"""
DUE = f"""
select coalesce(sum(n), 0)::bigint as due, coalesce(sum(n - items), 0)::bigint as missed
  from {minutes(Kind.DEADLINE, "n, items, word")} where word <> 'overdue'
"""
ANSWERED = percentiles(
    """(
    select h.workload, b.bucket, b.n from lanes.figure_spread h cross join lateral unnest(h.buckets, h.counts) b (bucket, n)
     where grain = 'minute' and kind = 'result' and workload = :workload and lane = 'realtime' and at >= :since and at < :until
    union all
    select d.workload, b.bucket, b.n from lanes.figure_delta d cross join lateral unnest(d.buckets, d.counts) b (bucket, n)
     where d.kind = 'result' and d.workload = :workload and d.lane = 'realtime' and d.at >= :since
       and d.at < :until) minutes""",
    by="workload",
    whole="answers",
    p95_s=0.95,
)
HOME = f"""
select id, items, succeeded, invalid, errored + canceled + expired + missing as failed,
       extract(epoch from coalesce(collected_at, ended_at) - coalesce(submitted_at, intended_at))::float8 as took_s
  from (select * from lanes.batch order by id desc limit {BATCHES}) b
 where workload = :workload and state = 'collected'
 order by id desc limit :most
"""
GAVE_UP = f"""
select count(*) filter (where failed_at >= :hour) as lately, count(*) filter (where failed_at < :hour) as before
  from (select failed_at from lanes.item
         where workload = :workload and failed_at >= :since and failed_at <= :until
         order by failed_at desc limit {MOST_LOOKED_AT}) newest
"""
UNCORRECTED = f"""
select count(distinct a.item_id)
  from (select item_id, purpose, outcome from lanes.attempt
         where workload = :workload and lane = 'batch' and ended_at >= :since and ended_at < :until
         order by ended_at desc limit {MOST_LOOKED_AT}) a
  join lanes.item i on i.id = a.item_id
  join lanes.result r on r.id = i.result_id
 where a.purpose = 'authoritative' and a.outcome <> 'valid' and i.settled_at is not null and i.failure is not null
   and r.standing = 'provisional'
"""


def find_trend(connection: Connection, incident: Incident, *, now: datetime) -> str:
    """Return a clause that compares the incident's figure with the period or the batch before."""
    match incident.promise:
        case Promise.REALTIME_FAILING:
            return _describe_failing(connection, incident)
        case Promise.REALTIME_SLOW:
            return _describe_slow(connection, incident)
        case Promise.BATCH_FAILING | Promise.BATCH_INVALID:
            return _describe_batches(connection, incident)
        case Promise.BATCH_SLOW:
            return _describe_turnaround(connection, incident, now)
        case Promise.ITEMS_FAILED:
            return _describe_given_up(connection, incident, now)
        case Promise.AUTHORITATIVE_FAILED:
            return _describe_uncorrected(connection, incident)
        case Promise.DEADLINE_MISSED:
            return _describe_missed(connection, incident)
        case _:
            return briefing.describe_since_opening(incident, now)


def _previous_window(incident: Incident, window: timedelta) -> dict[str, object]:
    """Return the window before the one in which the figure was measured, in whole minutes like the figures."""
    until = (incident.updated_at - window).replace(second=0, microsecond=0)
    return {"workload": incident.workload, "since": until - window, "until": until}


def _describe_failing(connection: Connection, incident: Incident) -> str:
    row = connection.execute(text(TRIED), _previous_window(incident, RECENT)).one()
    if not briefing.is_enough(row.attempts):
        return briefing.too_few(row.attempts, "attempt", BEFORE)
    return briefing.describe_trend(incident, 100 * row.failed / row.attempts, when=BEFORE)


def _describe_slow(connection: Connection, incident: Incident) -> str:
    row = connection.execute(text(ANSWERED), _previous_window(incident, RECENT)).first()
    answers = row.answers if row else 0
    if row and briefing.is_enough(answers):
        return briefing.describe_trend(incident, row.p95_s, when=BEFORE)
    return briefing.too_few(answers, "answer", BEFORE)


def _describe_missed(connection: Connection, incident: Incident) -> str:
    row = connection.execute(text(DUE), _previous_window(incident, MISSED_WITHIN)).one()
    if not briefing.is_enough(row.due):
        return briefing.too_few(row.due, "due item", "in the hour before")
    return briefing.describe_trend(incident, 100 * row.missed / row.due, when="in the hour before")


def _describe_batches(connection: Connection, incident: Incident) -> str:
    """Return the comparison with the newest batch that has enough items and another figure."""
    failing = incident.promise == Promise.BATCH_FAILING
    for row in connection.execute(text(HOME), {"workload": incident.workload, "most": 20}):
        of_these = row.items if failing else row.succeeded + row.invalid
        share = 100 * (row.failed if failing else row.invalid) / of_these if of_these else 0.0
        if briefing.is_enough(of_these) and abs(share - incident.value) > 1e-6:
            return briefing.describe_trend(incident, share, when=f"in batch {row.id}")
    return "not known: no batch of another figure came back before"


def _describe_turnaround(connection: Connection, incident: Incident, now: datetime) -> str:
    rows = connection.execute(text(HOME), {"workload": incident.workload, "most": 5})
    took = sorted(row.took_s for row in rows)
    grows = briefing.describe_since_opening(incident, now)
    return (
        f"{grows}; {briefing.usual_turnaround(len(took), took[len(took) // 2])}" if took else grows
    )


def _describe_given_up(connection: Connection, incident: Incident, now: datetime) -> str:
    at = incident.resolved_at or now
    within = {"workload": incident.workload, "since": at - 2 * HOUR, "hour": at - HOUR, "until": at}
    row = connection.execute(text(GAVE_UP), within).one()
    before, lately = "in the hour before", " in the last hour"
    return briefing.describe_trend(incident, row.before, when=before, now=row.lately, lately=lately)


def _describe_uncorrected(connection: Connection, incident: Incident) -> str:
    before = connection.execute(
        text(UNCORRECTED), _previous_window(incident, SETTLED_FOR)
    ).scalar_one()
    return briefing.describe_trend(incident, before, when="in the hour before")
