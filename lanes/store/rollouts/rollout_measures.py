"""Measurements of the items that the split assigned to a lane or a version: in one step, in all steps, or in recent days."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import fmean
from typing import Any

from sqlalchemy import Connection, text

from lanes.ids import VersionId
from lanes.rollouts.gates import (
    MEANS,
    Figures,
    Gate,
    Measure,
    Measurement,
    attach_other,
    combine,
    longest_out,
)
from lanes.rollouts.playbook import Direction
from lanes.rollouts.rollout import Happened, MeasuredWindow, Rollout
from lanes.statistics.shares import SampleShare
from lanes.store.rollouts import shadows
from lanes.store.rollouts.rollouts import WHOSE, log
from lanes.store.states import ANSWERING, FAIR_LABEL
from lanes.store.workload import workloads
from lanes.words import Lane
from lanes.workload.version import Spec

DEPARTS_WITHIN = timedelta(days=1)  # off-peak begins once a day
SETTLES_WITHIN = timedelta(seconds=10)  # after this time every router reads the new split
# For a version, every item counts that was routed for the first time, because the version split chose its version.
OF_LANE = f"r.lane = :lane and {WHOSE}"
FIRST_ROUTES = """i.workload = :workload
     and not exists (select from lanes.route s where s.item_id = r.item_id and s.id < r.id)"""
OF_VERSION = f"r.version_id = :version and {FIRST_ROUTES}"
# The costs of two versions are compared in one unit: the mean estimate of the `UNIT_OF` newest routes of the old version before
# the step, found among the `UNIT_WITHIN` newest routes.
UNIT_OF, UNIT_WITHIN = 200, 20_000

# Items that are pinned, urgent or due soon reach the lane whatever the split is, so they prove nothing about the traffic that
# moves. Neither do the items of a consumer with a split of its own. An unanswered item that is older than the p95 limit counts
# as slow: otherwise a lane that answers few items quickly would look fast.
# Every figure counts items, however often an item was tried or amended. An attempt that was refused because of a neighbor in
# its pack proves nothing about the item. An attempt that the provider or the account refused, or that got no answer, is a
# failure of the lane: otherwise an overloaded lane could hide it. An item that the lane shed is also a failure, whatever the
# cause: otherwise a lane would look good by shedding the items that it cannot serve. The lane never answers such an item, so
# it counts as slow, and as late once its due time has passed. (`offset 0` and `|| ''` make the planner check each item along
# its own routes, and never scan all shed items, even with outdated statistics.) Answers are compared for the same revision.
# An item without an answer or a failed attempt is overdue once its due time has passed, or once it is in flight for longer than
# allowed (`longest_out`), because a batch that never returns fails no attempt. In batch, this time starts when the batch is
# submitted. An item may wait a day more for its batch; an item that an outage holds up gets no extra time.
# An item that was amended before it was answered counts anew from the amendment: later outcomes of its older revision are not
# failures, and its due time is not measured.
# An item's cost counts once the item is answered or has failed for good; until then another attempt may add to the cost.
# For a version both lanes count, because a lane that sheds an item under load proves nothing about the version. An item that
# another version answered, because the provider refused this one, counts as failed. An item's cost is that of all its passes,
# counted once the item is settled, in the unit of the old version.
SHED = (
    "exists (select from lanes.route s where s.item_id = i.id and s.reason || '' = 'shed' offset 0)"
)
ASKED_OF_ANOTHER = f"""i.revision = 0 and exists (
           select from lanes.work w where w.item_id = i.id and w.generation = 0 and w.purpose in {ANSWERING}
              and w.version_id <> :version offset 0)"""


def _figures(arm: str, lost: str) -> str:
    return f"""
with under as materialized (
  select i.id, i.received_at, i.due_at, i.revision, i.failed_at, i.settled_at, min(r.lane) as lane,
         max(r.decided_at) as routed_at,
         max(r.realtime_usd) as realtime_usd,
         (select v.received_at from lanes.revision v
           where v.item_id = i.id and v.number = i.revision and i.revision > 0) as amended_at,
         {lost} as was_lost
    from lanes.route r
    join lanes.item i on i.id = r.item_id
   where r.id > :routes_before and r.id <= (select max(id) from lanes.route)  -- a plan kept for all expects few between two
     and r.decided_at >= :since and r.decided_at < coalesce(cast(:until as timestamptz), 'infinity')
     and {arm} and i.canceled_at is null
   group by i.id),
