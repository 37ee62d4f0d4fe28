"""The evidence for advice on a workload, read from the ledger, the routes and the reads."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from lanes.advice.evidence import AT_ONCE_S, LATER_S, ConsumerUse, Evidence, LimitUse
from lanes.errors import UnknownWorkload
from lanes.ids import VersionId
from lanes.money.budget import month_usd
from lanes.money.cost import estimate_shared_tokens
from lanes.money.overhead import Overheads
from lanes.packing import history_chars
from lanes.routing.capacity import Limit, LimitKind, Need
from lanes.routing.lane_rules import asks_for
from lanes.routing.prospect import BatchDeparture, BatchProfile
from lanes.statistics.figures import Durations, Kind
from lanes.store import asking
from lanes.store.advice.billing import (
    ListPrices,
    Spent,
    count_answers_of_others,
    days_seen,
    sum_spending,
)
from lanes.store.asking import Ask
from lanes.store.figures.reading import add_up, select_kind, sum_column, sum_usd
from lanes.store.money import budget_status, overheads
from lanes.store.routing import turnarounds
from lanes.store.states import ANSWERING
from lanes.words import Lane, Mode, Reason
from lanes.workload.window import LEAD

IN_FORCE = """
select w.name as workload, v.id as version_id, v.number, v.mode, v.realtime_model, v.batch_model, v.batch_expected_minutes,
       v.confidence
  from lanes.workload w join lanes.version v on v.id = w.version_id
 where cast(:workload as text) is null or w.name = :workload
 order by w.name
"""

# All counts in one query. Items, calls and attempts are counted by UTC day. An age is that of the middle of its day, or of
# the part of the day that has passed, so that it does not depend on which rows are folded.
COUNTED = f"""
select workload, version_id, kind, lane, purpose, consumer, word,
       case when kind in ('item', 'call', 'attempt') then (at at time zone 'UTC')::date end as day,
       sum(n)::bigint as n, sum(items)::bigint as items, sum(usd) as usd, sum(realtime_usd) as realtime_usd,
       sum(batch_usd) as batch_usd, sum(input + cached + written)::bigint as input_tokens, sum(output)::bigint as output_tokens,
       sum(cached)::bigint as cached_tokens, sum(written)::bigint as written_tokens,
       sum(n * (since_s - least(since_s, 86400) / 2))::float8 as age_s
  from lanes.figures_since('{{item,due,urgent,route,asked,first,read,compared,call,attempt}}', :since),
       lateral (select extract(epoch from cast(:now as timestamptz) - date_trunc('day', at, 'UTC')) as since_s) aged
 where workload = any(:workloads) and (purpose is null or purpose in {ANSWERING})
 group by 1, 2, 3, 4, 5, 6, 7, 8
"""

# The mean distance of recent corrections to answers of versions in force, among the newest corrections of all workloads: a
# correction does not name its workload.
DISTANCE = """
select w.name as workload, avg(c.distance) as distance
  from (select authoritative_id, distance, corrected_at from lanes.correction order by id desc limit 500) c
  join lanes.result r on r.id = c.authoritative_id
  join lanes.workload w on w.version_id = r.version_id
 where w.name = any(:workloads) and c.corrected_at >= :since
 group by 1
"""

TIMED = """
select workload, kind, lane, consumer, buckets, counts from lanes.figure_hist_since('{first,read,due}', :since)
 where workload = any(:workloads)
"""

# Figures do not count unrouted items yet, so these are counted in their table.
UNROUTED = """
select workload, (received_at at time zone 'UTC')::date as day, count(*) as n, count(*) filter (where urgent) as urgent,
       coalesce(array_agg(extract(epoch from due_at - received_at)::float8) filter (where due_at is not null), '{}') as due_s
  from lanes.item
 where workload = any(:workloads) and position is null and canceled_at is null and received_at >= :since
 group by 1, 2
