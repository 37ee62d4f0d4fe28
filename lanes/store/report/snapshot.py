"""Reads the figures of a period. Everything here is a query; what it means stands in `lanes.snapshot`."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

from sqlalchemy import Connection, text

from lanes.advice.recommendation import Advice, advise
from lanes.figures.kinds import Grain
from lanes.report.snapshot import (
    AccuracyFigures,
    AgreementFigures,
    AmendmentFigures,
    BatchFigures,
    CallFigures,
    CostFigures,
    Failure,
    LaneFigures,
    MinuteFigures,
    RefusalFigures,
    ReplayFigures,
    RouteFigures,
    Snapshot,
    SplitFigures,
    StateFigures,
)
from lanes.store import incidents
from lanes.store.advice.advice import evidence
from lanes.store.figures.percentiles import percentiles
from lanes.store.rollouts import rollouts
from lanes.store.workload import workloads
from lanes.words import Lane

MOST_BATCHES = 12
MOST_FAILURES = 50
MOST_INCIDENTS = 50
ADVICE_OVER = timedelta(days=30)
LENGTHS = {Grain.MINUTE: timedelta(minutes=1), Grain.HOUR: timedelta(hours=1), Grain.DAY: timedelta(days=1)}
POINTS = {Grain.MINUTE: timedelta(days=2), Grain.HOUR: timedelta(days=10), Grain.DAY: timedelta.max}  # of the longest period

LANES = f"""
with counted as (
  select workload, lane, kind, purpose, word, n, items, usd, first_at, last_at
    from lanes.figures_since('{{item,answer,try}}', :since) where lane is not null),
summed as (
  select workload, lane, coalesce(sum(n) filter (where kind = 'item'), 0)::bigint as items,
         coalesce(sum(items) filter (where kind = 'item'), 0)::bigint as answered,
         coalesce(sum(n) filter (where kind = 'answer'), 0)::bigint as answers,
         coalesce(sum(n) filter (where tried), 0)::bigint as attempts,
         coalesce(sum(n) filter (where tried and word <> 'valid'), 0)::bigint as failed_attempts,
         coalesce(sum(usd) filter (where tried), 0) as cost_usd,
         coalesce(extract(epoch from max(last_at) filter (where tried) - min(first_at) filter (where tried)), 0)::float8
           as busy_s
    from (select *, kind = 'try' and purpose in ('answer', 'authoritative') as tried from counted) each group by 1, 2),
took as ({percentiles("lanes.figure_hist_since('{answer}', :since)", by="workload, lane", p50_s=0.5, p95_s=0.95, p99_s=0.99)})
select workload, lane, items, answered, answers, p50_s, p95_s, p99_s, busy_s, attempts, failed_attempts, cost_usd
  from summed left join took using (workload, lane)
 where items > 0 or answers > 0 or attempts > 0
 order by workload, lane desc
"""

COSTS = """
with counted as (
  select *, kind = 'try' and purpose in ('answer', 'authoritative') as live,
         case lane when 'realtime' then realtime_usd else batch_usd end as estimated_usd
    from lanes.figures_since('{item,try}', :since)),
estimated as (
  select workload, sum(realtime_usd) as realtime_usd, sum(batch_usd) as batch_usd from counted
   where kind = 'item' and lane is not null group by 1 having sum(n) > 0),
scaled as (
  select workload, sum(usd) as usd, sum(bound_usd) as unknown_usd,
         sum(usd) filter (where word = 'valid') / nullif(sum(estimated_usd) filter (where word = 'valid'), 0) as both_scale,
         sum(usd) filter (where word = 'valid' and lane = 'realtime')
           / nullif(sum(estimated_usd) filter (where word = 'valid' and lane = 'realtime'), 0) as realtime_scale,
         sum(usd) filter (where word = 'valid' and lane = 'batch')
           / nullif(sum(estimated_usd) filter (where word = 'valid' and lane = 'batch'), 0) as batch_scale
    from counted where live group by 1),
aside as (
  select workload, sum(usd) as usd from counted where kind = 'try' and not live group by 1)
