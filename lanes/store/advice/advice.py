"""The evidence that advice on a workload rests on, read from the ledger, the routes and the reads."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from lanes.advice.evidence import AT_ONCE_S, ConsumerUse, Evidence, LaneUse
from lanes.errors import UnknownWorkload
from lanes.money.cost import price_per_token
from lanes.store.workload import workloads
from lanes.words import Lane
from lanes.workload.version import Spec
from lanes.workload.window import batch_back_at

TRAFFIC = """
with seen as materialized (
  select received_at, due_at, urgent from lanes.item
   where workload = :workload and received_at >= :since and received_at <= :now and canceled_at is null)
select count(*) as items, min(received_at) as first_at, count(due_at) as with_due, count(*) filter (where urgent) as urgent,
       count(*) filter (where due_at <= received_at + interval '5 seconds') as due_within_5s,
       count(*) filter (where due_at < received_at + cast(:batch_expected as interval)) as due_before_batch,
       coalesce((select max(n) from (select count(*) as n from seen group by date_trunc('minute', received_at)) m), 0)
         as peak_per_minute
  from seen
"""

ARRIVALS = """
select (received_at at time zone 'UTC')::date as day, count(*) as items from lanes.item
 where workload = :workload and received_at >= :since and received_at <= :now and canceled_at is null
 group by 1
"""

# What a lane bills for live work: the answers and the authoritative pass, retries included; neither shadows nor replays.
# The tokens are those of the answers alone: what was billed beside them made the answers dearer.
BILLED = """
select b.lane, b.usd, coalesce(a.answered, 0) as answered, coalesce(a.input_tokens, 0) as input_tokens,
       coalesce(a.output_tokens, 0) as output_tokens
  from (select lane, sum(cost_usd)::float8 as usd from lanes.response
         where workload = :workload and billed_at >= :since and billed_at <= :now
           and purpose in ('answer', 'authoritative') group by lane) b
  left join (select lane, count(distinct (item_id, purpose)) as answered,
                    sum(input_tokens + cache_read_tokens + cache_write_tokens)::bigint as input_tokens,
                    sum(output_tokens)::bigint as output_tokens
               from lanes.attempt
              where workload = :workload and ended_at >= :since and ended_at <= :now and outcome = 'valid'
                and purpose in ('answer', 'authoritative') group by lane) a on a.lane = b.lane
"""

FIRST_ANSWERS = """
select f.lane, count(*) as timed,
       percentile_cont(0.95) within group (order by extract(epoch from i.answered_at - i.received_at)::float8) as p95_s
  from lanes.item i
  cross join lateral (select r.lane from lanes.result r where r.item_id = i.id and r.generation = 0
                       order by r.id limit 1) f
 where i.workload = :workload and i.received_at >= :since and i.received_at <= :now
   and i.answered_at is not null and i.canceled_at is null
 group by f.lane
"""

ESTIMATES = """
select avg(f.realtime_usd)::float8 as realtime_usd, avg(f.batch_usd)::float8 as batch_usd
  from lanes.item i
  cross join lateral (select * from lanes.route r where r.item_id = i.id order by r.id limit 1) f
 where i.workload = :workload and i.received_at >= :since and i.received_at <= :now and i.canceled_at is null
"""

# How an item was routed first says what it asked for; later routes follow from what happened to it. Only answers that
# real-time gave first show whether somebody waited; a read before the answer is an attempt to read, not a read.
CONSUMERS = """
with routed as materialized (
  select i.id, i.consumer, i.answered_at, f.lane, f.reason
    from lanes.item i
    cross join lateral (select r.lane, r.reason from lanes.route r where r.item_id = i.id order by r.id limit 1) f
   where i.workload = :workload and i.received_at >= :since and i.received_at <= :now and i.canceled_at is null),
taken as (
  select t.consumer, extract(epoch from d.read_at - t.answered_at)::float8 as seconds, t.answered_at
    from routed t
    cross join lateral (select r.lane from lanes.result r where r.item_id = t.id and r.generation = 0
                         order by r.id limit 1) f
    left join lateral (select r.read_at from lanes.read r where r.item_id = t.id and r.result_id is not null
                          and r.read_at >= t.answered_at and r.read_at <= :now order by r.read_at limit 1) d on true
   where t.answered_at is not null and f.lane = 'realtime'),
reads as (
  select consumer, count(seconds) as reads, count(*) filter (where seconds <= :at_once_s) as at_once,
         percentile_cont(0.5) within group (order by seconds) as median_s,
         count(*) filter (where seconds is null and answered_at < :now - cast(:at_once as interval)) as unread
    from taken group by consumer)
select t.consumer, count(*) as routed,
       count(*) filter (where t.reason in ('overdue', 'urgent', 'urgent_rule', 'deadline')
                           or (t.reason = 'pinned' and t.lane = 'realtime')) as demanded,
       count(*) filter (where t.reason = 'batch_rule' or (t.reason = 'pinned' and t.lane = 'batch')) as deferred,
       count(*) filter (where t.lane = 'realtime') as realtime,
       coalesce(max(r.reads), 0) as reads, coalesce(max(r.at_once), 0) as at_once, max(r.median_s) as median_s,
       coalesce(max(r.unread), 0) as unread
  from routed t left join reads r on r.consumer is not distinct from t.consumer
 group by t.consumer order by count(*) desc, t.consumer
