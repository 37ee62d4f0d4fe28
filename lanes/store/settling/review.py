"""The review queue: items whose label a person is asked for, a uniform share and those that were answered in two ways.

The uniform share comes first, in the order of its hash, so that a queue that is labeled in part is a fair sample too. An item
of that share is not moved forward by an answer that differs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from lanes.ids import ItemId
from lanes.workload.version import Version

A_DAY = 40  # labels that a workload asks for
WITHIN = timedelta(days=30)
AMONG, DIFFERING_AMONG = 200_000, 20_000  # the newest items, and the newest answers that differ

ANSWERED = "i.answered_at is not null and i.canceled_at is null and i.emptied_at is null and i.forgotten_at is null"
# The answers are read of those that are chosen.
UNIFORM = f"""
select i.id, i.key, i.payload, r.output, array['uniform'] as why
  from (select i.*, lanes.review_chance(i.workload, i.key) as chance
          from (select i.id, i.workload, i.key, i.payload, i.result_id from lanes.item i
                 where i.workload = :workload and i.received_at >= :since and {ANSWERED}
                 order by i.received_at desc, i.id desc limit :among) i
         where lanes.review_chance(i.workload, i.key) < :share
           and not exists (select from lanes.label l where l.item_id = i.id and l.basis <> 'given')
         order by chance limit :most) i
  join lanes.result r on r.id = i.result_id
 order by i.chance
"""
# Why a label would teach much: each returns such items, of all workloads or of `:workload`, and when that was seen. Another
# reason joins here.
DIFFERING = {
    "corrected": "select item_id, corrected_at from lanes.correction order by id desc limit :among",
    "lanes differ": """
        select p.item_id, p.answered_at from lanes.shadow_pair p join lanes.rollout o on o.id = p.rollout_id
          join lanes.item i on i.id = p.item_id and i.revision = p.revision join lanes.result r on r.id = i.result_id
         where o.workload = :workload and p.output is not null
           and coalesce((select bool_or(p.output -> f is distinct from r.output -> f) from unnest(cast(:fields as text[])) f),
                        p.output <> r.output)""",
    "alone otherwise than packed": """
        select c.item_id, c.compared_at from (select * from lanes.pack_check order by id desc limit :among) c
         where not c.agrees""",
    "class that drifts": """
        select e.id::bigint, q.updated_at from lanes.quality q
         cross join jsonb_array_elements_text(q.watch -> 'item_ids' -> (q.watch #>> '{drift,place}')) e (id)
         where q.workload = :workload and q.has_drift and q.watch #> '{drift,ended_at}' = 'null'""",
}
EACH = " union all ".join(
    f"select *, '{why}' as why from ({items}) d (item_id, at)" for why, items in DIFFERING.items()
)
DIFFER = f"""
select i.id, i.key, i.payload, r.output, d.why
  from (select item_id, max(at) as at, array_agg(distinct why) as why from ({EACH}) e group by 1) d
  join lanes.item i on i.id = d.item_id
  join lanes.result r on r.id = i.result_id
 where i.workload = :workload and d.at >= :since and {ANSWERED} and lanes.review_chance(i.workload, i.key) >= :share
   and not exists (select from lanes.label l where l.item_id = i.id)
 order by d.at desc, i.id limit :most
"""
ASKED = """
select count(*) from lanes.label l
 where l.workload = :workload and l.basis <> 'given' and l.labeled_at >= date_trunc('day', cast(:now as timestamptz), 'UTC')
"""


@dataclass(frozen=True)
class ReviewedItem:
    """An item of the queue, its answer, and why it is asked for."""

    id: ItemId
    key: str
    payload: Any
    answer: Any
    why: Sequence[str]


def queue(
    connection: Connection, of: Version, *, now: datetime, most: int | None = None
) -> list[ReviewedItem]:
    """Return `most` items, or those that are left of a day's: half of them of the uniform share, where there are as many."""
    given: dict[str, Any] = {"workload": of.workload, "now": now, "since": now - WITHIN}
    asked: int = connection.execute(text(ASKED), given).scalar_one()
    wanted = max(A_DAY - asked, 0) if most is None else most
    given |= {"share": of.spec.review_share, "fields": of.spec.compare_fields, "most": wanted}
    uniform = connection.execute(text(UNIFORM), {**given, "among": AMONG}).all()
    differ = connection.execute(text(DIFFER), {**given, "among": DIFFERING_AMONG}).all()
    first = max(wanted - len(differ), (wanted + 1) // 2)
    return [ReviewedItem(*row) for row in [*uniform[:first], *differ][:wanted]]


def take_back(connection: Connection, item: ItemId, *, source: str) -> None:
    """Delete the label that this source gave an item."""
    query = text("delete from lanes.label where item_id = :item and source = :source")
    connection.execute(query, {"item": item, "source": source})
