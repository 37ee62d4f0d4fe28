"""The measurements by which promises are evaluated; `lanes.promises` defines their meaning."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import Connection, text

from lanes.promises import assessment
from lanes.promises.answers import (
    FAILED_FOR,
    FELL_BACK_WITHIN,
    RECENT,
    SETTLED_FOR,
    MinuteCount,
    RealtimeFigures,
    RecentItems,
)
from lanes.promises.batches import JUDGED_FOR, BatchProgress, CheckIn, WaitingBatchWork
from lanes.promises.deadlines import MISSED_WITHIN, DueCounts
from lanes.promises.judge import PromiseMeasurements
from lanes.settling.attempts import UNANSWERABLE
from lanes.statistics.figures import WATCHED, Grain, Kind
from lanes.statistics.shares import SampleShare
from lanes.store.asking import read_as, through
from lanes.store.doors import items
from lanes.store.figures import arrivals, due, reading
from lanes.store.money import budgets
from lanes.store.routing import mix, turnarounds
from lanes.store.states import ANSWERING, AWAITED_PRIMER, FINISHED_BATCH
from lanes.store.work import UNASKED
from lanes.words import BatchState, Outcome

T = TypeVar("T")
FREED_WITHIN = timedelta(days=2)  # after a refusal, waiting batch work is submitted within a day
# A watch that pauses for longer loses minutes of the long windows.
UNCOUNTED = timedelta(minutes=3)
# After now, as an upper bound: generic plans expect few rows in a range.
SOON = timedelta(minutes=1)
# Real-time attempts of a workload that are read for its latency; a share of 5 % is then exact to half a percent.
SAMPLE = 20_000

# The windows of `burn`; windows longer than an hour consist of whole hours.
SINCE = {f"since_{place}": each for place, each in enumerate(assessment.WINDOWS)}
WITHIN = [
    f"grain = '{Grain.HOUR if each > timedelta(hours=1) else Grain.MINUTE}' and at >= :{name}"
    for name, each in SINCE.items()
]

BATCHES = f"""
select id, workload, state, items, succeeded, invalid, errored + canceled + expired + missing as failed, missing,
       cancel_at is not null as cancelled, coalesce(submitted_at, intended_at) as begun_at, model, requests,
       exists (select from lanes.incident o
                where o.state = 'open' and o.promise = 'batch_slow' and o.subject = 'batch ' || b.id) as told_late,
       case when state in {FINISHED_BATCH} then coalesce(collected_at, ended_at) end as over_at, note,
       exists (select from lanes.workload w where w.name = b.workload and w.version_id = b.version_id) as in_force,
       missing > 0
         and not exists (select from lanes.incident o
                          where o.state = 'resolved' and o.promise = 'batch_incomplete' and o.subject = 'batch ' || b.id)
         and exists (
           select from lanes.batch_member m
             join lanes.attempt a on a.work_id = m.work_id and a.claim_no = m.claim_no and a.outcome = 'missing'
             join lanes.item i on i.id = a.item_id
            where m.batch_id = b.id and i.settled_at is null and i.failed_at is null and i.canceled_at is null) as owed
  from lanes.batch b
 where state not in {FINISHED_BATCH} or coalesce(collected_at, ended_at) >= :judged_since
    or exists (select from lanes.incident i where i.state = 'open' and i.promise in ('batch_slow', 'batch_incomplete')
                  and i.workload = b.workload and i.subject = 'batch ' || b.id)
 order by id
"""

EARLIER = """
select 0 as id, b.workload, 'collected' as state, sum(items)::bigint as items, sum(succeeded)::bigint as succeeded,
       sum(invalid)::bigint as invalid, sum(errored + canceled + expired + missing)::bigint as failed,
       min(intended_at) as begun_at, count(*) as batches
  from lanes.workload w join lanes.batch b on b.workload = w.name and b.version_id = w.version_id
 where b.state = 'collected' and b.cancel_at is null and coalesce(collected_at, ended_at) >= :earlier_since
   and coalesce(collected_at, ended_at) < :judged_since
 group by b.workload