"""

# Answers of the last minute may still be read at once. Both bounds are given because a generic plan expects few rows then.
YOUNG = """
select i.workload, i.consumer, count(distinct i.id) as n
  from lanes.attempt a join lanes.item i on i.id = a.item_id
 where a.workload = any(:workloads) and a.lane = 'realtime' and a.shown
   and a.ended_at >= :now - 2 * cast(:at_once as interval) and a.ended_at <= :now + 2 * cast(:at_once as interval)
   and i.answered_at >= :now - cast(:at_once as interval) and i.canceled_at is null and i.received_at >= :since
   and not exists (select from lanes.read r where r.item_id = i.id and r.result_id is not null and r.read_at >= i.answered_at)
 group by 1, 2
"""

# An hour with unfolded rows or unrouted items is counted minute by minute; all other hours have a stored peak.
BUSIEST = """
with moving as materialized (
  select workload, date_trunc('hour', at, 'UTC') as at from lanes.figure_delta
   where kind = 'item' and workload = any(:workloads) and at >= :since
  union
  select workload, date_trunc('hour', received_at, 'UTC') from lanes.item
   where workload = any(:workloads) and position is null and canceled_at is null and received_at >= :since),
minutes as (
  select workload, at, sum(n) as n from (
    select h.workload, f.at, f.n
      from moving h
      join lanes.figure f on f.grain = 'minute' and f.kind = 'item' and f.word <> 'canceled' and f.workload = h.workload
                         and f.at >= h.at and f.at < h.at + interval '1 hour'
    union all
    select workload, at, n from lanes.figure_delta
     where kind = 'item' and workload = any(:workloads) and at >= :since and word <> 'canceled'
    union all
    select workload, date_trunc('minute', received_at, 'UTC'), 1 from lanes.item
     where workload = any(:workloads) and position is null and canceled_at is null and received_at >= :since) each
   group by 1, 2 having sum(n) > 0),
hours as (
  select workload, max(n) as n, min(at) as at from lanes.figure_peak p
   where workload = any(:workloads) and at >= :since and n > 0
     and not exists (select from moving h where h.workload = p.workload and h.at = p.at)
   group by 1)
select a.workload, least(m.at, f.at) as first_at, coalesce(greatest(m.n, h.n), 0)::bigint as n
  from unnest(cast(:workloads as text[])) a (workload)
  left join hours h on h.workload = a.workload
  left join lateral (
    select f.at from lanes.figure f
     where f.grain = 'minute' and f.kind = 'item' and f.word <> 'canceled' and f.workload = h.workload
       and f.at >= h.at and f.n > 0
     order by f.at limit 1) f on true
  left join (select workload, min(at) as at, max(n) as n from minutes group by 1) m on m.workload = a.workload
"""

# The newest limits that the provider reported for a workload's real-time model.
LIMITS = """
select distinct on (f.name, c.kind) f.name as workload, c.kind, c.limit_, c.remaining, c.reset_at, c.seen_at
  from lanes.workload f
  join lanes.version v on v.id = f.version_id
  join lanes.capacity c on c.model = v.realtime_model and c.account = coalesce(f.account, c.account)
 where f.name = any(:workloads) and c.seen_at >= :since
 order by f.name, c.kind, c.seen_at desc
"""

QUESTIONS = {
    "counted": COUNTED,
    "timed": TIMED,
    "unrouted": UNROUTED,
    "young": YOUNG,
    "busiest": BUSIEST,
    "limits": LIMITS,
    "distance": DISTANCE,
}


if TYPE_CHECKING:
    from sqlalchemy import Connection

    from lanes.routing.turnaround import Turnarounds
    from lanes.workload.version import Version

NEWEST = 5_000  # newest items of all workloads, searched for those of one workload
MOST_ITEMS = 200


@dataclass(frozen=True)
class AdvisedVersion:
    """The columns of a workload's version in force that advice reads."""

    workload: str
    version: VersionId
    number: int
    mode: Mode
    models: Mapping[Lane, str]
    batches: BatchProfile
    confidence: float  # required probability that a batch is back in time


