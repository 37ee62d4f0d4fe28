"""Report figures that are read from the facts themselves: limits, pack sizes, rescues, sheds, and everything open."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from lanes.ids import VersionId
from lanes.money.pack_size import PackDecision, PackEvidence, PackPlace, total
from lanes.promises.incident import Handling, Incident, IncidentState, Promise, Severity
from lanes.promises.quality import QualityMeasure
from lanes.realtime.circuit import CircuitState
from lanes.report import figures
from lanes.report.figures import (
    CapacityFigures,
    CircuitFigures,
    PackFigures,
    RescueFigures,
    ShedFigures,
)
from lanes.routing.capacity import Limit, LimitKind, Need, WaitingItems, drain_time_s
from lanes.routing.lane_rules import MAY_WAIT
from lanes.store.asking import Ask, read_as
from lanes.store.figures import reading
from lanes.store.money import sharing as sizes
from lanes.store.states import ANSWERING, OPEN_ROLLOUT
from lanes.units import pluralize
from lanes.words import Lane

if TYPE_CHECKING:
    from lanes.rollouts.rollout import Rollout

# All open incidents, newest first, then the newest of those that were opened in the period and have been resolved.
INCIDENTS = """
with listed as (
  (select i.* from lanes.incident i where i.state = 'open')
  union all
  (select i.* from lanes.incident i where i.state = 'resolved' and i.opened_at >= :since order by i.id desc limit :most))
select id, uid::text as uid, promise, workload, subject, severity, state, value, limit_value, samples, unit, sentence,
       opened_at, updated_at, resolved_at, why, opened_value, flow_run_id, block_id, briefing, parent_id,
       handling, handled_by, handled_why, handled_at, handled_until
  from listed order by state = 'open' desc, id desc
"""

CIRCUITS = """
select account, model, state, began_at as since, faults, why
  from lanes.outage where over_at is null and state <> 'closed' order by account, model
"""

ROLLOUTS = f"""
select * from lanes.rollout where state in {OPEN_ROLLOUT} or ended_at >= :since order by id desc
"""


def incidents(ask: Ask, since: datetime, *, most: int) -> list[Incident]:
    """Return the open incidents, newest first, then the newest `most` that were opened since `since` and resolved."""
    return [
        read_as(
            Incident,
            row,
            promise=Promise(row.promise),
            severity=Severity(row.severity),
            state=IncidentState(row.state),
            handling=row.handling and Handling(row.handling),
        )
        for row in ask(INCIDENTS, since=since, most=most)
    ]


def circuits(ask: Ask) -> list[CircuitFigures]:
    """Return the circuits that are not closed."""
    return [read_as(CircuitFigures, row, state=CircuitState(row.state)) for row in ask(CIRCUITS)]


def rollouts(ask: Ask, since: datetime) -> "list[Rollout]":
    """Return the open rollouts and those that ended since `since`, newest first."""
    rows = ask(ROLLOUTS, since=since)
    if not rows:
        return []
    # The playbook's model is imported only if there is a rollout.
    from lanes.rollouts.rollout import read_rollout

    return [read_rollout(row) for row in rows]


OF_LATE = timedelta(minutes=5)  # the current rate is the mean over this time
USUAL = timedelta(days=1)  # an item's usage is the mean over this time
SHOWN_FOR = timedelta(days=1)  # limits that no drain has seen within this time are not shown

LIMITS = """
select account, model, kind, limit_, remaining, reset_at, seen_at
  from lanes.capacity where seen_at >= :shown_since order by account, model, kind
"""

# Waiting real-time work by the account and model that it uses, with the average usage of its calls and the number of items that
# were answered recently.
WAITING_WORK = f"""
with known as (select distinct account, model from lanes.capacity where seen_at >= :shown_since),
asked as (
  select f.name as workload, k.account, k.model
    from lanes.workload f join lanes.version v on v.id = f.version_id
    join known k on k.model = v.realtime_model and coalesce(f.account, k.account) = k.account),
calls as (
  select workload, sum(n) as calls, sum(items) as items, sum(input + written) as input, sum(output) as output
    from lanes.figures_since('{{call}}', :usual_since) where lane = 'realtime' group by 1),
recent as (
  select workload, sum(items) as items
    from lanes.figures_since('{{call}}', :recently) where lane = 'realtime' group by 1),