select e.workload, coalesce(s.usd, 0) as actual_usd, coalesce(s.unknown_usd, 0) as unknown_usd,
       e.realtime_usd * coalesce(s.realtime_scale, s.both_scale, 1) as all_realtime_usd,
       e.batch_usd * coalesce(s.batch_scale, s.both_scale, 1) as all_batch_usd, coalesce(a.usd, 0) as aside_usd
  from estimated e left join scaled s using (workload) left join aside a using (workload)
 order by 1
"""

# What is over stands in the figures; where what is open stands now, its work says.
STATES = """
with stands as (
  select workload, word, sum(n) as items from lanes.figures_since('{item}', :since) group by 1, 2),
under_way as (
  select distinct item_id from (
    select w.item_id, w.revision from lanes.work w
     where w.state = 'claimed' and w.generation = 0 and w.purpose in ('answer', 'authoritative')
    union all
    select w.item_id, w.revision from lanes.work w
     where w.state = 'submitted' and w.generation = 0 and w.purpose in ('answer', 'authoritative')) w
   where exists (select from lanes.item i
                  where i.id = w.item_id and i.revision = w.revision and i.received_at >= :since and i.answered_at is null
                    and i.settled_at is null and i.failed_at is null and i.canceled_at is null)),
working as (
  select i.workload, count(*) as items from under_way u join lanes.item i on i.id = u.item_id group by 1),
every as (
  select workload, word as state, items from stands where word <> 'open'
  union all
  select workload, 'routed', s.items - coalesce(w.items, 0)
    from stands s left join working w using (workload) where word = 'open'
  union all
  select workload, 'working', items from working
  union all
  select workload, 'received', count(*) from lanes.item
   where position is null and canceled_at is null and received_at >= :since group by 1)
select workload, state, sum(items)::bigint as items from every group by 1, 2 having sum(items) > 0 order by 1, 2
"""

ROUTES = """
select workload, lane, word as reason, sum(n)::bigint as items
  from lanes.figures_since('{route}', :since) group by 1, 2, 3 order by 1, 4 desc
"""

BATCHES = """
select batch_id, workload, model, state, requests, processed, items, succeeded, invalid, errored, canceled, expired,
       missing, intended_at, submitted_at, expected_end_at, ended_at, collected_at, note
  from lanes.batch_status
 where intended_at >= :since or state not in ('collected', 'released')
 order by batch_id desc limit :most
"""

AGREEMENT = """
select workload, sum(n)::bigint as compared, sum(items)::bigint as corrected
  from lanes.figures_since('{agreement}', :since) group by 1 having sum(n) > 0 order by 1
"""

# As in the view `accuracy`, of the period's items. Label by label: they are few beside the results.
ACCURACY = """
with labeled as (
  select i.workload, r.lane, r.version_id, r.output, l.expected, jsonb_object_keys(l.expected) as field
    from lanes.label l
   cross join lateral (select workload from lanes.item where id = l.item_id and received_at >= :since offset 0) i
   cross join lateral (select lane, version_id, output from lanes.result where item_id = l.item_id and output is not null
                       offset 0) r),
judged as (
  select l.workload, l.lane, v.number as version, l.field, (l.output -> l.field) = (l.expected -> l.field) as hit
    from labeled l join lanes.version v on v.id = l.version_id),
counted as (
  select workload, lane, version, field, count(*)::int as labels, count(*) filter (where hit)::float8 / count(*) as share
    from judged group by 1, 2, 3, 4)
select workload, lane, version, field, labels, share,
       greatest(0, (share + 1.9208 / labels - 1.96 * sqrt((share * (1 - share) + 0.9604 / labels) / labels))
                   / (1 + 3.8416 / labels)) as low,
       least(1, (share + 1.9208 / labels + 1.96 * sqrt((share * (1 - share) + 0.9604 / labels) / labels))
                / (1 + 3.8416 / labels)) as high
  from counted order by 1, 4, 2 desc, 3
"""

# The newest of those that failed, and of those whose authoritative pass did.
FAILURES = """
select workload, key, failure as reason from lanes.item
 where failure is not null and received_at >= :since and canceled_at is null
   and (settled_at is not null or failed_at is not null)
 order by id desc limit :most
"""

REFUSALS = """
select coalesce(workload, 'unknown') as workload, reason, count(*) as inputs
  from lanes.rejected_log where rejected_at >= :since group by 1, 2 order by 3 desc