"""

# An item that was given up and retried has waited since the retry.
BEGUN = """
greatest(i.received_at, case when exists (select from lanes.attempt e where e.item_id = i.id and e.started_at < w.waits_since)
                             then w.waits_since end)
"""


PROMISED = f"""
promised as (
  select w.name, v.realtime_p95_s * interval '1 second' as promised,
         coalesce({reading.WELL_SINCE.replace(":recent", ":since")}, '-infinity') as well_since
    from lanes.workload w join lanes.version v on v.id = w.version_id where w.paused_at is null)
"""
KINDS = ", ".join(f"'{each}'" for each in WATCHED)
SUMS = ", ".join(
    f"array[{', '.join(f'coalesce(sum({each}) filter (where {where}), 0)::bigint' for where in WITHIN)}] as {each}"
    for each in ("n", "items")
)

# Latency counts items that started on the real-time lane and that no person delayed by an amendment or a pause. Items that have
# waited longer than promised count with their age, also after a fall-back to batch, and so do recently given up items. Delays
# and failures during a provider outage belong to the outage's incident: counting begins again after it. Faults without a later
# answer do not count as failures yet: the next answer turns them into failures, or they begin an outage.
#
# Of a workload with more attempts than `SAMPLE`, only those that ended in every nth tenth of a second are read (`slices`).
# `every` is n, a power of two, so that later looks read the same part of a minute. The shares and the p95 are then those of the
# sample, with every nth late or given-up item, so that their bounds stay valid. Each `offset 0` makes the planner read one span
# after the other.
REALTIME = f"""
with {PROMISED},
sampled as (
  select p.*, (2 ^ ceil(log(2, greatest(1, coalesce(sum(f.n), 0) / cast(:sample as int)))))::int as every
    from promised p
    left join lanes.figure f on f.grain = 'minute' and f.kind = '{Kind.ATTEMPT}' and f.lane = 'realtime' and f.workload = p.name
                            and f.at >= :since
   group by p.name, p.promised, p.well_since),
slices as (
  select s.*, at, case every when 1 then :soon else at + interval '100 ms' end as before
    from sampled s
   cross join generate_series(
     case every when 1 then :since else date_bin(every * interval '100 ms', :since, 'epoch') end, :soon,
     case every when 1 then interval '1 day' else every * interval '100 ms' end) at
   where at >= :since),
answered as (
  select s.name as workload, a.begun, a.ended_at as known_at
    from slices s
   cross join lateral (
     select {BEGUN} as begun, a.ended_at
       from lanes.attempt a
       join lanes.item i on i.id = a.item_id
       join lanes.work w on w.id = a.work_id
      where a.workload = s.name and a.lane = 'realtime' and a.ended_at >= s.at and a.ended_at < s.before
        and a.purpose = 'answer' and a.shown and i.revision = 0 and i.failure is null and i.received_at >= s.well_since
        and not exists (select from lanes.route r where r.item_id = i.id and r.lane = 'batch') offset 0) a),
late as (
  select w.workload, i.id, {BEGUN} as begun
    from promised p
    join {UNASKED} w on w.workload = p.name and w.lane = 'realtime'
    join lanes.item i on i.id = w.item_id
   where w.purpose = 'answer' and i.received_at < :now - p.promised and {BEGUN} < :now - p.promised
     and i.revision = 0 and i.failure is null and i.answered_at is null and i.canceled_at is null
     and i.received_at >= p.well_since
     and not exists (select from lanes.route r where r.item_id = i.id and r.lane = 'batch')
  union all
  select i.workload, i.id, i.received_at
    from lanes.route r
    join lanes.item i on i.id = r.item_id
    join promised p on p.name = i.workload
   where r.reason = 'fallback' and r.decided_at >= :fell_back_since and i.received_at < :now - p.promised
     and i.revision = 0 and i.failure is null and i.answered_at is null and i.canceled_at is null
     and i.received_at >= p.well_since
  union all
  select i.workload, i.id, i.received_at
    from promised p join lanes.item i on i.workload = p.name
   where i.position is null and i.canceled_at is null and i.pin is distinct from 'batch'
     and i.received_at < :now - p.promised and i.received_at >= p.well_since),
