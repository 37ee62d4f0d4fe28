"""Reads what became of what was shed."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from lanes.report.sheds import ShedFigures
from lanes.routing.binding import MAY_WAIT
from lanes.store.asking import Ask

MOST = 1_000  # of the newest: enough to say how long they take

BECAME = f"""
with newest as materialized (
  select item_id, explanation, decided_at from lanes.route
   where reason = 'shed' and decided_at >= :since order by decided_at desc limit {MOST})
select i.workload, count(*) as looked_at, count(i.answered_at) as answered,
       percentile_cont(array[0.5, 0.95]) within group
         (order by extract(epoch from i.answered_at - n.decided_at)::float8) as took_s,
       (array_agg(n.explanation order by n.decided_at desc))[1] as why
  from newest n
 cross join lateral (select i.workload, i.answered_at from lanes.item i where i.id = n.item_id offset 0) i
 group by i.workload
"""


def of_period(
    ask: Ask, counted: Mapping[str, tuple[int, Decimal]], *, since: datetime
) -> list[ShedFigures]:
    """Of each workload that shed something; `counted`: how many items, and what that saves, by the figures."""
    if not counted:
        return []
    became = {row.workload: row for row in ask(BECAME, since=since)}
    return [
        _of(workload, items, usd, became.get(workload))
        for workload, (items, usd) in sorted(counted.items())
    ]


def _of(workload: str, items: int, usd: Decimal, row: Any) -> ShedFigures:
    if row is None:  # others shed more since
        return ShedFigures(workload, items, usd, 0, 0, None, None, "")
    p50_s, p95_s = row.took_s or (None, None)
    return ShedFigures(
        workload,
        items,
        usd,
        row.looked_at,
        row.answered,
        p50_s,
        p95_s,
        row.why.partition(MAY_WAIT)[0],
    )
