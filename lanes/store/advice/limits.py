"""The provider's limits as evidence for advice: the newest that was told of the model that a workload asks in real time."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from lanes.advice.evidence import LimitUse
from lanes.routing.capacity import Kind, Limit, Need

LIMITS = """
select distinct on (f.name, c.kind) f.name as workload, c.kind, c.limit_, c.remaining, c.reset_at, c.seen_at
  from lanes.workload f
  join lanes.version v on v.id = f.version_id
  join lanes.capacity c on c.model = v.realtime_model
 where f.name = any(:workloads) and c.seen_at >= :since
 order by f.name, c.kind, c.seen_at desc
"""


def uses(rows: Iterable[Any], each: Need, now: datetime) -> tuple[LimitUse, ...]:
    """Each limit, with what an item takes of it."""
    told = [
        Limit(Kind(row.kind), row.limit_, row.remaining, row.reset_at, row.seen_at) for row in rows
    ]
    return tuple(
        LimitUse(
            limit.kind.said,
            limit.limit,
            limit.left(limit.seen_at),
            each.of(limit.kind),
            max(0.0, (now - limit.seen_at).total_seconds()),
        )
        for limit in told
    )