given_up as (
  select i.workload, i.id, i.received_at as begun, i.failed_at as known_at
    from promised p join lanes.item i on i.workload = p.name and i.failed_at >= :since
   where i.answered_at is null and i.canceled_at is null and i.revision = 0 and i.received_at >= p.well_since
     and not exists (select from lanes.route r where r.item_id = i.id and r.lane = 'batch' and r.reason <> 'fallback')),
ended as (
  select workload, 'answered' as kind, true as chosen, begun, known_at, known_at as waits_until from answered
  union all
  select workload, 'late', id % every = 0, begun, :now, :now from late join sampled on name = workload
  union all
  select workload, 'given up', id % every = 0, begun, known_at, :now from given_up join sampled on name = workload),
latency as (
  select workload, percentile_cont(0.95) within group (order by took_s) filter (where chosen) as p95_s,
         count(*) filter (where kind = 'answered') as answered, count(*) filter (where kind = 'late') as late,
         count(*) filter (where kind = 'given up') as given_up, max(took_s) filter (where kind = 'late') as waits_s
    from (select workload, kind, chosen, extract(epoch from waits_until - begun)::float8 as took_s from ended
           where known_at >= :recent) lately group by 1),
newest_answers as (
  select p.name, newest.ended_at
    from promised p
   cross join lateral (
     select b.ended_at from lanes.attempt b
      where b.workload = p.name and b.lane = 'realtime' and b.ended_at between :recent and :soon and b.message_id is not null
      order by b.ended_at desc limit 1) newest),
tried as (
  select s.name as workload, a.ended_at, a.failed
    from slices s
    left join newest_answers newest on newest.name = s.name
   cross join lateral (
     select a.ended_at, a.outcome <> 'valid' as failed
       from lanes.attempt a
      where a.workload = s.name and a.lane = 'realtime' and a.ended_at >= s.at and a.ended_at < s.before
        and a.started_at >= s.well_since and a.purpose in {ANSWERING}
        and (a.outcome not in ('unserved', 'unknown') or a.ended_at <= newest.ended_at) offset 0) a),
by_minute as (
  select workload, '{Kind.TIMELY}' as kind, date_trunc('minute', least(known_at, begun + promised), 'UTC') as at,
         count(*) as n, count(*) filter (where kind = 'given up' or known_at > begun + promised) as bad
    from ended join promised p on p.name = workload
   where chosen and promised > interval '0' and least(known_at, begun + promised) >= :since group by 1, 3
  union all
  select workload, '{Kind.TRIED}', date_trunc('minute', ended_at, 'UTC'), count(*), count(*) filter (where failed)
    from tried group by 1, 3),
minutes as (
  select workload, jsonb_agg(jsonb_build_array(kind, extract(epoch from at)::bigint, n, bad)) as minutes
    from by_minute group by 1)
select s.name as workload, l.p95_s, coalesce(l.answered, 0) * s.every as answered, coalesce(l.late, 0) as late,
       coalesce(l.given_up, 0) as given_up, l.waits_s, coalesce(m.minutes, '[]') as minutes
  from sampled s left join latency l on l.workload = s.name left join minutes m on m.workload = s.name
"""

# Older minutes since the last trouble, as `watch` counted them: single minutes of the last hour, and whole hours.
COUNTED = f"""
with {PROMISED},
added as materialized (
  select workload, kind, at, n, items from lanes.figure_delta where kind in ({KINDS}))
select p.name as workload, k.kind, coalesce(max(at) filter (where grain = 'minute'), :since) as until,
       {SUMS}
  from promised p
 cross join unnest(array[{KINDS}]) k(kind)
  left join lateral (
   select 'minute' as grain, f.at, f.n, f.items from lanes.figure f
    where f.grain = 'minute' and f.kind = k.kind and f.workload = p.name and f.at >= greatest(:since_3, p.well_since)
   union all
   select 'hour', f.at, f.n, f.items from lanes.figure f
    where f.grain = 'hour' and f.kind = k.kind and f.workload = p.name and f.at >= greatest(:since_5, p.well_since)
   union all
   select g.grain, a.at, a.n, a.items from added a cross join (values ('minute'), ('hour')) g(grain)
    where a.kind = k.kind and a.workload = p.name and a.at >= p.well_since) counted on true
 group by 1, 2