"""

# Each item once: its newest revision that both lanes answered.
COMPARED = """
select count(*) as compared, count(correction_id) as corrected from (
  select distinct on (i.id) c.id as correction_id
    from lanes.item i
    join lanes.result p on p.item_id = i.id and p.generation = 0 and p.standing = 'provisional'
    join lanes.result a on a.item_id = i.id and a.generation = 0 and a.standing = 'authoritative' and a.revision = p.revision
    left join lanes.correction c on c.item_id = i.id and c.authoritative_id = a.id
   where i.workload = :workload and i.received_at >= :since and i.received_at <= :now and i.canceled_at is null
   order by i.id, p.revision desc) each
"""


def evidence(connection: Connection, workload: str, *, since: datetime, now: datetime) -> Evidence:
    """What was seen of the workload from `since` to `now`.

    Raises:
        UnknownWorkload: no workload of that name has a published version.
    """
    version = workloads.in_force(connection).get(workload)
    if version is None:
        raise UnknownWorkload(f'workload "{workload}" has no published version: see `lanes status` for those that have')
    spec = version.spec
    batch_expected = batch_back_at(spec, now) - now  # as the router has it
    at = {
        "workload": workload, "since": since, "now": now, "batch_expected": batch_expected,
        "at_once_s": AT_ONCE_S, "at_once": timedelta(seconds=AT_ONCE_S),
    }  # fmt: skip

    def ask(query: str) -> list[Mapping[str, Any]]:
        return [dict(row) for row in connection.execute(text(query), at).mappings()]

    (traffic,), (estimates,), (compared,) = ask(TRAFFIC), ask(ESTIMATES), ask(COMPARED)
    billed = {row["lane"]: row for row in ask(BILLED)}
    list_prices = _list_prices(spec, now)
    timed = {row["lane"]: row for row in ask(FIRST_ANSWERS)}
    first_at = traffic["first_at"]
    counts = {name: value for name, value in traffic.items() if name != "first_at"}
    return Evidence(
        workload, spec.mode,
        days=(now - first_at).total_seconds() / 86_400 if first_at else 0,
        realtime=_use("realtime", billed, timed, list_prices),
        batch=_use("batch", billed, timed, list_prices),
        estimated_realtime_usd=estimates["realtime_usd"],
        estimated_batch_usd=estimates["batch_usd"],
        batch_list_share=_batch_list_share(billed, list_prices),
        batch_expected_s=batch_expected.total_seconds(),
        days_arrivals=_whole_days(ask(ARRIVALS), first_at, now),
        consumers=[ConsumerUse(**row) for row in ask(CONSUMERS)],
        **counts, **compared,
    )  # fmt: skip


ListPrices = Mapping[Lane, tuple[float, float]]  # of an input and of an output token on each lane


def _list_prices(spec: Spec, now: datetime) -> ListPrices:
    """Empty where the price of a model is no longer known."""
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)
    try:
        priced = {lane: price_per_token(spec.model_of(lane), lane, day) for lane in Lane}
    except LookupError:
        return {}
    return {lane: (float(into), float(out)) for lane, (into, out) in priced.items()}


def _listed(rows: Iterable[Mapping[str, Any]], priced: ListPrices, lane: Lane) -> float:
    into, out = priced.get(lane, (0.0, 0.0))
    return sum(row["input_tokens"] * into + row["output_tokens"] * out for row in rows)


def _batch_list_share(billed: Mapping[str, Mapping[str, Any]], priced: ListPrices) -> float:
    """Of the tokens that were answered with, on either lane."""
    realtime = _listed(billed.values(), priced, Lane.REALTIME)
    return _listed(billed.values(), priced, Lane.BATCH) / realtime if realtime else Evidence.batch_list_share


def _use(lane: str, billed: Mapping[str, Any], timed: Mapping[str, Any], priced: ListPrices) -> LaneUse:
    spent, first = billed.get(lane), timed.get(lane)
    return LaneUse(
        answered=spent["answered"] if spent else 0,
        billed_usd=spent["usd"] if spent else 0,
        list_usd=_listed([spent] if spent else [], priced, Lane.REALTIME),
        p95_s=first["p95_s"] if first else None,
        timed=first["timed"] if first else 0,
    )


def _whole_days(rows: list[Mapping[str, Any]], first_at: datetime | None, now: datetime) -> list[int]:
    """Items of each whole UTC day between the first item's day and today's; days without items count 0."""
    if first_at is None:
        return []
    items = {row["day"]: row["items"] for row in rows}
    first, last = first_at.astimezone(UTC).date(), now.astimezone(UTC).date()
    return [items.get(first + timedelta(days=n), 0) for n in range(1, (last - first).days)]
