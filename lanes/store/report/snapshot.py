"""Reads the figures of a period. Everything here is a query; what it means stands in `lanes.snapshot`."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

from sqlalchemy import Connection, text

from lanes.advice.recommendation import Advice, advise
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
from lanes.store.rollouts import rollouts
from lanes.store.workload import workloads
from lanes.words import Lane

MOST_BATCHES = 12
MOST_FAILURES = 50
MOST_INCIDENTS = 50
ADVICE_OVER = timedelta(days=30)

LANES = """
with routed as (
  select i.workload, r.lane, count(*) as items, count(i.answered_at) as answered
    from lanes.item i
   cross join lateral (select lane from lanes.route where item_id = i.id order by id desc limit 1) r
   where i.received_at >= :since group by 1, 2),
given as (
  select i.workload, r.lane, count(*) as answers,
         percentile_cont(0.5) within group (order by extract(epoch from r.created_at - i.received_at)) as p50_s,
         percentile_cont(0.95) within group (order by extract(epoch from r.created_at - i.received_at)) as p95_s,
         percentile_cont(0.99) within group (order by extract(epoch from r.created_at - i.received_at)) as p99_s
    from lanes.result r join lanes.item i on i.id = r.item_id
   where i.received_at >= :since and r.generation = 0 group by 1, 2),
tried as (
  select a.workload, a.lane, count(*) as attempts, count(*) filter (where outcome <> 'valid') as failed_attempts,
         sum(a.cost_usd) as cost_usd, extract(epoch from max(a.ended_at) - min(a.started_at)) as busy_s
    from lanes.attempt a join lanes.item i on i.id = a.item_id
   where i.received_at >= :since and a.purpose in ('answer', 'authoritative') group by 1, 2)
select workload, lane, coalesce(items, 0) as items, coalesce(answered, 0) as answered, coalesce(answers, 0) as answers,
       p50_s, p95_s, p99_s, coalesce(busy_s, 0)::float8 as busy_s, coalesce(attempts, 0) as attempts,
       coalesce(failed_attempts, 0) as failed_attempts, coalesce(cost_usd, 0) as cost_usd
  from routed full join given using (workload, lane) full join tried using (workload, lane)
 order by workload, lane desc
"""

COSTS = """
with estimated as (
  select i.workload, sum(r.realtime_usd) as realtime_usd, sum(r.batch_usd) as batch_usd
    from lanes.item i
   cross join lateral (select * from lanes.route where item_id = i.id order by id desc limit 1) r
   where i.received_at >= :since group by 1),
billed as (
  select a.workload, a.lane, a.purpose in ('answer', 'authoritative') as live, sum(a.cost_usd) as usd,
         sum(a.bound_usd) as unknown_usd,
         sum(case a.lane when 'realtime' then r.realtime_usd else r.batch_usd end)
           filter (where a.outcome = 'valid') as estimated_usd,
         sum(a.cost_usd) filter (where a.outcome = 'valid') as valid_usd
    from lanes.attempt a
    join lanes.item i on i.id = a.item_id
   cross join lateral (select * from lanes.route where item_id = i.id order by id desc limit 1) r
   where i.received_at >= :since group by 1, 2, 3),
scaled as (
  select workload, sum(usd) as usd, sum(unknown_usd) as unknown_usd,
         sum(valid_usd) / nullif(sum(estimated_usd), 0) as both_scale,
         sum(valid_usd) filter (where lane = 'realtime') / nullif(sum(estimated_usd) filter (where lane = 'realtime'), 0)
           as realtime_scale,
         sum(valid_usd) filter (where lane = 'batch') / nullif(sum(estimated_usd) filter (where lane = 'batch'), 0)
           as batch_scale
    from billed where live group by 1),
aside as (
  select workload, sum(usd) as usd from billed where not live group by 1)
select e.workload, coalesce(s.usd, 0) as actual_usd, coalesce(s.unknown_usd, 0) as unknown_usd,
       e.realtime_usd * coalesce(s.realtime_scale, s.both_scale, 1) as all_realtime_usd,
       e.batch_usd * coalesce(s.batch_scale, s.both_scale, 1) as all_batch_usd, coalesce(a.usd, 0) as aside_usd
  from estimated e left join scaled s using (workload) left join aside a using (workload)
 order by 1
"""

STATES = """
select workload, state, count(*) as items from lanes.item_status where received_at >= :since group by 1, 2 order by 1, 2
"""

ROUTES = """
select i.workload, r.lane, r.reason, count(*) as items
  from lanes.route r join lanes.item i on i.id = r.item_id
 where r.decided_at >= :since group by 1, 2, 3 order by 1, 4 desc
"""

BATCHES = """
select batch_id, workload, model, state, requests, processed, items, succeeded, invalid, errored, canceled, expired,
       missing, intended_at, submitted_at, expected_end_at, ended_at, collected_at, note
  from lanes.batch_status
 where intended_at >= :since or state not in ('collected', 'released')
 order by batch_id desc limit :most
"""

# Each item once: its newest revision that both lanes answered.
AGREEMENT = """
select workload, count(*) as compared, count(correction_id) as corrected from (
  select distinct on (a.item_id, a.generation) i.workload, c.id as correction_id
    from lanes.result a
    join lanes.result p on p.item_id = a.item_id and p.generation = a.generation and p.revision = a.revision
                       and p.standing = 'provisional'
    join lanes.item i on i.id = a.item_id
    left join lanes.correction c on c.item_id = a.item_id and c.authoritative_id = a.id
   where a.standing = 'authoritative' and a.created_at >= :since
   order by a.item_id, a.generation, a.revision desc) compared
 group by 1 order by 1
"""

# As in the view `accuracy`, of the period's items.
ACCURACY = """
with judged as (
  select i.workload, r.lane, v.number as version, expected.field, (r.output -> expected.field) = expected.value as hit
    from lanes.item i
    join lanes.label l on l.item_id = i.id
    join lanes.result r on r.item_id = i.id
    join lanes.version v on v.id = r.version_id
   cross join lateral jsonb_each(l.expected) as expected (field, value)
   where i.received_at >= :since),
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

FAILURES = """
select workload, key, failure as reason from lanes.item_status
 where failure is not null and state in ('failed', 'settled') and received_at >= :since
 order by item_id desc limit :most
"""

REFUSALS = """
select coalesce(workload, 'unknown') as workload, reason, count(*) as inputs
  from lanes.rejected_log where rejected_at >= :since group by 1, 2 order by 3 desc
"""

MINUTES = """
select r.lane, date_trunc('minute', r.created_at) as minute, count(*) as items,
       percentile_cont(0.95) within group (order by extract(epoch from r.created_at - i.received_at)) as p95_s
  from lanes.result r join lanes.item i on i.id = r.item_id
 where r.created_at >= :since and r.generation = 0 group by 1, 2 order by 2
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
select workload, lane, count(*) as calls, sum(items) as items, sum(input_tokens) as input_tokens,
       sum(cache_read_tokens) as cache_read_tokens, sum(output_tokens) as output_tokens
  from lanes.response where billed_at >= :since group by 1, 2 order by 1, 2 desc
"""

AMENDMENTS = """
select workload, count(*) filter (where outcome = 'amended') as applied, count(*) filter (where outcome is null) as waiting
  from lanes.amendment
 where outcome is null or outcome = 'amended' and decided_at >= :since
 group by 1 order by 1
"""

F = TypeVar("F")


def take(connection: Connection, *, since: datetime, now: datetime) -> Snapshot:
    """The figures of items received from `since` on, read in one transaction."""

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
        minutes=read(MINUTES, MinuteFigures),
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