"""
ADD = """
insert into lanes.figure_delta (workload, kind, at, n, items)
values (:workload, :kind, :at, :n, :bad)
"""

# Work that waits for a consumer's used-up budget is left out, because the budget's incident reports it. Refused work counts as
# waiting since the refusal ended. The consumer is looked up item by item: a join may read every item that ever arrived.
WAITING = f"""
with unpaid as (
  select * from unnest(cast(:unpaid_workloads as text[]), cast(:unpaid_consumers as text[])) u (workload, consumer))
select f.name as workload, waits.items,
       greatest(waits.ready_since, (
         select {reading.select_freed_at("batch_model")}
           from lanes.workload w join lanes.version v on v.id = w.version_id where w.name = f.name))
         as ready_since,
       (select max(b.intended_at) from lanes.batch b where b.workload = f.name and b.state <> 'released') as last_intended_at,
       (select max(case when state in ('intended', 'submitted', 'ended') then stated_back_at
                        else coalesce(collected_at, ended_at, intended_at) end)
          from lanes.batch, lanes.workload where workload.name = f.name and {AWAITED_PRIMER}) as primer_until
  from (
    select workload, count(*) as items, min(ready_at) as ready_since from (
    select w.workload, w.ready_at from lanes.work w
     where w.lane = 'batch' and w.state = 'ready' and w.ready_at <= :now and w.generation = 0 and w.purpose <> 'shadow'
       and not (w.workload = any(cast(:unpaid_workloads as text[])) and coalesce(
         (select i.consumer = any(select u.consumer from unpaid u where u.workload = w.workload)
            from lanes.item i where i.id = w.item_id), false))
    union all
    select i.workload, i.received_at from lanes.item i
     where i.position is null and i.canceled_at is null and i.pin = 'batch' and i.received_at <= :now
       and not exists (select from unpaid u where u.workload = i.workload and u.consumer = i.consumer)) every group by 1) waits
  join lanes.workload f on f.name = waits.workload
"""

SETTLED = """
select i.workload, count(distinct i.id) as items, (array_agg(i.key order by i.settled_at desc, i.id))[1] as key,
       (array_agg(i.failure order by i.settled_at desc, i.id))[1] as reason
  from lanes.workload w
  join lanes.attempt a on a.workload = w.name and a.lane = 'batch' and a.ended_at between :settled_since and :soon
  join lanes.item i on i.id = a.item_id
  join lanes.result r on r.id = i.result_id
 where a.purpose = 'authoritative' and a.outcome <> 'valid' and i.settled_at is not null and i.failure is not null
   and r.standing = 'provisional'
 group by i.workload
"""

FAILED = f"""
select i.workload, count(*) as items, (array_agg(i.key order by i.failed_at desc, i.id))[1] as key,
       coalesce((array_agg(i.failure order by i.failed_at desc, i.id))[1], 'no reason is known') as reason,
       count(*) filter (where starts_with(i.failure, '{Outcome.GIVEN_UP}: {UNANSWERABLE}')) as unanswered
  from lanes.workload w join lanes.item i on i.workload = w.name
 where i.failed_at >= :failed_since and coalesce(i.settled_at, i.canceled_at) is null  -- so that `ix_item_failed` is used alone
 group by i.workload
"""

# Records a check by `watch` and the start of its checks without a gap; returns that start and the last check by `collect`.
LOOKS = """
insert into lanes.watermark as w (name, seen_until, position)
values ('watch', :now, extract(epoch from cast(:now as timestamptz)))
on conflict (name) do update
  set seen_until = greatest(w.seen_until, excluded.seen_until),
      position = case when w.seen_until < :uncounted then excluded.position else w.position end