tried as materialized (
  select u.id, u.received_at, u.revision, u.routed_at, u.amended_at, u.due_at, u.failed_at, u.settled_at, u.lane,
         u.realtime_usd, u.was_lost or coalesce(bool_or(a.outcome <> 'pack_refused'), false) as was_tried,
         u.was_lost or coalesce(bool_or(a.outcome not in ('valid', 'pack_refused')), false) as has_failed,
         min(a.ended_at) filter (where a.outcome = 'valid') as answered_at,
         min(a.ended_at - a.started_at) filter (where a.outcome = 'valid') as took,
         coalesce(sum(a.cost_usd), 0) as cost_usd
    from under u
    left join lanes.attempt a on a.item_id = u.id and a.lane = any(:lanes) and a.purpose in {ANSWERING}
     and a.version_id = coalesce(cast(:version as bigint), a.version_id)
     and (u.amended_at is null or a.ended_at < u.amended_at
          or exists (select from lanes.work w where w.id = a.work_id and w.revision = u.revision))
   group by u.id, u.received_at, u.revision, u.routed_at, u.amended_at, u.due_at, u.failed_at, u.settled_at, u.lane,
            u.realtime_usd, u.was_lost),
usual as (
  select lane, percentile_cont(0.5) within group (order by took) as took
    from tried where answered_at is not null group by lane),
placed as (
  select t.*, o.since as out_since, coalesce(t.answered_at, :now) >= t.amended_at as was_amended
    from tried t
    left join lateral (
      select max(coalesce(b.submitted_at, b.intended_at)) as since
        from lanes.work w join lanes.batch b on b.id = w.batch_id
       where t.answered_at is null and w.item_id = t.id and w.lane = any(:lanes) and w.revision = t.revision
         and w.generation = 0 and w.purpose in {ANSWERING} and w.state = 'submitted') o on true),
counted as (
  select p.*, case when was_amended then amended_at else received_at end as since,
         case when was_amended and amended_at < due_at then null else due_at end as due_by
    from placed p),
stood as materialized (
  select c.*, c.answered_at is null and not c.has_failed
              and (coalesce(c.due_by < :now, false)
                   or :now > case c.lane
                        when 'realtime' then coalesce(c.out_since, greatest(c.routed_at, c.since))
                                             + cast(:longest_in_realtime as interval)
                        else coalesce(c.out_since, greatest(c.routed_at, c.since) + cast(:departs_within as interval))
                             + cast(:longest_in_batch as interval) end) as is_overdue,
         coalesce(c.answered_at is null and not c.has_failed and :now - c.out_since > usual.took, false) as is_long_out
    from counted c left join usual on usual.lane = c.lane),
timed as (
  select extract(epoch from coalesce(answered_at, :now) - since)::float8 as seconds, answered_at
    from stood
   where answered_at is not null or extract(epoch from :now - since) > cast(:slow_s as float8)),
due as (
  select answered_at is not null and answered_at <= due_by as met
    from stood where due_by is not null and (answered_at is not null or due_by < :now)),
compared as (
  select distinct on (u.id) c.id is null as agrees
    from under u
    join lanes.result p on p.item_id = u.id and p.generation = 0 and p.standing = 'provisional'
    join lanes.result a on a.item_id = u.id and a.generation = 0 and a.standing = 'authoritative'
     and a.revision = p.revision
    left join lanes.correction c on c.item_id = u.id and c.authoritative_id = a.id
   order by u.id, p.revision desc),
