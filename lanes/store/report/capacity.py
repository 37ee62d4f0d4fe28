"""Reads what the provider's limits leave of each model, and how long what waits for it in real time takes."""

from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any

from lanes.report.capacity import CapacityFigures
from lanes.routing.capacity import Kind, Limit, Need, Waiting, drain_time_s
from lanes.store.asking import Ask

OF_LATE = timedelta(minutes=5)  # the present rate is that of the minutes since then
USUAL = timedelta(days=1)  # what an item takes is the mean since then
SHOWN_FOR = timedelta(days=1)  # limits that nobody saw for longer are not shown

TOLD = """
select account, model, kind, limit_, remaining, reset_at, seen_at
  from lanes.capacity where seen_at >= :shown_since order by account, model, kind
"""

# Work that waits in real time by the model that its workload asks, what a call of it took on average, and how many items the
# model answered of late.
WAITING = """
with known as (select distinct model from lanes.capacity where seen_at >= :shown_since),
asked as (
  select f.name as workload, v.realtime_model as model
    from lanes.workload f join lanes.version v on v.id = f.version_id join known k on k.model = v.realtime_model),
calls as (
  select workload, sum(n) as calls, sum(items) as items, sum(input + written) as input, sum(output) as output
    from lanes.figures_since('{call}', :usual_since) where lane = 'realtime' group by 1),
recent as (
  select workload, sum(items) as items
    from lanes.figures_since('{call}', :recently) where lane = 'realtime' group by 1),
ready as (
  select workload, count(*) as items from (
    select workload from lanes.work
     where lane = 'realtime' and state = 'ready' and purpose <> 'shadow' and workload in (select workload from asked)
    union all
    select workload from lanes.work where lane = 'realtime' and state = 'claimed') w
   group by 1)
select a.model, coalesce(r.items, 0)::bigint as waiting, coalesce(n.items, 0)::float8 as answered,
       coalesce(c.calls / nullif(c.items, 0), 1)::float8 as requests,
       coalesce(c.input / nullif(c.items, 0), 0)::float8 as input,
       coalesce(c.output / nullif(c.items, 0), 0)::float8 as output
  from asked a left join ready r using (workload) left join calls c using (workload) left join recent n using (workload)
"""


def figures(ask: Ask, *, now: datetime) -> list[CapacityFigures]:
    """Of each account and model whose limits were told within a day."""
    at = {"shown_since": now - SHOWN_FOR, "usual_since": now - USUAL, "recently": now - OF_LATE}
    limits = defaultdict[tuple[str, str], list[Limit]](list)
    for row in ask(TOLD, shown_since=at["shown_since"]):
        limits[row.account, row.model].append(
            Limit(Kind(row.kind), row.limit_, row.remaining, row.reset_at, row.seen_at)
        )
    if not limits:
        return []
    asked = defaultdict[str, list[Any]](list)
    for row in ask(WAITING, **at):
        asked[row.model].append(row)
    return [
        _of(account, model, told, asked[model], now) for (account, model), told in limits.items()
    ]


def _of(
    account: str, model: str, told: list[Limit], asked: list[Any], now: datetime
) -> CapacityFigures:
    waiting = [Waiting(row.waiting, Need(row.input, row.output, row.requests)) for row in asked]
    per_s = sum(row.answered for row in asked) / OF_LATE.total_seconds()
    drain_s = drain_time_s(waiting, told, per_s=per_s or None, now=now)
    return CapacityFigures(account, model, told, sum(each.items for each in waiting), drain_s)