returning (select seen_until from lanes.watermark where name = :collect) as looked_at, to_timestamp(position) as watched_since
"""
DEPARTURES = """
select name as workload, departed_at as at, departed_items as sent from lanes.workload where departed_at is not null
"""
PAUSED = "select name from lanes.workload where paused_at is not null"


def measure(connection: Connection, *, now: datetime) -> PromiseMeasurements:
    """Measure every workload at `now`, in one transaction, and record this check by `watch`."""
    parameters = {
        "now": now,
        "soon": now + SOON,
        "recent": now - RECENT,
        "sample": SAMPLE,
        "since": _minute(now - RECENT - UNCOUNTED),
        "uncounted": now - UNCOUNTED,
        "collect": items.COLLECT,
        "judged_since": now - JUDGED_FOR,
        "earlier_since": now - assessment.WINDOWS[-1],
        "settled_since": now - SETTLED_FOR,
        "failed_since": now - FAILED_FOR,
        "fell_back_since": now - FELL_BACK_WITHIN,
    }
    looks = connection.execute(text(LOOKS), parameters).one()
    spent = budgets.statuses(connection, now=now)
    used_up = [each.budget for each in spent if each.is_used_up]
    of_consumers = [each for each in used_up if each.consumer is not None]
    unpaid = {
        "now": now,
        "recent": now - FREED_WITHIN,
        "unpaid_workloads": [each.workload for each in of_consumers],
        "unpaid_consumers": [each.consumer for each in of_consumers],
    }

    def read(kind: type[T], query: str, given: Mapping[str, Any] = parameters) -> list[T]:
        return [read_as(kind, row) for row in connection.execute(text(query), given)]

    batches, earlier = (
        [
            read_as(BatchProgress, row, state=BatchState(row.state))
            for row in connection.execute(text(query), parameters)
        ]
        for query in (BATCHES, EARLIER)
    )
    return PromiseMeasurements(
        batches=batches,
        earlier=earlier,
        realtime=_realtime(connection, parameters, now),
        waiting=read(WaitingBatchWork, WAITING, unpaid),
        departures=read(CheckIn, DEPARTURES),
        feeds=arrivals.feeds(connection, now=now),
        settled=read(RecentItems, SETTLED),
        failed=read(RecentItems, FAILED),
        due=read(DueCounts, due.BY_WORKLOAD, {"now": now, "since": now - MISSED_WITHIN}),
        budgets=spent,
        **mix.measure_promises(connection, now=now),
        quality=reading.list_watched(through(connection), drifted=True),
        paused=frozenset(connection.execute(text(PAUSED)).scalars()),
        prospects=turnarounds.prospects(connection, now=now),
        **looks._mapping,
    )


def _realtime(
    connection: Connection, at: Mapping[str, Any], now: datetime
) -> list[RealtimeFigures]:
    since = {name: _minute(now - each) for name, each in SINCE.items()}
    rows = connection.execute(text(COUNTED), {"since": now - assessment.WINDOWS[-1], **since})
    counted = {(row.workload, row.kind): row for row in rows}
    found = list[RealtimeFigures]()
    for row in connection.execute(text(REALTIME), at):
        if (row.workload, WATCHED[0]) not in counted:  # published or resumed since the first query
            continue
        minutes = [_read_minute(*each) for each in row.minutes]
        shares, aged = list[list[SampleShare]](), list[MinuteCount]()
        for kind in WATCHED:
            known = counted[row.workload, kind]
            fresh = [each for each in minutes if each.kind is kind and each.at > known.until]
            aged += [each for each in fresh if each.at < _minute(now - RECENT)]
            shares.append(
                [
                    SampleShare(
                        bad + sum(each.bad for each in fresh if each.at >= moment),
                        n + sum(each.n for each in fresh if each.at >= moment),
                    )
                    for moment, bad, n in zip(since.values(), known.items, known.n, strict=True)
                ]
            )
        timely, tried = shares
        found.append(read_as(RealtimeFigures, row, timely=timely, tried=tried, aged=aged))
    return found


def _read_minute(kind: str, epoch_s: int, n: int, bad: int) -> MinuteCount:
    return MinuteCount(Kind(kind), datetime.fromtimestamp(epoch_s, UTC), n, bad)


def _minute(moment: datetime) -> datetime:
    return moment.replace(second=0, microsecond=0)


def count(connection: Connection, measured: PromiseMeasurements) -> None:
    """Add to the figures, once each, the minutes that are too old for the next measurement."""
    aged = [
        {"workload": of.workload, **each._asdict()} for of in measured.realtime for each in of.aged
    ]
    if aged:
        connection.execute(text(ADD), aged)
