"""The metrics of `lanes metrics`: each is declared once, with the query of its samples, and one statement reads all of them.

The queries need only the rights of `lanes_reader`. They read views, and no relation that grows with the number of items.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache
from math import floor, log
from operator import attrgetter

from lanes.ids import ItemId
from lanes.settling.trace import trace_id_of
from lanes.standing.roles import Role
from lanes.statistics.figures import WIDTH, Kind
from lanes.store.asking import Ask
from lanes.store.signals import CLASS
from lanes.store.states import FINISHED_BATCH, OPEN_ROLLOUT
from lanes.words import Outcome

# Upper bounds of the buckets of durations, in seconds: from a call to the 24 hours of a batch.
BOUNDS_S = (
    *(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600),
    *(1_800, 3_600, 7_200, 14_400, 43_200, 86_400),
)
SUM = "sum"  # the label of the row that contains a histogram's sum
TOKENS = {"input": "input", "output": "output", "cached": "cache_read", "written": "cache_write"}


class MetricKind(StrEnum):
    """The Prometheus type of a metric."""

    COUNTER = "counter"  # since the start of the month (UTC)
    GAUGE = "gauge"
    HISTOGRAM = "histogram"  # a counter for each upper bound


@dataclass(frozen=True)
class Metric:
    """A metric; `query` returns its labels in order, and then a value; None if the program has the value without a query.

    The query of a histogram returns the bound after the labels: `le` as a number, `+Inf`, or `SUM`.
    """

    name: str
    help: str
    kind: MetricKind
    labels: Sequence[str] = ()
    query: str | None = None


@dataclass(frozen=True)
class MetricSample:
    """A value of a metric, with its labels in the metric's order."""

    labels: Sequence[str]
    value: float


@dataclass(frozen=True)
class MetricExample:
    """The newest answer of a workload and lane: its trace, its time from received to answered, and when it was given."""

    trace_id: str
    seconds: float
    at: datetime


Samples = dict[str, Sequence[MetricSample]]  # by the name of the metric, in order
Examples = dict[tuple[str, ...], MetricExample]  # by the labels of `lanes_answer_seconds`


# The source of counters and of the items' states, read once for all of them. A label that occurred within the last 30 days
# keeps its row in a new month, with 0.
COMMON = f"""
with month as materialized (select date_trunc('month', cast(:now as timestamptz), 'UTC') as began),
counted as materialized (
  select f.kind, f.workload, coalesce(f.lane, '') as lane, coalesce(f.word, '') as word, sum(f.n) as ever,
         sum(f.n * f.this) as n, sum(f.items * f.this) as items, sum(f.usd * f.this) as usd,
         sum(f.bound_usd * f.this) as bound_usd, sum(f.input * f.this) as input, sum(f.output * f.this) as output,
         sum(f.cached * f.this) as cached, sum(f.written * f.this) as written
    from (select d.*, (d.day >= (select began from month))::int as this from lanes.daily_figures d
           where d.kind in ('route', 'attempt', 'call', 'result', 'correction', 'deadline', 'item')
             and d.day >= date_trunc('day', cast(:now as timestamptz), 'UTC') - interval '30 days') f
   group by 1, 2, 3, 4),
open_batch as materialized (
  select workload, state, intended_at, expected_end_at from lanes.batch_status where state not in {FINISHED_BATCH}
     and state <> 'superseded'),
held as materialized (
  select l.objid::int as role, split_part(split_part(a.application_name, '@', 2), ':', 1) as host
    from pg_locks l join pg_stat_activity a using (pid)
   where l.locktype = 'advisory' and l.granted and l.classid = {CLASS}
     and l.database = (select oid from pg_database where datname = current_database()))
"""


def _age_sql(at: str) -> str:
    return f"greatest(0, extract(epoch from cast(:now as timestamptz) - {at}))"


def _select_sum(kind: Kind, value: str, *labels: str) -> str:
    by = ", ".join(labels)
    return f"select {by}, sum({value}) from counted where kind = '{kind}' group by {by}"


def _tokens(value: str, name: str) -> str:
    return f"select workload, lane, '{name}', sum({value}) from counted where kind = 'call' group by 1, 2"


def _slots() -> str:
    """Return SQL for the index of the smallest bound in BOUNDS_S that a bucket does not exceed."""
    last = [floor(log(bound * 1_000) / log(WIDTH)) for bound in BOUNDS_S]
    return f"width_bucket(h.bucket, array{last})"


