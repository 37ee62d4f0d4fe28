"""The queries for the report's figures of a period; `lanes.report.snapshot` defines what the figures mean."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from lanes.advice.recommendation import Advice, advise
from lanes.report import figures
from lanes.report.snapshot import Snapshot
from lanes.statistics.figures import Grain, Stands
from lanes.store import asking
from lanes.store.advice.advice import read_each, read_in_force
from lanes.store.asking import Ask
from lanes.store.figures import due
from lanes.store.figures.reading import add_up
from lanes.store.money import budget_status, caching, overheads
from lanes.store.realtime import call_waits
from lanes.store.report import facts
from lanes.store.report.counted import Counted
from lanes.store.routing import turnarounds
from lanes.store.states import ANSWERING, FINISHED_BATCH, OPEN_ITEM, OPEN_REPLAY
from lanes.words import Lane

if TYPE_CHECKING:
    from sqlalchemy import Connection

MOST_BATCHES = 12
MOST_FAILURES = 50
MOST_INCIDENTS = 50
MOST_LABELS = 1_000  # the newest labels of each workload, because a program may label every item
ADVICE_OVER = timedelta(days=30)
LENGTHS = {
    Grain.MINUTE: timedelta(minutes=1),
    Grain.HOUR: timedelta(hours=1),
    Grain.DAY: timedelta(days=1),
}
# The longest period for which the report has a point for each span of this length.
POINTS = {Grain.MINUTE: timedelta(days=2), Grain.HOUR: timedelta(days=10), Grain.DAY: timedelta.max}

# The state of open items comes from their work; no figure counts items that are not routed yet.
STANDING = f"""
with under_way as (
  select distinct item_id from (
    select w.item_id, w.revision from lanes.work w
     where w.state = 'claimed' and w.generation = 0 and w.purpose in {ANSWERING}
    union all
    select w.item_id, w.revision from lanes.work w
     where w.state = 'submitted' and w.generation = 0 and w.purpose in {ANSWERING}) w
   where exists (select from lanes.item i
                  where i.id = w.item_id and i.revision = w.revision and i.received_at >= :since and {OPEN_ITEM}))
select i.workload, 'working' as state, count(*) as items from under_way u join lanes.item i on i.id = u.item_id group by 1
union all
select workload, 'received', count(*) from lanes.item
 where position is null and canceled_at is null and received_at >= :since group by 1
"""

BATCHES = f"""
select batch_id, workload, model, state, requests, processed, items, succeeded, invalid, errored, canceled, expired,
       missing, intended_at, submitted_at, expected_end_at, ended_at, collected_at, note, items_per_minute_until_ended,
       items_per_minute_until_collected
  from lanes.batch_status
 where intended_at >= :since or state not in {FINISHED_BATCH}
 order by batch_id desc limit :most
"""

# As in the view `accuracy`, but from the newest labels of the period's items, which cannot have been labeled before the period.
ACCURACY = """
select workload, lane, version, field, labels, share, lanes.wilson(share, labels, -1) as low,
       lanes.wilson(share, labels, 1) as high
  from (select a.workload, a.lane, a.version, a.field, count(*) as labels, avg(a.correct::int)::float8 as share
          from (select date_trunc('minute', cast(:since as timestamptz), 'UTC') as since) period
         cross join lanes.workload w
         cross join lateral (
           select l.id from lanes.label l where l.workload = w.name and l.basis <> 'review' and l.labeled_at >= since
            order by l.labeled_at desc limit :most) l
         cross join lateral (
           select * from lanes.labeled_answers a where a.label_id = l.id and a.received_at >= since offset 0) a
         group by 1, 2, 3, 4) counted
 order by 1, 4, 2 desc, 3
"""

# The newest items that failed, or whose authoritative pass failed.
FAILURES = """
select workload, key, failure as reason from lanes.item
 where failure is not null and received_at >= :since and canceled_at is null
   and (settled_at is not null or failed_at is not null)
 order by id desc limit :most
"""

REFUSALS = """
select coalesce(workload, 'unknown') as workload, reason, sum(times) as inputs
  from lanes.rejected_log where rejected_at >= :since group by 1, 2 order by 3 desc
"""

MINUTES = """
select lane, at as minute, buckets, counts from lanes.figure_spread
 where grain = :grain and kind = 'result' and at >= date_trunc(:grain, cast(:since as timestamptz), 'UTC')
union all
select lane, date_trunc(:grain, at, 'UTC'), buckets, counts from lanes.figure_delta
 where kind = 'result' and buckets is not null and at >= date_trunc(:grain, cast(:since as timestamptz), 'UTC')
"""

PROPOSALS = """
select id, workload, consumer, (figures->>'saving_usd')::float8 as saving_usd, proposed_at
  from lanes.proposal where state = 'open' order by id desc
"""

SPLITS = """
select workload, consumer, basis_points, who, why, set_at
  from (select distinct on (workload, consumer) * from lanes.split order by workload, consumer, id desc) newest
 where basis_points is not null  -- a consumer that inherits has no split of its own
 order by workload, consumer
