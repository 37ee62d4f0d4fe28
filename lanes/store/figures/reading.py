"""Reading figures: percentiles of bucketed durations, sums, rows of one kind, and the quality of answers."""

from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from lanes.promises.quality import AnswerWatch, QualityMeasure, WatchedFigure
from lanes.statistics.figures import Durations, Kind
from lanes.store.asking import Ask, read_as
from lanes.words import Lane

QUALITY = """
select q.workload, v.number as version, q.lane, q.measure, q.field, q.watch,
       array(select i.key
               from jsonb_array_elements_text(q.watch -> 'drift' -> 'item_ids') with ordinality x (id, place)
               join lanes.item i on i.id = cast(x.id as bigint) and i.forgotten_at is null
              order by x.place desc) as keys
  from lanes.quality q
  join lanes.version v on v.id = q.version_id
  join lanes.workload w on w.name = q.workload and q.version_id in (w.version_id, w.candidate_id)
 where q.has_drift or not :drifted
 order by q.workload, v.number, q.lane, q.measure, q.field
"""


def select_freed_at(model: str) -> str:
    """Return SQL for the end of workload `w`'s last refusal or budget shortage, by a model of version `v`; null if none."""
    return f"""
(select max(o.resolved_at) from lanes.incident o
  where o.state = 'resolved' and o.resolved_at >= :recent
    and (o.workload = '*' and o.promise = 'provider_frozen' and coalesce(w.account, o.subject) = o.subject
         or o.workload = w.name and (o.promise = 'provider_frozen' and o.subject = 'model ' || v.{model}
                                     or o.promise = 'budget' and o.subject in ('day budget', 'month budget'))))
"""


# The end of the last trouble of the real-time lane that the workload's items did not cause.
WELL_SINCE = f"""
greatest(
  (select max(o.over_at) from lanes.outage o
    where o.model = v.realtime_model and coalesce(w.account, o.account) = o.account and o.over_at >= :recent),
  {select_freed_at("realtime_model")})
"""


def percentiles(durations: str, *, by: str, whole: str = "timed", **shares: float) -> str:
    """Return a query of percentiles in seconds, named by their keywords, for each group of `by`; `whole` names the count.

    `durations` is a relation with the columns of `by`, `bucket` and `n`. Percentiles are interpolated as by percentile_cont,
    and accurate within 2 %.
    """
    named = "".join(
        f", sum(lanes.figure_seconds(bucket) * lanes.figure_weight({share}, upto, n, whole)) as {name}"
        for name, share in shares.items()
    )
    return f"""
        select {by}, max(whole) as {whole}{named}
          from (select {by}, bucket, n, (sum(n) over (partition by {by} order by bucket))::bigint as upto,
                       (sum(n) over (partition by {by}))::bigint as whole
                  from (select {by}, bucket, sum(n)::bigint as n from {durations}
                         group by {by}, bucket having sum(n) > 0) of_bucket) ranked
         group by {by}"""


def minutes(kind: Kind, columns: str, *, lane: Lane | None = None) -> str:
    """Return a relation with the minutes of a kind of :workload, from :since to before :until, folded or not."""
    where = f"kind = '{kind}' and workload = :workload and at >= :since and at < :until"
    if lane is not None:
        where += f" and lane = '{lane}'"
    return f"""(
    select {columns} from lanes.figure where grain = 'minute' and {where}
    union all
    select {columns} from lanes.figure_delta where {where}) minutes"""


def add_up(rows: Iterable[Any], *by: str) -> dict[Any, Durations]:
    """Add up rows with `buckets` and `counts` by one column, or by several as a tuple, without empty groups.

    For arrays this is faster than grouping their elements in SQL.
    """
    found = defaultdict[Any, Durations](Durations)
    for row in rows:
        key = tuple(getattr(row, name) for name in by)
        found[key if len(by) > 1 else key[0]].add(row.buckets, row.counts)
    return {key: each for key, each in found.items() if each.count > 0}


def select_kind(rows: Iterable[Any], kind: str) -> list[Any]:
    """Return the rows of a kind."""
    return [each for each in rows if each.kind == kind]


def sum_column(rows: Iterable[Any], measure: str) -> int:
    """Return the sum of a column."""
    return sum(getattr(each, measure) for each in rows)


def sum_usd(rows: Iterable[Any], measure: str) -> Decimal:
    """Return the sum of a column of US dollars."""
    return sum((getattr(each, measure) for each in rows), Decimal(0))


def list_watched(ask: Ask, *, drifted: bool) -> list[WatchedFigure]:
    """Return the watched figures of the versions in force and of the candidates, or only those with a drift."""
    figures = [
        read_as(
            WatchedFigure,
            row,
            lane=Lane(row.lane),
            measure=QualityMeasure(row.measure),
            watch=AnswerWatch.load(row.watch),
        )
        for row in ask(QUALITY, drifted=drifted)
    ]
    return [each for each in figures if each.watch.drift or not drifted]
