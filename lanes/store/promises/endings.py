"""Incidents that are over because what they hold is gone, or because the provider takes what is asked again."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection, text

from lanes.ids import IncidentId
from lanes.promises.assessment import Assessment
from lanes.promises.breaches import DEAR
from lanes.promises.incident import Promise
from lanes.store.batch.doubts import WANTED
from lanes.store.incidents import resolve
from lanes.store.work import UNASKED

MOST = 10_000  # items that are counted
# Those that `lanes.promises.judge` judges at every look. One that it no longer judges is about nothing.
JUDGED = (
    Promise.BATCH_SLOW,
    Promise.BATCH_FAILING,
    Promise.BATCH_INVALID,
    Promise.BATCH_INCOMPLETE,
    Promise.BATCH_NEVER_STARTED,
    Promise.REALTIME_SLOW,
    Promise.REALTIME_FAILING,
    Promise.AUTHORITATIVE_FAILED,
    Promise.ITEMS_FAILED,
    Promise.BUDGET,
    Promise.DEADLINE_MISSED,
)
OPEN = "select workload, promise, subject from lanes.incident where state = 'open' and promise = any(:promises)"
PAUSED = "select name from lanes.workload where paused_at is not null"

# A batch that needs a decision holds what is submitted with it; a question is asked while its rollout waits.
DECIDED = f"""
select o.workload, o.promise, o.subject
  from lanes.incident o
 where o.state = 'open' and o.promise = 'batch_unclear'
   and not exists (
     select from lanes.batch b
       join lanes.work w on w.batch_id = b.id and w.state = 'submitted'
       join lanes.item i on i.id = w.item_id
      where o.subject = 'batch ' || b.id and {WANTED})
union all
select o.workload, o.promise, o.subject
  from lanes.incident o
 where o.state = 'open' and o.promise = 'approval_waits'
   and not exists (select from lanes.rollout r where r.workload = o.workload and r.state = 'waiting_approval')
"""

# What a refusal of the account holds, or of a model to a workload: work that is asked for, and items that are not routed.
# It is over once a call or a batch that began later went well, or once nothing is held. That a batch is taken proves nothing
# where the trouble showed within one: there only an answer does. Of a refused version, `lanes.store.settling.refusals` says.
IS_OF = """
(o.workload = '*' or o.subject = 'model ' || case held.lane when 'batch' then v.batch_model else v.realtime_model end)
"""
FROZEN = f"""
select o.id, o.workload, o.subject, o.value, seen.answered or (seen.taken and not seen.within) as answered,
       (select count(*) from (
          select from lanes.workload f
            cross join lateral (
              select w.version_id, w.lane from {UNASKED} w where w.workload = f.name
              union all
              select w.version_id, w.lane
                from lanes.batch b
                join lanes.work w on w.batch_id = b.id and w.state = 'submitted'
                join lanes.item i on i.id = w.item_id
               where b.workload = f.name and b.state <> 'collected' and b.state <> 'released' and {WANTED}
              union all
              select f.version_id, coalesce(n.pin, 'realtime') from lanes.item n
               where n.workload = f.name and n.position is null and n.canceled_at is null and f.version_id is not null) held
            join lanes.version v on v.id = held.version_id
           where o.workload in ('*', f.name) and f.paused_at is null and {IS_OF}
           limit {MOST}) held) as items
  from lanes.incident o
 cross join lateral (
   select exists (
            select from lanes.workload f
              join lanes.attempt a on a.workload = f.name and a.ended_at > o.opened_at and a.started_at > o.opened_at
              join lanes.work held on held.id = a.work_id
              join lanes.version v on v.id = held.version_id
             where o.workload in ('*', f.name) and a.outcome = 'valid' and {IS_OF}) as answered,
          exists (
            select from lanes.batch b
             where o.workload in ('*', b.workload) and b.submitted_at > o.opened_at
               and (o.workload = '*' or o.subject = 'model ' || b.model)) as taken,
          exists (
            select from lanes.workload f join lanes.attempt a on a.workload = f.name and a.ended_at >= o.opened_at
             where o.workload in ('*', f.name) and a.lane = 'batch' and a.outcome = 'unserved') as within) seen
 where o.state = 'open' and o.promise = 'provider_frozen' and o.subject not like 'version %'
 order by o.id
"""
COUNTED = "update lanes.incident set value = :items, updated_at = :now where id = :id and value <> :items and state = 'open'"
GONE = "It holds nothing any more: what it was about was decided, answered, cancelled or removed."
ANSWERED = "The provider takes what is asked again."
UNASKED_NOW = "Nothing waits for it any more: whatever comes next is asked."


def end_gone(
    connection: Connection, judged: Iterable[Assessment], *, now: datetime
) -> list[IncidentId]:
    """Resolve the open incidents whose subject is gone; `judged` is everything that one look judged. Return their ids."""
    known = {(each.promise, each.workload, each.subject) for each in judged}
    paused = set(connection.execute(text(PAUSED)).scalars())
    over = list[IncidentId | None]()
    for row in connection.execute(text(OPEN), {"promises": [*JUDGED]}).all():
        if (row.promise, row.workload, row.subject) not in known and not row.subject.endswith(
            DEAR
        ):  # a departure tells that
            said = (
                f'Workload "{row.workload}" is paused: nothing of it is asked.'
                if row.workload in paused
                else GONE
            )
            over.append(
                resolve(connection, row.promise, row.workload, row.subject, sentence=said, now=now)
            )
    for row in connection.execute(text(DECIDED)).all():
        over.append(
            resolve(connection, row.promise, row.workload, row.subject, sentence=GONE, now=now)
        )
    return [id_ for id_ in over if id_ is not None]


def thaw(connection: Connection, *, now: datetime) -> list[IncidentId]:
    """Resolve the provider's refusals that are over, and count what the others hold. Return the ids of what was resolved."""
    over = list[IncidentId | None]()
    for row in connection.execute(text(FROZEN)).all():
        if row.answered or not row.items:
            said = ANSWERED if row.answered else UNASKED_NOW
            over.append(
                resolve(
                    connection,
                    Promise.PROVIDER_FROZEN,
                    row.workload,
                    row.subject,
                    sentence=said,
                    now=now,
                )
            )
        else:
            connection.execute(text(COUNTED), {"id": row.id, "items": row.items, "now": now})
    return [id_ for id_ in over if id_ is not None]