ready as (
  select workload, count(*) as items from (
    select workload from lanes.work
     where lane = 'realtime' and state = 'ready' and purpose in {ANSWERING}
       and workload in (select workload from asked)
    union all
    select workload from lanes.work where lane = 'realtime' and state = 'claimed') w
   group by 1)
select a.account, a.model, coalesce(r.items, 0)::bigint as waiting, coalesce(n.items, 0)::float8 as answered,
       coalesce(c.calls / nullif(c.items, 0), 1)::float8 as requests,
       coalesce(c.input / nullif(c.items, 0), 0)::float8 as input,
       coalesce(c.output / nullif(c.items, 0), 0)::float8 as output
  from asked a left join ready r using (workload) left join calls c using (workload) left join recent n using (workload)
"""


def capacity(ask: Ask, *, now: datetime) -> list[CapacityFigures]:
    """Return the capacity of each account and model whose limits were seen within the last day."""
    at = {"shown_since": now - SHOWN_FOR, "usual_since": now - USUAL, "recently": now - OF_LATE}
    limits = defaultdict[tuple[str, str], list[Limit]](list)
    for row in ask(LIMITS, shown_since=at["shown_since"]):
        limits[row.account, row.model].append(
            Limit(LimitKind(row.kind), row.limit_, row.remaining, row.reset_at, row.seen_at)
        )
    if not limits:
        return []
    asked = defaultdict[tuple[str, str], list[Any]](list)
    for row in ask(WAITING_WORK, **at):
        asked[row.account, row.model].append(row)
    return [_capacity(*of, told, asked[of], now) for of, told in limits.items()]


def _capacity(
    account: str, model: str, told: list[Limit], asked: list[Any], now: datetime
) -> CapacityFigures:
    waiting = [WaitingItems(of.waiting, Need(of.input, of.output, of.requests)) for of in asked]
    per_s = sum(row.answered for row in asked) / OF_LATE.total_seconds()
    drain_s = drain_time_s(waiting, told, per_s=per_s or None, now=now)
    return CapacityFigures(account, model, told, sum(each.items for each in waiting), drain_s)


VERSIONS = """
select w.name as workload, v.id, v.realtime_model, v.batch_model
  from lanes.workload w join lanes.version v on v.id = w.version_id order by w.name
"""


def pack_sizes(
    ask: Ask, checks_usd: Mapping[tuple[str, Lane], Decimal], *, now: datetime
) -> list[PackFigures]:
    """Return each lane's pack size if it was decided or compared, or if its comparison had a cost."""
    last = sizes.read_in_force(ask)
    places: list[tuple[VersionId, PackPlace]] = []
    for row in ask(VERSIONS):
        id_, models = (
            VersionId(row.id),
            {Lane.REALTIME: row.realtime_model, Lane.BATCH: row.batch_model},
        )
        places += [(id_, PackPlace(row.workload, lane, models[lane])) for lane in Lane]
    known = sizes.evidence(ask, places, last, now=now)
    found: list[PackFigures] = []
    for id_, place in places:
        decision, seen = last.get(place), known[id_, place.lane]
        usd = checks_usd.get((place.workload, place.lane), Decimal(0))
        if decision is not None or seen.packed or usd:
            found.append(_pack_figures(place, decision, seen, usd))
    return found


def _pack_figures(
    place: PackPlace, last: PackDecision | None, seen: PackEvidence, checks_usd: Decimal
) -> PackFigures:
    size, allowed, since, why = (
        (last.size, last.allowed, last.decided_at, last.why) if last else (None, None, None, "")
    )
    packed = total(seen.packed.values())
    return PackFigures(
        place.workload, place.lane, size, allowed, packed, seen.alone, since, why, checks_usd
    )


MOST_RESCUED = 10_000  # items, the most recently rescued ones

RESCUED = f"""
with rescued as (
  select i.id, i.workload, i.due_at, i.answered_at
    from (select item_id from lanes.route where reason = 'rescue' and decided_at >= :since
           order by decided_at desc limit {MOST_RESCUED}) r
    join lanes.item i on i.id = r.item_id
   where i.canceled_at is null)
select r.workload, count(*) as items, count(*) filter (where r.answered_at <= r.due_at) as met,
       count(*) filter (where r.answered_at is null and r.due_at > :now) as waiting,
       coalesce(sum(b.usd), 0) as usd, coalesce(sum(b.usd) filter (where b.in_batch > 0), 0) as twice_usd
  from rescued r
 cross join lateral (
   select sum(a.cost_usd) filter (where a.lane = 'realtime') as usd,
          count(*) filter (where a.lane = 'batch' and a.message_id is not null) as in_batch
     from lanes.attempt a where a.item_id = r.id) b
 group by 1 order by 1
"""


