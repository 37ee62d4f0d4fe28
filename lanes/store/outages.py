"""The end of an outage of the provider: calls are answered again, and what it made wait has been served."""

from datetime import datetime

from sqlalchemy import Connection, text

from lanes.incident import EVERYBODY, Promise
from lanes.store.incidents import resolve

# The incident changes with every fault, so `updated_at` is when the last one was. Work that failed by itself, or whose
# workload is paused, says nothing of the provider.
OVER = """
select o.subject as model
  from lanes.incident o
 cross join lateral (
   select min(a.started_at) as at
     from lanes.workload f
     join lanes.version v on v.id = f.version_id and v.spec ->> 'realtime_model' = o.subject
     join lanes.attempt a on a.workload = f.name and a.lane = 'realtime' and a.ended_at > o.updated_at
    where a.started_at > o.updated_at and a.message_id is not null) answered
 where o.state = 'open' and o.promise = 'provider_down' and answered.at is not null
   and not exists (
     select from lanes.workload f
       join lanes.version v on v.id = f.version_id and v.spec ->> 'realtime_model' = o.subject
       join lanes.work w on w.workload = f.name and w.lane = 'realtime' and w.state in ('ready', 'claimed')
      where f.paused_at is null and w.generation = 0 and w.failures = 0 and w.created_at < answered.at)
"""


def end(connection: Connection, *, now: datetime) -> list[int]:
    """The outages that are over are resolved; ids of their incidents."""
    ended = [
        resolve(
            connection, Promise.PROVIDER_DOWN, EVERYBODY, model, now=now,
            sentence=f"{model} answers again, and every item that waited for it has been asked.",
        )
        for model in connection.execute(text(OVER)).scalars().all()
    ]  # fmt: skip
    return [id_ for id_ in ended if id_ is not None]
