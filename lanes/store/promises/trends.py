"""How an incident's figure moved, compared with the time or the batch before; every query is bounded."""

from datetime import datetime, timedelta

from sqlalchemy import Connection, text

from lanes.figures import Kind
from lanes.promises.answers import RECENT, SETTLED_FOR
from lanes.promises.briefing import compared, enough, since_opening, too_few, usual_turnaround
from lanes.promises.deadlines import MISSED_WITHIN
from lanes.promises.incident import Incident, Promise
from lanes.store.figures.reading import minutes, percentiles
from lanes.store.promises.causes import BATCHES
from lanes.words import Lane

MOST = 5_000  # passes, or failed items, that are looked at: the newest of their time
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
         order by failed_at desc limit {MOST}) newest
"""
UNCORRECTED = f"""
select count(distinct a.item_id)
  from (select item_id, purpose, outcome from lanes.attempt
         where workload = :workload and lane = 'batch' and ended_at >= :since and ended_at < :until
         order by ended_at desc limit {MOST}) a
  join lanes.item i on i.id = a.item_id
  join lanes.result r on r.id = i.result_id
 where a.purpose = 'authoritative' and a.outcome <> 'valid' and i.settled_at is not null and i.failure is not null
   and r.standing = 'provisional'
"""


def find(connection: Connection, of: Incident, *, now: datetime) -> str:
    """Return a clause that says how the figure moved."""
    match of.promise:
        case Promise.REALTIME_FAILING:
            return _failing(connection, of)
        case Promise.REALTIME_SLOW:
            return _slow(connection, of)
        case Promise.BATCH_FAILING | Promise.BATCH_INVALID:
            return _of_batches(connection, of)
        case Promise.BATCH_SLOW:
            return _turnaround(connection, of, now)
        case Promise.ITEMS_FAILED:
            return _given_up(connection, of, now)
        case Promise.AUTHORITATIVE_FAILED:
            return _uncorrected(connection, of)
        case Promise.DEADLINE_MISSED:
            return _missed(connection, of)
        case _:
            return since_opening(of, now)


def _before(of: Incident, window: timedelta) -> dict[str, object]:
    """Return the window before the one in which the figure was measured."""
    until = of.updated_at - window
    return {"workload": of.workload, "since": until - window, "until": until}


def _minutes_before(of: Incident, window: timedelta) -> dict[str, object]:
    """Return the same window in whole minutes, as figures are kept."""
    until = (of.updated_at - window).replace(second=0, microsecond=0)
    return {"workload": of.workload, "since": until - window, "until": until}


def _failing(connection: Connection, of: Incident) -> str:
    row = connection.execute(text(TRIED), _minutes_before(of, RECENT)).one()
    if not enough(row.attempts):
        return too_few(row.attempts, "attempt", BEFORE)
    return compared(of, 100 * row.failed / row.attempts, when=BEFORE)


def _slow(connection: Connection, of: Incident) -> str:
    row = connection.execute(text(ANSWERED), _minutes_before(of, RECENT)).first()
    answers = row.answers if row else 0
    if row and enough(answers):
        return compared(of, row.p95_s, when=BEFORE)
    return too_few(answers, "answer", BEFORE)


def _missed(connection: Connection, of: Incident) -> str:
    row = connection.execute(text(DUE), _minutes_before(of, MISSED_WITHIN)).one()
    if not enough(row.due):
        return too_few(row.due, "due item", "in the hour before")
    return compared(of, 100 * row.missed / row.due, when="in the hour before")


def _of_batches(connection: Connection, of: Incident) -> str:
    """Compare with the newest other batch of some size."""
    failing = of.promise == Promise.BATCH_FAILING
    for row in connection.execute(text(HOME), {"workload": of.workload, "most": 20}):
        of_these = row.items if failing else row.succeeded + row.invalid
        share = 100 * (row.failed if failing else row.invalid) / of_these if of_these else 0.0
        if enough(of_these) and abs(share - of.value) > 1e-6:
            return compared(of, share, when=f"in batch {row.id}")
    return "not known: no batch of another figure came back before"


def _turnaround(connection: Connection, of: Incident, now: datetime) -> str:
    rows = connection.execute(text(HOME), {"workload": of.workload, "most": 5})
    took = sorted(row.took_s for row in rows)
    grows = since_opening(of, now)
    return f"{grows}; {usual_turnaround(len(took), took[len(took) // 2])}" if took else grows


def _given_up(connection: Connection, of: Incident, now: datetime) -> str:
    at = of.resolved_at or now
    within = {"workload": of.workload, "since": at - 2 * HOUR, "hour": at - HOUR, "until": at}
    row = connection.execute(text(GAVE_UP), within).one()
    before, lately = "in the hour before", " in the last hour"
    return compared(of, row.before, when=before, now=row.lately, lately=lately)


def _uncorrected(connection: Connection, of: Incident) -> str:
    before = connection.execute(text(UNCORRECTED), _before(of, SETTLED_FOR)).scalar_one()
    return compared(of, before, when="in the hour before")