ROLES = ", ".join(f"({each.value}, '{each.name.lower()}')" for each in Role)
BOUNDS = ", ".join(f"'{each}'" for each in [*map(float, BOUNDS_S), "+Inf"])
# Grouped by bucket first, so that each bucket's sum is computed once for all days.
LATENCY = f"""
select t.workload, t.lane, b.le, b.value
  from (select h.workload, h.lane, array_agg(h.slot) as slots, array_agg(h.n) as counts, sum(h.seconds) as seconds
          from (select h.workload, h.lane, {_slots()} as slot, h.n, h.n * lanes.figure_seconds(h.bucket) as seconds
                  from (select workload, lane, bucket, sum(n) as n from lanes.figure_hist
                         where grain = 'day' and kind = '{Kind.RESULT}' and at >= (select began from month)
                         group by 1, 2, 3) h) h
         group by 1, 2) t
 cross join lateral (
   select b.le, (select coalesce(sum(c.n), 0) from unnest(t.slots, t.counts) c (slot, n)
                  where c.slot < b.place)::float8 as value
     from unnest(array[{BOUNDS}]) with ordinality b (le, place)
   union all
   select '{SUM}', t.seconds) b
"""
# A queue without waiting work gets a row too, as does an outcome that did not occur, so that a first one is an increase.
WAITING = f"""
select f.workload, l.lane, u.urgent, coalesce({_age_sql("b.since")}, 0)
  from lanes.workload_status f
 cross join (values (null), ('realtime'), ('batch')) l (lane) cross join (values (true), (false)) u (urgent)
  left join lanes.backlog b on b.queue in ('received', 'ready') and b.workload = f.workload and b.urgent = u.urgent
                           and b.lane is not distinct from l.lane
"""
OUTCOMES = ", ".join(f"('{each}')" for each in Outcome)
ATTEMPTS = f"""
select t.workload, t.lane, o.outcome, coalesce(c.n, 0)
  from (select distinct workload, lane from counted where kind = '{Kind.ATTEMPT}') t
 cross join (values {OUTCOMES}) o (outcome)
  left join counted c on c.kind = '{Kind.ATTEMPT}' and c.workload = t.workload and c.lane = t.lane and c.word = o.outcome
"""
CORRECTIONS = f"""
select f.workload, coalesce(sum(c.n), 0)
  from lanes.workload_status f left join counted c on c.kind = '{Kind.CORRECTION}' and c.workload = f.workload group by 1
"""
BATCHES_OPEN = """
select f.workload, s.state, count(b.state)
  from lanes.workload_status f cross join (values ('intended'), ('submitted'), ('ended'), ('held')) s (state)
  left join open_batch b on b.workload = f.workload and b.state = s.state
 group by 1, 2
"""
BATCHES_LATE = """
select f.workload, count(b.state)
  from lanes.workload_status f
  left join open_batch b on b.workload = f.workload and b.state = 'submitted' and b.expected_end_at < :now
 group by 1
"""
BATCH_OLDEST = f"""
select f.workload, coalesce({_age_sql("min(b.intended_at)")}, 0)
  from lanes.workload_status f left join open_batch b on b.workload = f.workload group by 1
"""
EXAMPLES = "select workload, lane, item_id, trace, received_at, ended_at from lanes.newest_answers"
OF_WORKLOAD = ("workload", "lane")
OF_LIMIT = ("account", "model", "kind")
COUNTER, GAUGE = MetricKind.COUNTER, MetricKind.GAUGE
UP = Metric("lanes_up", "1 if the database answered this scrape, else 0.", GAUGE)
SCRAPE_SECONDS = Metric(
    "lanes_scrape_seconds", "How long the database took to answer this scrape.", GAUGE
)
WORKERS = Metric(
    "lanes_workers",
    "Workers that Prefect lists, online or offline (ended lately); release is empty where no supervisor runs beside them.",
    GAUGE,
    ("pool", "release", "status"),
)
CLOCK_OFFSET = Metric(
    "lanes_host_clock_offset_seconds",
    "How far the clock of a host is ahead of that of Postgres, as its supervisor tells.",
    GAUGE,
    ("host", "release"),
)