labeled as (
  select bool_and(coalesce(r.output -> f.field = f.value, false)) as is_right
    from under u
    join lanes.label l on l.item_id = u.id and {FAIR_LABEL}
   cross join lateral (
     select r.output from lanes.result r
      where r.item_id = u.id and r.lane = any(:lanes) and r.generation = 0 and r.output is not null
        and r.version_id = coalesce(cast(:version as bigint), r.version_id)
      order by r.id desc limit 1) r
   cross join lateral jsonb_each(l.expected) f (field, value)
   group by u.id),
ended as (
  select t.id, coalesce(t.done_at, t.failed_at) as ended_at, t.cost_usd,
         coalesce(cast(:unit_usd as numeric), t.realtime_usd) as unit_usd
    from (select *, case when cast(:version as bigint) is null then answered_at else settled_at end as done_at from tried) t
   where cast(:measures_costs as bool) and (t.done_at is not null or t.failed_at is not null))
select (select count(*) from tried where answered_at is not null) as answered,
       (select count(*) from stood where was_tried or is_overdue) as tried,
       (select count(*) from stood where has_failed or is_overdue) as failed,
       (select count(*) from stood where is_long_out and not is_overdue) as maybe_failed,
       (select percentile_cont(0.95) within group (order by seconds) from timed) as p95_s,
       (select count(*) from timed) as timed,
       (select count(*) from timed where seconds > cast(:slow_s as float8)) as slow,
       (select count(*) from due) as due,
       (select count(*) from due where not met) as missed,
       (select count(*) from stood where is_long_out and due_by >= :now) as maybe_missed,
       (select count(*) from stood
         where is_long_out and extract(epoch from :now - since) <= cast(:slow_s as float8)) as maybe_slow,
       (select count(*) from compared) as compared,
       (select count(*) from compared where not agrees) as corrected,
       (select count(*) from labeled) as labeled,
       (select count(*) from labeled where not is_right) as mistaken,
       (select array_agg(cost_usd::float8 order by ended_at, id) from ended) as costs,
       (select array_agg((cost_usd / unit_usd)::float8 order by ended_at, id)
          from ended where unit_usd > 0) as of_estimates
"""


FIGURES = _figures(f"r.reason = 'split' and {OF_LANE}", SHED)
FIGURES_OF_LANE = _figures(OF_LANE, SHED)  # for any route reason
FIGURES_OF_VERSION = _figures(OF_VERSION, ASKED_OF_ANOTHER)


# Items of one entity share a bucket and count once. For `SETTLES_WITHIN`, a router may still use the previous split.
def _select_moved(hit: str, decided: str) -> str:
    return f"""
select count(distinct sticky) filter (where is_hit) as hits, count(distinct sticky) as samples
  from (select {hit} as is_hit, coalesce(i.entity, i.key) as sticky
          from lanes.route r
          join lanes.item i on i.id = r.item_id
         where r.id > :routes_before and r.id <= (select max(id) from lanes.route)
           and r.decided_at >= :since and {decided}) as decided
"""


MOVED = _select_moved("r.lane = 'realtime'", f"r.reason = 'split' and {WHOSE}")
MOVED_TO_VERSION = _select_moved("r.version_id = :version", FIRST_ROUTES)

# The unit stays the same at every look, because the items of both versions are compared in it.
UNIT = """
select coalesce(
  (select avg(b.realtime_usd) from (
     select r.realtime_usd from lanes.route r
      where r.id <= :routes_before and r.id > :oldest and r.version_id = :version
      order by r.id desc limit :many) b),
  (select r.realtime_usd from lanes.route r where r.id > :routes_before and r.version_id = :version order by r.id limit 1))