def read_in_force(ask: Ask, workload: str | None = None) -> list[AdvisedVersion]:
    """Return the version in force of a workload, or of every workload, ordered by name."""
    return [
        AdvisedVersion(
            row.workload,
            row.version_id,
            row.number,
            Mode(row.mode),
            {Lane.REALTIME: row.realtime_model, Lane.BATCH: row.batch_model},
            BatchProfile(row.batch_model, timedelta(minutes=row.batch_expected_minutes)),
            row.confidence,
        )
        for row in ask(IN_FORCE, workload=workload)
    ]


def evidence(
    connection: "Connection", workload: str, *, since: datetime, now: datetime
) -> Evidence:
    """Return the evidence of a workload from the hour of `since` to `now`; durations and due times are accurate within 2 %.

    A version that has not routed anything yet is priced with the workload's newest items.

    Raises:
        UnknownWorkload: no workload of that name has a published version.
    """
    ask = asking.through(connection)
    versions = read_in_force(ask, workload)
    # Imported here so that a report that only reads loads neither SQLAlchemy nor schemas.
    from lanes.store.workload import workloads

    if not versions:
        raise UnknownWorkload(workloads.UNPUBLISHED.format(workload))
    read = workloads.versions(connection, [each.version for each in versions]).values()
    shared = {each.workload: estimate_shared_tokens(each.spec) for each in read}
    seen = read_each(ask, versions, since=since, now=now, shared=shared)[workload]
    if seen.estimated_realtime_usd is None:
        for each in read:
            realtime, batch = mean_estimate(connection, each, now=now) or (None, None)
            seen = replace(seen, estimated_realtime_usd=realtime, estimated_batch_usd=batch)
    return seen


def basis(
    connection: "Connection", workload: str, *, since: datetime, now: datetime
) -> tuple[Evidence, Overheads]:
    """Return the basis of advice on a workload: its evidence and the overheads of its lanes.

    Raises:
        UnknownWorkload: no workload of that name has a published version.
    """
    seen = evidence(connection, workload, since=since, now=now)
    return seen, overheads.read_each(asking.through(connection), [workload], now=now)[workload]


def read_each(
    ask: Ask,
    versions: Sequence[AdvisedVersion],
    *,
    since: datetime,
    now: datetime,
    shared: Mapping[str, int] | None = None,
) -> dict[str, Evidence]:
    """Return the evidence of several workloads by name; each query runs once for all of them.

    `shared` has the number of tokens that every call of a workload repeats; without it the evidence has no savings.
    """
    given = {
        "workloads": [each.workload for each in versions],
        "since": since.replace(minute=0, second=0, microsecond=0),
        "now": now,
        "at_once": timedelta(seconds=AT_ONCE_S),
    }

    def answers(query: str) -> dict[str, list[Any]]:
        found = defaultdict[str, list[Any]](list)
        for row in ask(query, **given):
            found[row.workload].append(row)
        return found

    seen = {name: answers(query) for name, query in QUESTIONS.items()} if versions else {}
    laws = turnarounds.read(ask, now=now)
    limits = [each.budget for each in budget_status.of(ask, given["workloads"], now=now)]
    return {
        each.workload: replace(
            _of(
                each,
                {name: seen[name][each.workload] for name in seen},
                laws,
                now,
                (shared or {}).get(each.workload),
            ),
            budget_month_usd=month_usd(
                limit for limit in limits if limit.workload == each.workload
            ),
        )
        for each in versions
    }


