"""The evidence that advice on a workload rests on, read from the ledger, the routes and the reads."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from lanes.advice.evidence import AT_ONCE_S, ConsumerUse, Evidence, LaneUse
from lanes.errors import UnknownWorkload
from lanes.money.cost import price_per_token
from lanes.store.figures.percentiles import percentiles
from lanes.store.workload import workloads
from lanes.words import Lane
from lanes.workload.version import Spec
from lanes.workload.window import batch_back_at

# What is not routed yet stands in no figure: it is counted where it waits.
TRAFFIC = """
with unrouted as (
  select received_at, due_at, urgent from lanes.item
   where workload = :workload and position is null and canceled_at is null and received_at >= :since),
minutes as (
  select at, sum(n) as n from (
    select at, n from lanes.figure
     where grain = 'minute' and kind = 'item' and workload = :workload and at >= :since and word <> 'canceled'
    union all
    select at, n from lanes.figure_delta
     where kind = 'item' and workload = :workload and at >= :since and word <> 'canceled'
    union all
    select date_trunc('minute', received_at, 'UTC'), 1 from unrouted) each
   group by at having sum(n) > 0),
counted as (
  select kind, n from lanes.figures_since('{due,urgent}', :since) where workload = :workload),
due as (
  select n, lanes.figure_seconds(bucket) as seconds from lanes.figure_hist_since('{due}', :since) where workload = :workload
  union all
  select 1, extract(epoch from due_at - received_at) from unrouted where due_at is not null)
select coalesce((select sum(n) from minutes), 0)::bigint as items, (select min(at) from minutes) as first_at,
       (select count(due_at) + coalesce((select sum(n) from counted where kind = 'due'), 0) from unrouted)::bigint as with_due,
       (select count(*) filter (where urgent) + coalesce((select sum(n) from counted where kind = 'urgent'), 0)
          from unrouted)::bigint as urgent,
       coalesce((select sum(n) from due where seconds <= 5), 0)::bigint as due_within_5s,
       coalesce((select sum(n) from due where seconds < extract(epoch from cast(:batch_expected as interval))), 0)::bigint
         as due_before_batch,
       coalesce((select max(n) from minutes), 0)::bigint as peak_per_minute
"""

ARRIVALS = """
select (at at time zone 'UTC')::date as day, sum(n)::bigint as items from (
  select at, n from lanes.figures_since('{item}', :since) where workload = :workload and word <> 'canceled'
  union all
  select received_at, 1 from lanes.item
   where workload = :workload and position is null and canceled_at is null and received_at >= :since) each
 group by 1
"""

# What a lane bills for live work: the answers and the authoritative pass, retries included; neither shadows nor replays.
# The tokens are those of the answers alone: what was billed beside them made the answers dearer.
BILLED = """
select lane, sum(usd) filter (where kind = 'call')::float8 as usd,
       coalesce(sum(items) filter (where valid), 0)::bigint as answered,
       coalesce(sum(input + cached + written) filter (where valid), 0)::bigint as input_tokens,
       coalesce(sum(output) filter (where valid), 0)::bigint as output_tokens
  from (select *, kind = 'attempt' and word = 'valid' as valid from lanes.figures_since('{call,attempt}', :since)
         where workload = :workload and purpose in ('answer', 'authoritative')) each
 group by lane having count(*) filter (where kind = 'call') > 0
"""

FIRST = "(select lane, bucket, n from lanes.figure_hist_since('{first}', :since) where workload = :workload) first"
READ = "(select consumer, bucket, n from lanes.figure_hist_since('{read}', :since) where workload = :workload) read"

FIRST_ANSWERS = percentiles(FIRST, by="lane", p95_s=0.95)

ESTIMATES = """
select (sum(realtime_usd) / nullif(sum(n), 0))::float8 as realtime_usd,
       (sum(batch_usd) / nullif(sum(n), 0))::float8 as batch_usd
  from lanes.figures_since('{asked}', :since) where workload = :workload
"""

# How an item was routed first says what it asked for; later routes follow from what happened to it. Only answers that
# real-time gave first show whether somebody waited; a read before the answer is an attempt to read, not a read. What was
# answered within the last minute may still be read at once.
CONSUMERS = f"""
with counted as (
  select consumer, kind, lane, word, n, items from lanes.figures_since('{{asked,first,read}}', :since)
   where workload = :workload),
took as ({percentiles(READ, by="consumer", median_s=0.5)}),
young as (
  select i.consumer, count(distinct i.id) as n
    from lanes.attempt a join lanes.item i on i.id = a.item_id
   where a.workload = :workload and a.lane = 'realtime' and a.shown and a.ended_at >= :now - 2 * cast(:at_once as interval)
     and i.answered_at >= :now - cast(:at_once as interval) and i.canceled_at is null and i.received_at >= :since
     and not exists (select from lanes.read r where r.item_id = i.id and r.result_id is not null and r.read_at >= i.answered_at)
   group by i.consumer),
summed as (
  select consumer, coalesce(sum(n) filter (where kind = 'asked'), 0)::bigint as routed,
         coalesce(sum(n) filter (where kind = 'asked' and (word in ('overdue', 'urgent', 'urgent_rule', 'deadline')
                                                           or word = 'pinned' and lane = 'realtime')), 0)::bigint as demanded,
         coalesce(sum(n) filter (where kind = 'asked' and (word = 'batch_rule'
                                                           or word = 'pinned' and lane = 'batch')), 0)::bigint as deferred,
         coalesce(sum(n) filter (where kind = 'asked' and lane = 'realtime'), 0)::bigint as realtime,
         coalesce(sum(n) filter (where kind = 'read'), 0)::bigint as reads,
         coalesce(sum(items) filter (where kind = 'read'), 0)::bigint as at_once,
         coalesce(sum(n) filter (where kind = 'first' and lane = 'realtime'), 0)::bigint as answered
    from counted group by consumer)
select s.consumer, routed, demanded, deferred, realtime, reads, at_once, t.median_s,
       greatest(answered - reads - coalesce(y.n, 0), 0)::bigint as unread
  from summed s
  left join took t on t.consumer is not distinct from s.consumer
  left join young y on y.consumer is not distinct from s.consumer
 where routed > 0
 order by routed desc, s.consumer
"""

COMPARED = """
select coalesce(sum(n), 0)::bigint as compared, coalesce(sum(items), 0)::bigint as corrected
  from lanes.figures_since('{compared}', :since) where workload = :workload
"""


def evidence(connection: Connection, workload: str, *, since: datetime, now: datetime) -> Evidence:
    """What was seen of the workload from the hour of `since` to `now`. Durations and due times are right within 2 %.

    Raises:
        UnknownWorkload: no workload of that name has a published version.
    """
    version = workloads.in_force(connection).get(workload)
    if version is None:
        raise UnknownWorkload(f'workload "{workload}" has no published version: see `lanes status` for those that have')
    spec = version.spec
    batch_expected = batch_back_at(spec, now) - now  # as the router has it
    at = {
        "workload": workload, "since": since.replace(minute=0, second=0, microsecond=0), "now": now,
        "batch_expected": batch_expected, "at_once": timedelta(seconds=AT_ONCE_S),
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