"""


@dataclass(frozen=True)
class Arm:
    """One side of a rollout: a lane with the items that the split assigned to it, or a version with its items on both lanes."""

    spec: Spec
    lane: Lane | None = None
    version: VersionId | None = None
    is_split: bool = True  # False: every item of the lane, for any route reason

    @property
    def statement(self) -> str:
        """The query for the figures of this side."""
        if self.version is not None:
            return FIGURES_OF_VERSION
        return FIGURES if self.is_split else FIGURES_OF_LANE


def _arms(connection: Connection, window: MeasuredWindow) -> tuple[Arm | None, Arm | None]:
    """Return the receiving and the giving side of the traffic; None for a side whose version cannot be read."""
    if window.direction is Direction.VERSION:
        found = workloads.find_by_number(
            connection, window.workload, (window.version, window.version_before)
        )
        new, old = (found.get(each) for each in (window.version, window.version_before))
        return (new and Arm(new.spec, version=new.id)), (old and Arm(old.spec, version=old.id))
    version, lane = (
        workloads.read_versions(connection).get(window.workload),
        window.direction.receiving,
    )
    if version is None or lane is None:
        return None, None
    return Arm(version.spec, lane), Arm(version.spec, lane.other)


def take(connection: Connection, rollout: Rollout, *, now: datetime) -> Figures:
    """Return the figures of the current step, compared with the giving side where a gate requires it, and of all steps."""
    window, whole = rollout.step_window, rollout.whole_window
    receiving, giving = _arms(connection, window)
    if receiving is None or giving is None:
        return Figures(0, unavailable(window.gates, "the version in force cannot be read"))

    def measure(window: MeasuredWindow) -> tuple[int, list[Measurement]]:
        return _measure_window(connection, window, receiving, giving, now)

    answered, measurements = measure(window)
    if rollout.playbook.shadows is not None:
        seen = shadows.pairs(connection, rollout, receiving.spec.compare_fields)
        answered += seen.answered
        measurements = [
            seen.measure(gate) if rollout.playbook.judges_pairs(gate) else each
            for gate, each in zip(window.gates, measurements, strict=True)
        ]
    of_all = list[Measurement]()
    if whole is not None:
        pooled, compared = (
            [gate for gate in whole.gates if gate.compares is each] for each in (False, True)
        )
        of_all = measure(replace(whole, gates=pooled))[1]
        before = (
            _steps_before(connection, rollout, replace(whole, gates=compared)) if compared else []
        )
        steps = [measure(each)[1] for each in before]
        newest = {each.measure: each for each in measurements}
        for place, gate in enumerate(compared):
            of_all.append(combine([*(each[place] for each in steps), newest[gate.measure]]))
    return Figures(
        answered, measurements, _measure_moved_share(connection, window, receiving), of_all
    )


def _steps_before(
    connection: Connection, of: Rollout, whole: MeasuredWindow
) -> list[MeasuredWindow]:
    """Return the windows of the steps before the current one."""
    entered = (Happened.STARTED, Happened.STEPPED)
    began = (each.at for each in log(connection, of.id) if each.event in entered)
    return [replace(whole, since=since, until=until) for since, until in pairwise(began)]


def _measure_window(
    connection: Connection, window: MeasuredWindow, receiving: Arm, giving: Arm, now: datetime
) -> tuple[int, list[Measurement]]:
    """Return how many items the receiving side answered, and its measurement for each gate."""
    if not window.gates:
        return 0, []
    unit_usd = _unit_usd(connection, window, giving)
    row = _count_arm(connection, window, receiving, unit_usd, now)
    measurements = [_measurement(gate, row) for gate in window.gates]
    if any(gate.compares for gate in window.gates):
        other = _count_arm(connection, window, giving, unit_usd, now)
        measurements = [
            attach_other(each, _measurement(gate, other), window.direction.giving)
            if gate.compares
            else each
            for gate, each in zip(window.gates, measurements, strict=True)
        ]
    return row.answered, measurements


def measure_giving_side(
    connection: Connection, of: MeasuredWindow, *, now: datetime
) -> tuple[int, list[Measurement]]:
    """Return how many items the side that gives traffic away tried, and its measurement for each gate."""
    _, giving = _arms(connection, of)
    if giving is None:
        return 0, unavailable(of.gates, "the version in force cannot be read")
    row = _count_arm(connection, of, giving, _unit_usd(connection, of, giving), now)
    return row.tried, [_measurement(gate, row) for gate in of.gates]


def measure_batch_lane(
    connection: Connection, of: MeasuredWindow, spec: Spec, *, now: datetime
) -> list[Measurement]:
    """Return a measurement for each gate, from all items of the batch lane, for any route reason."""
    row = _count_arm(connection, of, Arm(spec, Lane.BATCH, is_split=False), None, now)
    return [_measurement(gate, row) for gate in of.gates]


def _unit_usd(connection: Connection, window: MeasuredWindow, giving: Arm) -> float | None:
    """Return the unit in which the costs of two versions are compared; None if each item's own estimate is the unit."""
    if giving.version is None or all(gate.measure is not Measure.SAVING for gate in window.gates):
        return None
    given = {
        "routes_before": window.routes_before,
        "version": giving.version,
        "many": UNIT_OF,
        "oldest": window.routes_before - UNIT_WITHIN,
    }
    return connection.execute(text(UNIT), given).scalar_one()


