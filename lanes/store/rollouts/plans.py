"""The plan of a rollout: a playbook applied to the current traffic of a workload."""

from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import Connection, text

from lanes.rollouts import plan, refusals
from lanes.rollouts.gates import Measure, Measurement, judge, longest_out
from lanes.rollouts.plan import Readiness, RolloutPlan, SplitTraffic
from lanes.rollouts.playbook import Direction, Playbook
from lanes.rollouts.rollout import MeasuredWindow, Rollout
from lanes.store.money import sharing
from lanes.store.rollouts import rollout_measures
from lanes.store.rollouts.rollouts import WHOSE, newest_route, read_open
from lanes.store.workload import candidates, workloads
from lanes.words import Lane
from lanes.workload.version import Spec, Version

LOOKED_BACK = timedelta(days=7)  # because weekdays differ
OF_EVERY_ITEM = (Measure.ERROR_RATE, Measure.P95_S)  # measures for which every item is a sample
# The number of newest routes of all workloads that are searched for a playbook's preconditions.
MOST_ROUTES = 100_000
RECENT_ROUTES = 20_000  # newest routes of all workloads that are searched for the gates' measures


# Items count in the hour in which they were received, by the reason of their first route; days are too coarse for a start.
def _traffic(of: str) -> str:
    return f"""
select min(i.at) as first_at, coalesce(sum(i.n), 0)::bigint as items, sum(i.realtime_usd)::float8 as realtime_usd,
       sum(i.batch_usd)::float8 as batch_usd
  from (select at, workload, consumer, word, n, realtime_usd, batch_usd from lanes.figure
         where grain = 'hour' and kind = 'asked' and workload = :workload and at >= :since
        union all
        select at, workload, consumer, word, n, realtime_usd, batch_usd from lanes.figure_delta
         where kind = 'asked' and workload = :workload and at >= :since) i
 where {of}
"""


TRAFFIC, TRAFFIC_OF_ALL = _traffic(f"i.word = 'split' and {WHOSE}"), _traffic("true")

BATCHES = """
select count(*) as batches, count(*) filter (where not is_back) as late
  from (select coalesce(b.ended_at <= b.submitted_at + cast(:longest as interval), false)
               and b.expired + b.missing = 0 as is_back
          from lanes.batch b
         where b.workload = :workload and b.submitted_at >= :since
           and (b.ended_at is not null or b.submitted_at < :now - cast(:longest as interval))
         order by b.id desc limit :batches) newest
"""


def plan_playbook(
    connection: Connection,
    playbook: Playbook,
    *,
    name: str,
    consumer: str | None,
    new: Spec | None = None,
    now: datetime,
) -> tuple[RolloutPlan, str | None]:
    """Return the plan of a playbook on workload `name`, and the reason why its rollout cannot start now, if there is one.

    A playbook that moves a version needs the workload's candidate, or one that is about to be stored (`new`).

    Raises:
        UnknownWorkload: no version of the workload is published.
    """
    version = workloads.require(connection, name)
    moves_version = playbook.direction is Direction.VERSION
    candidate = candidates.find(connection, name) if moves_version and new is None else None
    receives = new or (candidate or version).spec
    share = 0 if moves_version else workloads.splits(connection).of(name, consumer).basis_points
    found = traffic(connection, playbook, version, consumer, now=now)
    before = _readiness(connection, playbook, version, consumer, now)
    rollout_plan = plan.make(playbook, name, consumer, share, found, before)
    refusal = refusals.refuse_start(
        rollout_plan,
        mode=receives.mode,
        values=bool(version.spec.value_usd),
        present=read_open(connection, name),
        leaves_out=receives.second_pass.is_stated,
    )
    if refusal is None and moves_version and candidate is None and new is None:
        refusal = refusals.explain_no_candidate(rollout_plan)
    return rollout_plan, refusal


def plan_rollout(connection: Connection, rollout: Rollout, *, now: datetime) -> RolloutPlan | None:
    """Return a rollout's plan, rebuilt from its stored playbook; None while its workload's version cannot be read.

    The plan uses the current traffic and the share before the rollout.
    """
    version = workloads.read_versions(connection).get(rollout.workload)
    if version is None:
        return None
    found = traffic(connection, rollout.playbook, version, rollout.consumer, now=now)
    return plan.make(
        rollout.playbook, rollout.workload, rollout.consumer, rollout.share_before, found
    )


def traffic(
    connection: Connection,
    playbook: Playbook,
    version: Version,
    consumer: str | None,
    *,
    now: datetime,
) -> SplitTraffic:
    """Return the traffic of the last `LOOKED_BACK`: items whose lane the split decided, or all items for a version."""
    since = (now - LOOKED_BACK).replace(minute=0, second=0, microsecond=0)
    given = {"workload": version.workload, "consumer": consumer, "since": since}
    of_all = playbook.direction is Direction.VERSION
    row = connection.execute(text(TRAFFIC_OF_ALL if of_all else TRAFFIC), given).one()
    if row.items <= 0:
        return SplitTraffic()
    each = {Lane.REALTIME: row.realtime_usd / row.items, Lane.BATCH: row.batch_usd / row.items}
    passes = sharing.read_cached(connection, now=now).passes_of(version)
    each[Lane.REALTIME] += each[Lane.BATCH] * passes  # adds the authoritative pass
    measured, tried = _recent(connection, playbook, version, consumer, now)
    days = (now - row.first_at) / timedelta(days=1)
    return SplitTraffic(row.items, days, each, measured, tried)


def _readiness(
    connection: Connection,
    playbook: Playbook,
    version: Version,
    consumer: str | None,
    now: datetime,
) -> Readiness | None:
    """Return how well the batch lane meets the playbook's preconditions; None if there are none."""
    preconditions, spec = playbook.before, version.spec
    if preconditions is None:
        return None
    window = MeasuredWindow(
        version.workload,
        consumer,
        playbook.direction,
        preconditions.gates,
        since=now - timedelta(days=preconditions.days),
        routes_before=newest_route(connection) - MOST_ROUTES,
    )
    measured = rollout_measures.measure_batch_lane(connection, window, spec, now=now)
    pairs = zip(preconditions.gates, measured, strict=True)
    judged = [
        judge(gate, replace(each, workload=version.workload), alpha=playbook.gate_alpha)
        for gate, each in pairs
    ]
    given = {
        "workload": version.workload,
        "since": window.since,
        "longest": longest_out(spec, Lane.BATCH),
        "now": now,
        "batches": preconditions.batches or 0,
    }
    row = connection.execute(text(BATCHES), given).one()
    return Readiness(judged, row.batches, row.late)


def _recent(
    connection: Connection,
    playbook: Playbook,
    version: Version,
    consumer: str | None,
    now: datetime,
) -> tuple[dict[Measure, Measurement], int]:
    """Return measurements of recent items on the lane that gives traffic away, by measure, and the number of tried items.

    They are read only if a gate compares the lanes or has a measure for which not every item is a sample.
    """
    gates = {gate.measure: gate for step in playbook.steps for gate in step.gates}
    if not any(gate.compares or gate.measure not in OF_EVERY_ITEM for gate in gates.values()):
        return {}, 0
    window = MeasuredWindow(
        version.workload,
        consumer,
        playbook.direction,
        tuple(gates.values()),
        since=now - LOOKED_BACK,
        routes_before=newest_route(connection) - RECENT_ROUTES,
        version_before=version.number,
    )
    tried, measured = rollout_measures.measure_giving_side(connection, window, now=now)
    return {each.measure: each for each in measured}, tried