METRICS: Sequence[Metric] = (
    UP,
    SCRAPE_SECONDS,
    WORKERS,
    CLOCK_OFFSET,
    Metric(
        "lanes_items_received_total",
        "Items received and routed, each once.",
        COUNTER,
        ("workload",),
        _select_sum(Kind.ITEM, "n", "workload"),
    ),
    Metric(
        "lanes_routes_total",
        "Decisions on a lane, with the rule that decided; an item that changes its lane has several.",
        COUNTER,
        (*OF_WORKLOAD, "reason"),
        _select_sum(Kind.ROUTE, "n", "workload", "lane", "word"),
    ),
    Metric(
        "lanes_answers_total",
        "Answers, provisional and authoritative.",
        COUNTER,
        (*OF_WORKLOAD, "standing"),
        _select_sum(Kind.RESULT, "n", "workload", "lane", "word"),
    ),
    Metric(
        "lanes_corrections_total",
        "Authoritative answers that replaced a different provisional one.",
        COUNTER,
        ("workload",),
        CORRECTIONS,
    ),
    Metric(
        "lanes_attempts_total",
        "Tries to answer an item, shadows and replays too, by how they ended; unknown may have been billed.",
        COUNTER,
        (*OF_WORKLOAD, "outcome"),
        ATTEMPTS,
    ),
    Metric(
        "lanes_due_items_total",
        "Items with a due time that were answered or failed.",
        COUNTER,
        OF_WORKLOAD,
        _select_sum(Kind.DEADLINE, "n", "workload", "lane"),
    ),
    Metric(
        "lanes_due_items_in_time_total",
        "Items that were answered by their due time.",
        COUNTER,
        OF_WORKLOAD,
        _select_sum(Kind.DEADLINE, "items", "workload", "lane"),
    ),
    Metric(
        "lanes_answer_seconds",
        "Time from received to answered, right within 4 %, until half a minute ago.",
        MetricKind.HISTOGRAM,
        OF_WORKLOAD,
        LATENCY,
    ),
    Metric(
        "lanes_calls_total",
        "Billed responses of the provider; packed items share one.",
        COUNTER,
        OF_WORKLOAD,
        _select_sum(Kind.CALL, "n", "workload", "lane"),
    ),
    Metric(
        "lanes_spend_usd_total",
        "US dollars billed by the provider.",
        COUNTER,
        OF_WORKLOAD,
        _select_sum(Kind.CALL, "usd", "workload", "lane"),
    ),
    Metric(
        "lanes_spend_unknown_usd_total",
        "US dollars at most of calls that ended without an answer and may have been billed.",
        COUNTER,
        OF_WORKLOAD,
        _select_sum(Kind.ATTEMPT, "bound_usd", "workload", "lane"),
    ),
    Metric(
        "lanes_tokens_total",
        "Billed tokens: input (without cached ones), output, cache_read or cache_write.",
        COUNTER,
        (*OF_WORKLOAD, "kind"),
        " union all ".join(_tokens(value, name) for value, name in TOKENS.items()),
    ),
    Metric(
        "lanes_items",
        "Items that were received in the last 30 days: open, answered (provisionally), settled, failed or canceled.",
        GAUGE,
        (*OF_WORKLOAD, "state"),
        "select workload, lane, word, ever from counted where kind = 'item'",
    ),
    Metric(
        "lanes_oldest_waiting_seconds",
        "How long the first item in order has waited: to be routed (lane is empty), or for a call or a batch; 0: none waits.",
        GAUGE,
        (*OF_WORKLOAD, "urgent"),
        WAITING,
    ),
    Metric(
        "lanes_batches_open",
        "Batches that are not collected: intended, submitted, ended or held (a person decides).",
        GAUGE,
        ("workload", "state"),
        BATCHES_OPEN,
    ),
    Metric(
        "lanes_batch_oldest_seconds",
        "Age of the oldest batch that is not collected; 0: none is open.",
        GAUGE,
        ("workload",),
        BATCH_OLDEST,
    ),
    Metric(
        "lanes_batches_late",
        "Submitted batches that should have ended by now, as long as such batches usually take.",
        GAUGE,
        ("workload",),
        BATCHES_LATE,
    ),
    Metric(
        "lanes_budget_used_ratio",
        "Billed and perhaps billed in the current period, of the hard limit, or else of the soft one; 1 is used up.",
        GAUGE,
        ("workload", "consumer", "period"),
        "select workload, consumer, period, share from lanes.budget_status",
    ),
    Metric(
        "lanes_circuits_open",
        "1 for a model that is not called, because it does not answer: resting or probing.",
        GAUGE,
        ("account", "model", "state"),
        "select account, model, state, 1 from lanes.circuit_status where state <> 'closed'",
    ),
    Metric(
        "lanes_provider_limit",
        "The provider's limit per minute, as its last answer of the last 5 minutes says: requests or tokens.",
        GAUGE,
        OF_LIMIT,
        "select account, model, kind, per_minute from lanes.limit_status where seen_at > :now - interval '5 minutes'",
    ),
    Metric(
        "lanes_provider_limit_remaining",
        "Remainder of that limit, as its last answer of the last 5 minutes says.",
        GAUGE,
        OF_LIMIT,
        "select account, model, kind, remaining from lanes.limit_status where seen_at > :now - interval '5 minutes'",
    ),
    Metric(
        "lanes_roles_held",
        "How many sessions hold a role; 0 of collector or watcher means that its work stands still.",
        GAUGE,
        ("role",),
        f"select r.name, count(h.role) from (values {ROLES}) r (number, name) left join held h on h.role = r.number"
        " where not pg_is_in_recovery() group by 1",
    ),
    Metric(
        "lanes_role_holders",
        "How many sessions of a host hold a role; role drain counts the drains.",
        GAUGE,
        ("role", "host"),
        f"select r.name, h.host, count(*) from (values {ROLES}) r (number, name) join held h on h.role = r.number"
        " group by 1, 2",
    ),
    Metric(
        "lanes_incidents_open",
        "Promises that are broken now; workload * means all.",
        GAUGE,
        ("promise", "workload", "severity"),
        "select promise, workload, severity, count(*) from lanes.incident_log where state = 'open' group by 1, 2, 3",
    ),
    Metric(
        "lanes_backlog_messages",
        "What waits to be sent or counted: events (for Prefect), slack, webhook or figures; up to 10,000 are counted.",
        GAUGE,
        ("queue", "subscriber"),
        "select queue, subscriber, waiting from lanes.backlog where queue not in ('received', 'ready')",
    ),
    Metric(
        "lanes_backlog_seconds",
        "Since when the first of them has waited; of figures: how far figures lag behind.",
        GAUGE,
        ("queue", "subscriber"),
        f"select queue, subscriber, coalesce({_age_sql('since')}, 0) from lanes.backlog"
        " where queue not in ('received', 'ready')",
    ),
    Metric(
        "lanes_split_ratio",
        "Share of the undecided items that goes to real-time, for all consumers.",
        GAUGE,
        ("workload",),
        "select workload, percent / 100 from lanes.workload_status where percent is not null",
    ),
    Metric(
        "lanes_candidate_ratio",
        "Share of newly routed items that the candidate version of an open canary gets.",
        GAUGE,
        ("workload",),
        "select workload, candidate_percent / 100 from lanes.workload_status where candidate_percent is not null",
    ),
    Metric(
        "lanes_rollout_ratio",
        "Share that an open rollout has in force: of undecided items to real-time, or of all items to a version.",
        GAUGE,
        ("workload", "playbook", "state"),
        "select distinct on (rollout_id) workload, playbook, state, percent / 100 from lanes.rollout_log"
        f" where state in {OPEN_ROLLOUT} order by rollout_id, at desc",
    ),
    Metric(
        "lanes_workload_paused",
        "1 while a workload is paused, else 0.",
        GAUGE,
        ("workload",),
        "select workload, (paused_at is not null)::int from lanes.workload_status",
    ),
)