def rescues(ask: Ask, *, since: datetime, now: datetime) -> list[RescueFigures]:
    """Return the items rescued since `since` by workload, from the newest `MOST_RESCUED`."""
    return [read_as(RescueFigures, row) for row in ask(RESCUED, since=since, now=now)]


MOST_SHED = 1_000  # newest items; enough to measure the time until they are answered

BECAME = f"""
with newest as materialized (
  select item_id, explanation, decided_at from lanes.route
   where reason = 'shed' and decided_at >= :since order by decided_at desc limit {MOST_SHED})
select i.workload, count(*) as looked_at, count(i.answered_at) as answered,
       percentile_cont(array[0.5, 0.95]) within group
         (order by extract(epoch from i.answered_at - n.decided_at)::float8) as took_s,
       (array_agg(n.explanation order by n.decided_at desc))[1] as why
  from newest n
 cross join lateral (select i.workload, i.answered_at from lanes.item i where i.id = n.item_id offset 0) i
 group by i.workload
"""


def sheds(
    ask: Ask, counted: Mapping[str, tuple[int, Decimal]], *, since: datetime
) -> list[ShedFigures]:
    """Return each workload that shed items; `counted` has their number and their saving in US dollars."""
    if not counted:
        return []
    became = {row.workload: row for row in ask(BECAME, since=since)}
    return [
        _build_shed_figures(workload, items, usd, became.get(workload))
        for workload, (items, usd) in sorted(counted.items())
    ]


def _build_shed_figures(workload: str, items: int, usd: Decimal, row: Any) -> ShedFigures:
    # Other workloads have shed more items since, so none of this workload's is among the newest.
    if row is None:
        return ShedFigures(workload, items, usd, 0, 0, None, None, "")
    p50_s, p95_s = row.took_s or (None, None)
    why = row.why.partition(MAY_WAIT)[0]
    return ShedFigures(workload, items, usd, row.looked_at, row.answered, p50_s, p95_s, why)


def quality(ask: Ask) -> list[figures.QualityFigures]:
    """Return up to three classes for each watched figure of the versions in force: the largest or most changed ones.

    Accuracy is listed before its reference is complete, with the number of labels that it still needs.
    """
    found: list[figures.QualityFigures] = []
    for watched in reading.list_watched(ask, drifted=False):
        named = (watched.workload, watched.lane, watched.version, watched.description)
        watch = watched.watch
        if watch.lacking and watched.measure is QualityMeasure.ACCURACY and not watched.is_of_class:
            state = f"lacks {pluralize(watch.lacking, 'label')}"
            found.append(figures.QualityFigures(*named, [], state))
        if watch.portions:
            before, now = watch.shares(now=False), watch.shares(now=True)
            moved = [abs(a - b) + b for a, b in zip(before, now, strict=True)]
            places = sorted(range(len(now)), key=lambda each: -moved[each])[:3]
            rates = [(watch.label(each), before[each], now[each]) for each in places if moved[each]]
            state = "drifts" if watch.is_drifting else "steady"
            found.append(figures.QualityFigures(*named, rates, state))
    return found


SECOND_PASSES = """
select f.name as workload, c.key as name, c.value as record
  from lanes.workload f join lanes.second_pass s on s.version_id = f.version_id cross join lateral jsonb_each(s.classes) c
 order by 1, 2
"""


def second_passes(ask: Ask) -> list[figures.SecondPassFigures]:
    """Return the classes of early answers that may skip second passes, for the versions in force, with their counts so far."""
    rows = ask(SECOND_PASSES)
    if not rows:
        return []
    from lanes.promises.second_pass import ClassRecord

    found: list[figures.SecondPassFigures] = []
    for row in rows:
        of = ClassRecord.model_validate(row.record)
        usd = of.saved * of.usd / of.passes if of.passes else None
        name, counts = row.name or "other", (of.answers, of.saved, usd, of.agreement)
        found.append(
            figures.SecondPassFigures(
                row.workload, name, of.sampled, of.since, *counts, of.most_missed
            )
        )
    return found