def _measure_moved_share(
    connection: Connection, window: MeasuredWindow, receiving: Arm
) -> SampleShare:
    """Return the share of the items routed by the split that went to real time, or to the new version."""
    row = connection.execute(
        text(MOVED if receiving.version is None else MOVED_TO_VERSION),
        {
            "routes_before": window.routes_before,
            "since": window.since + SETTLES_WITHIN,
            "workload": window.workload,
            "consumer": window.consumer,
            "version": receiving.version,
        },
    ).one()
    return SampleShare(row.hits, row.samples)


def _count_arm(
    connection: Connection, window: MeasuredWindow, arm: Arm, unit_usd: float | None, now: datetime
) -> Any:
    """Return the counts of one side's items, from its statement."""
    slow_s = next((gate.max for gate in window.gates if gate.measure is Measure.P95_S), None)
    return connection.execute(
        text(arm.statement),
        {
            "routes_before": window.routes_before,
            "since": window.since,
            "until": window.until,
            "lane": arm.lane,
            "lanes": [*Lane] if arm.lane is None else [arm.lane],
            "version": arm.version,
            "workload": window.workload,
            "consumer": window.consumer,
            "slow_s": slow_s,
            "now": now,
            "longest_in_realtime": longest_out(arm.spec, Lane.REALTIME),
            "longest_in_batch": longest_out(arm.spec, Lane.BATCH),
            "departs_within": DEPARTS_WITHIN,
            "measures_costs": any(gate.measure in MEANS for gate in window.gates),
            "unit_usd": unit_usd,
        },
    ).one()


def unavailable(gates: Sequence[Gate], problem: str) -> list[Measurement]:
    """Return measurements without a value that state the problem."""
    return [Measurement(gate.measure, None, 0, problem=problem) for gate in gates]


def _measurement(gate: Gate, row: Any) -> Measurement:
    match gate.measure:
        case Measure.ERROR_RATE:
            return _share(gate.measure, row.tried, row.failed, row.maybe_failed, bad=True)
        case Measure.DEADLINES_MET:
            return _share(gate.measure, row.due, row.missed, row.maybe_missed, bad=False)
        case Measure.AGREEMENT:
            return _share(gate.measure, row.compared, row.corrected, 0, bad=False)
        case Measure.CORRECTION_RATE:
            return _share(gate.measure, row.compared, row.corrected, 0, bad=True)
        case Measure.ACCURACY:
            return _share(gate.measure, row.labeled, row.mistaken, 0, bad=False)
        case Measure.COST_USD:
            return _mean(gate.measure, row.costs or [])
        case Measure.SAVING:
            return _mean(gate.measure, row.of_estimates or [])
        case Measure.P95_S:
            return Measurement(
                gate.measure, row.p95_s, row.timed, row.slow, doubtful=row.maybe_slow
            )


def _mean(measure: Measure, costs: Sequence[float]) -> Measurement:
    """Return the mean cost of the samples."""
    value = fmean(costs) if costs else None
    # A single object: Prefect does not traverse it when a task receives it as an argument.
    packed = array("d", costs)
    return Measurement(measure, value, len(costs), costs=packed)


def _share(measure: Measure, samples: int, wrong: int, doubtful: int, *, bad: bool) -> Measurement:
    """Return the share of the samples that are wrong (`bad`), or of those that are right."""
    counted = wrong if bad else samples - wrong
    value = counted / samples if samples else None
    return Measurement(measure, value, samples, wrong, doubtful=doubtful)