@cache
def statement() -> str:
    """Return the statement that reads every metric: the metric's index in METRICS, its labels and its value."""
    parts: list[str] = []
    for place, metric in enumerate(METRICS):
        if metric.query is None:
            continue
        labels = [*metric.labels, *(["le"] if metric.kind is MetricKind.HISTOGRAM else [])]
        values = ", ".join(f"coalesce({each}::text, '')" for each in labels)
        named = ", ".join([*labels, "value"])
        parts.append(
            f"select {place} as metric, array[{values}] as labels, value::float8 as value from ({metric.query}) q ({named})"
        )
    return COMMON + "\nunion all\n".join(parts)


def read(ask: Ask, *, now: datetime) -> Samples:
    """Return every sample at `now`."""
    found = defaultdict[int, list[MetricSample]](list)
    for row in ask(statement(), now=now):
        found[row.metric].append(MetricSample(row.labels, row.value))
    by_labels = attrgetter("labels")
    return {METRICS[each].name: sorted(samples, key=by_labels) for each, samples in found.items()}


def examples(ask: Ask) -> Examples:
    """Return the newest answer of each workload and lane."""
    return {
        (row.workload, row.lane): MetricExample(
            trace_id_of(ItemId(row.item_id), row.received_at, row.trace).hex(),
            (row.ended_at - row.received_at).total_seconds(),
            row.ended_at,
        )
        for row in ask(EXAMPLES)
    }