"""

REPLAYS = f"""
select workload, generation, version, case when paused_at is null then state else 'paused' end as state, items, answered,
       failed, cost_usd
  from lanes.replay_log
 where state in {OPEN_REPLAY} or created_at >= :since or promoted_at >= :since or demoted_at >= :since
 order by workload, generation desc
"""

AMENDMENTS = """
select workload, count(*) filter (where outcome = 'amended') as applied, count(*) filter (where outcome is null) as waiting
  from lanes.amendment
 where outcome is null or outcome = 'amended' and decided_at >= :since
 group by 1 order by 1
"""

F = TypeVar("F")


def take(connection: "Connection", *, since: datetime, now: datetime) -> Snapshot:
    """Return the figures of items received since the minute of `since`, read in one transaction."""
    return take_through(asking.through(connection), since=since, now=now)


def take_through(ask: Ask, *, since: datetime, now: datetime) -> Snapshot:
    """Return the figures of `take`, read through `ask`."""
    since = since.replace(second=0, microsecond=0)
    grain = next(grain for grain, longest in POINTS.items() if now - since <= longest)

    def read(query: str, into: type[F], **more: Any) -> list[F]:
        rows = [row._asdict() for row in ask(query, since=since, **more)]
        return [
            into(**{name: Lane(value) if name == "lane" else value for name, value in row.items()})
            for row in rows
        ]

    # The slowest query comes first, because `lanes status` imports modules while it runs.
    accuracy = read(ACCURACY, figures.AccuracyFigures, most=MOST_LABELS)
    counted = Counted(ask, since)
    return Snapshot(
        taken_at=now,
        since=since,
        lanes=counted.lanes(),
        costs=counted.costs(),
        states=_states(counted, read(STANDING, figures.StateFigures)),
        routes=counted.routes(),
        sheds=facts.sheds(ask, counted.shed(), since=since),
        batches=read(BATCHES, figures.BatchFigures, most=MOST_BATCHES),
        batch_totals=counted.batch_totals(),
        packs=facts.pack_sizes(ask, counted.checks(), now=now),
        windows=counted.windows(),
        waits=counted.waits(),
        deadlines=due.read_outcomes(ask, since=since, now=now),
        calibration=turnarounds.read_calibrations(ask, since=since, now=now),
        agreement=counted.agreement(),
        second_passes=facts.second_passes(ask),
        accuracy=accuracy,
        quality=facts.quality(ask),
        failures=read(FAILURES, figures.Failure, most=MOST_FAILURES),
        refusals=read(REFUSALS, figures.RefusalFigures),
        minutes=_minutes(ask(MINUTES, since=since, grain=grain)),
        point=LENGTHS[grain],
        incidents=facts.incidents(ask, since, most=MOST_INCIDENTS),
        rollouts=facts.rollouts(ask, since),
        proposals=read(PROPOSALS, figures.OpenProposal),
        splits=read(SPLITS, figures.SplitFigures),
        replays=read(REPLAYS, figures.ReplayFigures),
        calls=counted.calls(),
        amendments=read(AMENDMENTS, figures.AmendmentFigures),
        advice=_advice(ask, now),
        budgets=budget_status.of(ask, now=now),
        capacity=facts.capacity(ask, now=now),
        call_waits=call_waits.current(ask, now=now),
        rescues=facts.rescues(ask, since=since, now=now),
        circuits=facts.circuits(ask),
        caching=figures.caching_figures(
            caching.states(ask), caching.list_savings(ask, since=since, now=now)
        ),
    )


def _minutes(rows: Sequence[Any]) -> list[figures.MinuteFigures]:
    """Return how many answers each lane gave and how quickly, for each point in time."""
    took = add_up(rows, "minute", "lane")
    return [
        figures.MinuteFigures(Lane(lane), minute, each.count, each.percentile_s(0.95))
        for (minute, lane), each in sorted(took.items())
    ]


def _states(counted: Counted, standing: list[figures.StateFigures]) -> list[figures.StateFigures]:
    """Count finished items from the figures; open items that are not claimed or submitted count as waiting."""
    found = counted.states()
    for each in standing:
        found[each.workload, each.state] = each.items
        if each.state == "working" and (each.workload, Stands.OPEN) in found:
            found[each.workload, Stands.OPEN] -= each.items
    named = {
        (workload, "routed" if word == Stands.OPEN else word): items
        for (workload, word), items in found.items()
    }
    return [
        figures.StateFigures(workload, state, items)
        for (workload, state), items in sorted(named.items())
        if items > 0
    ]


def _advice(ask: Ask, now: datetime) -> list[Advice]:
    """Return the advice for each workload that had items."""
    seen = read_each(ask, read_in_force(ask), since=now - ADVICE_OVER, now=now)
    kept = overheads.read_each(ask, seen, now=now)
    return [advise(each, kept[name]) for name, each in seen.items() if each.items]