"""

MINUTES = f"""
with took as (
  select lane, date_trunc(:grain, at, 'UTC') as minute, bucket, n from lanes.figure_hist
   where grain = :grain and kind = 'result' and at >= date_trunc(:grain, cast(:since as timestamptz), 'UTC')
  union all
  select d.lane, date_trunc(:grain, d.at, 'UTC'), b.bucket, b.n
    from lanes.figure_delta d cross join lateral unnest(d.buckets, d.counts) b (bucket, n)
   where d.kind = 'result' and d.at >= date_trunc(:grain, cast(:since as timestamptz), 'UTC'))
{percentiles("took", by="lane, minute", whole="items", p95_s=0.95)}
 order by minute
"""

SPLITS = """
select distinct on (workload, consumer) workload, consumer, basis_points, who, why, set_at
  from lanes.split order by workload, consumer, id desc
"""

REPLAYS = """
select workload, generation, version, state, items, answered, failed, cost_usd
  from lanes.replay_log
 where state in ('running', 'complete') or created_at >= :since or promoted_at >= :since or demoted_at >= :since
 order by workload, generation desc
"""

CALLS = """
select workload, lane, sum(n)::bigint as calls, sum(items)::bigint as items, sum(input)::bigint as input_tokens,
       sum(cached)::bigint as cache_read_tokens, sum(output)::bigint as output_tokens
  from lanes.figures_since('{call}', :since) group by 1, 2 order by 1, 2 desc
"""

AMENDMENTS = """
select workload, count(*) filter (where outcome = 'amended') as applied, count(*) filter (where outcome is null) as waiting
  from lanes.amendment
 where outcome is null or outcome = 'amended' and decided_at >= :since
 group by 1 order by 1
"""

F = TypeVar("F")


def take(connection: Connection, *, since: datetime, now: datetime) -> Snapshot:
    """The figures of items received from the minute of `since` on, read in one transaction."""
    since = since.replace(second=0, microsecond=0)
    grain = next(grain for grain, longest in POINTS.items() if now - since <= longest)

    def read(query: str, into: type[F], **more: Any) -> list[F]:
        rows = connection.execute(text(query), {"since": since, **more}).mappings()
        return [into(**{name: Lane(value) if name == "lane" else value for name, value in row.items()}) for row in rows]

    return Snapshot(
        taken_at=now,
        since=since,
        lanes=read(LANES, LaneFigures),
        costs=[_rounded(each) for each in read(COSTS, CostFigures)],
        states=read(STATES, StateFigures),
        routes=read(ROUTES, RouteFigures),
        batches=read(BATCHES, BatchFigures, most=MOST_BATCHES),
        agreement=read(AGREEMENT, AgreementFigures),
        accuracy=read(ACCURACY, AccuracyFigures),
        failures=read(FAILURES, Failure, most=MOST_FAILURES),
        refusals=read(REFUSALS, RefusalFigures),
        minutes=read(MINUTES, MinuteFigures, grain=grain),
        point=LENGTHS[grain],
        incidents=incidents.since(connection, since, limit=MOST_INCIDENTS),
        rollouts=rollouts.since(connection, since),
        splits=read(SPLITS, SplitFigures),
        replays=read(REPLAYS, ReplayFigures),
        calls=read(CALLS, CallFigures),
        amendments=read(AMENDMENTS, AmendmentFigures),
        advice=_advice(connection, now),
    )


def _advice(connection: Connection, now: datetime) -> list[Advice]:
    """The advice on each workload that had items, with the usual overheads."""
    seen = [evidence(connection, name, since=now - ADVICE_OVER, now=now) for name in sorted(workloads.in_force(connection))]
    return [advise(each) for each in seen if each.items]


def _rounded(costs: CostFigures) -> CostFigures:
    digit = Decimal("0.000001")
    return CostFigures(
        costs.workload,
        costs.actual_usd.quantize(digit),
        costs.all_realtime_usd.quantize(digit),
        costs.all_batch_usd.quantize(digit),
        costs.unknown_usd.quantize(digit),
        costs.aside_usd.quantize(digit),
    )