def _of(
    version: AdvisedVersion,
    rows_by_query: Mapping[str, Sequence[Any]],
    laws: "Turnarounds",
    now: datetime,
    shared: int | None,
) -> Evidence:
    counted, unrouted = rows_by_query["counted"], rows_by_query["unrouted"]
    early = BatchDeparture(version.batches, laws, now + LEAD)  # the same estimate as the router's
    batch_expected_s = (early.back_at(version.confidence) - now).total_seconds()
    arrived = [each for each in counted if each.kind == "item" and each.word != "canceled"]
    ours = [each for each in counted if each.version_id == version.version]
    priced, compared = select_kind(ours, "route"), select_kind(ours, "compared")
    billed, prices = sum_spending(counted, version.version), ListPrices(version.models, now)
    of_others = count_answers_of_others(counted, version.version)
    kinds = Kind.FIRST, Kind.READ, Kind.DUE
    timed = {kind: select_kind(rows_by_query["timed"], kind) for kind in kinds}
    due = [
        pair for each in add_up(timed[Kind.DUE], "workload").values() for pair in each.list_counts()
    ]
    due += [(seconds, 1) for each in unrouted for seconds in each.due_s]
    first = add_up(timed[Kind.FIRST], "lane")
    (busiest,) = rows_by_query["busiest"]
    days = days_seen(counted, [*arrived, *unrouted], prices, busiest.first_at, now, version.version)
    return Evidence(
        version.workload,
        version.mode,
        days=(now - busiest.first_at).total_seconds() / 86_400 if busiest.first_at else 0.0,
        items=sum_column(arrived, "n") + sum_column(unrouted, "n"),
        realtime=prices.use(Lane.REALTIME, billed, first),
        batch=prices.use(Lane.BATCH, billed, first),
        estimated_realtime_usd=_mean(priced, "realtime_usd"),
        estimated_batch_usd=_mean(priced, "batch_usd"),
        batch_list_share=prices.batch_share(billed, otherwise=Evidence.batch_list_share),
        with_due=sum_column(select_kind(counted, "due"), "n")
        + sum(len(each.due_s) for each in unrouted),
        urgent=sum_column(select_kind(counted, "urgent"), "n") + sum_column(unrouted, "urgent"),
        due_within_5s=sum(n for seconds, n in due if seconds <= 5),
        due_before_batch=sum(n for seconds, n in due if seconds < batch_expected_s),
        batch_expected_s=batch_expected_s,
        peak_per_minute=busiest.n,
        days_arrivals=[each.items for each in days[1:-1]],
        days_seen=days,
        compared=sum_column(compared, "n"),
        corrected=sum_column(compared, "items"),
        distance=rows_by_query["distance"][0].distance if rows_by_query["distance"] else None,
        consumers=_consumers(counted, add_up(timed[Kind.READ], "consumer"), rows_by_query["young"]),
        limits=_limit_uses(
            rows_by_query["limits"],
            _takes(select_kind(counted, "call"), billed.get(Lane.REALTIME)),
            now,
        ),
        provider_discount=prices.discount(otherwise=Evidence.provider_discount),
        models=prices.others(billed),
        savings=None if shared is None or of_others else prices.compute_savings(counted, shared),
        version=version.number,
        of_others=of_others,
    )


def _limit_uses(rows: Iterable[Any], need: Need, now: datetime) -> tuple[LimitUse, ...]:
    """Return each limit with the average use by one item."""
    limits = [
        Limit(LimitKind(row.kind), row.limit_, row.remaining, row.reset_at, row.seen_at)
        for row in rows
    ]
    return tuple(
        LimitUse(
            limit.kind.label,
            limit.limit,
            limit.estimate_remaining(limit.seen_at),
            need.of(limit.kind),
            max(0.0, (now - limit.seen_at).total_seconds()),
        )
        for limit in limits
    )


def _takes(calls: Iterable[Any], billed: Spent | None) -> Need:
    """Return an item's average use of the real-time limits; without calls, an item counts as one request."""
    ours = [call for call in calls if call.lane == Lane.REALTIME]
    requests = sum_column(ours, "n") / max(1, sum_column(ours, "items")) or 1.0
    answers = max(1, billed.answered) if billed else 1
    return (
        Need(billed.input_tokens / answers, billed.output_tokens / answers, requests)
        if billed
        else Need(0, 0, requests)
    )


def _mean(rows: Sequence[Any], measure: str) -> float | None:
    n = sum_column(rows, "n")
    return float(sum_usd(rows, measure) / n) if n else None


def _consumers(
    counted: Iterable[Any], read: Mapping[str | None, Durations], young: Iterable[Any]
) -> list[ConsumerUse]:
    """Return the use by each consumer, from counts and read times.

    An item's first route shows its request; later routes follow from later events. Only items that real-time answered first
    show whether a reader waited. A read before the answer is only an attempt to read and does not count.
    """
    rows = defaultdict[str | None, list[Any]](list)
    for each in counted:
        if each.kind in ("asked", "first", "read"):
            rows[each.consumer].append(each)
    fresh = {each.consumer: each.n for each in young}
    uses = [
        _consumer(consumer, of, read.get(consumer), fresh.get(consumer, 0))
        for consumer, of in rows.items()
    ]
    uses.sort(key=lambda each: (-each.routed, each.consumer is None, each.consumer))
    return [each for each in uses if each.routed]


def _consumer(
    consumer: str | None, rows: Sequence[Any], timed: Durations | None, young: int
) -> ConsumerUse:
    asked, read = select_kind(rows, "asked"), select_kind(rows, "read")
    first = [each for each in select_kind(rows, "first") if each.lane == Lane.REALTIME]
    unread_s = sum(each.age_s for each in first) - sum(each.age_s for each in read)
    answered = sum_column(first, "n")
    reads, delays = sum_column(read, "n"), tuple(timed.list_counts()) if timed else ()
    return ConsumerUse(
        consumer,
        routed=sum_column(asked, "n"),
        demanded=sum_column((each for each in asked if _asks_for(each) is Lane.REALTIME), "n"),
        deferred=sum_column((each for each in asked if _asks_for(each) is Lane.BATCH), "n"),
        realtime=sum_column((each for each in asked if each.lane == Lane.REALTIME), "n"),
        reads=reads,
        at_once=sum_column(read, "items"),
        median_s=timed.percentile_s(0.5) if timed else None,
        later=sum(n for seconds, n in delays if seconds >= LATER_S),
        unknown=(unknown := max(answered - reads - young, 0)),
        delays=delays,
        unread_s=max(unread_s, 0.0) if unknown else 0.0,
    )


def _asks_for(asked: Any) -> Lane | None:
    return asks_for(Reason(asked.word), Lane(asked.lane))


def mean_estimate(
    connection: "Connection", version: "Version", *, now: datetime
) -> tuple[float, float] | None:
    """Return an item's mean estimated cost on real-time and on batch, in US dollars; None without items or a price.

    The estimate uses the newest items of the workload, and serves a version that has not routed any item yet.
    """
    from sqlalchemy import select

    from lanes.store.doors.full_data import read_lengths
    from lanes.store.money import sharing
    from lanes.store.statements import characters
    from lanes.store.tables import item

    columns = item.c.id, item.c.workload, item.c.payload, item.c.emptied_at
    newest = select(*columns).order_by(item.c.id.desc()).limit(NEWEST).subquery()
    wanted = select(newest.c.id, characters(newest.c.payload).label("chars"))
    kept = newest.c.workload == version.workload, newest.c.emptied_at.is_(None)
    rows = connection.execute(wanted.where(*kept).limit(MOST_ITEMS)).all()
    lengths = read_lengths(connection, {row.id: version for row in rows})
    estimates = sharing.estimates(connection, now=now)
    sizes = [(row.chars, history_chars(lengths.get(row.id, ()))) for row in rows]
    try:
        item_estimates = [estimates.of(version, *each) for each in sizes]
    except LookupError:  # one of the version's models has no price
        return None
    if not item_estimates:
        return None
    realtime = sum(each.realtime for each in item_estimates) / len(item_estimates)
    return float(realtime), float(sum(each.batch for each in item_estimates) / len(item_estimates))
