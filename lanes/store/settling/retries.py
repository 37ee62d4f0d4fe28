"""Retries of failed items: by a person, or by a valid answer that arrives late."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, and_, false, func, select, text

from lanes.errors import UnknownWorkload
from lanes.ids import WorkId
from lanes.settling.attempts import LOST_LEASE
from lanes.store import signals
from lanes.store.bulk import one_of
from lanes.store.states import ANSWERING, OPEN_WORK
from lanes.store.tables import attempt
from lanes.store.workload import workloads
from lanes.words import Outcome

RETRY = f"""
with chosen as (
  select distinct on (i.id) i.id as item_id, w.id as work_id
    from lanes.item i
    join lanes.work w on w.item_id = i.id and w.revision = i.revision and w.state = 'failed' and w.generation = 0
                     and w.purpose in {ANSWERING}
   where i.workload = :workload and i.failure is not null and i.canceled_at is null and i.emptied_at is null
     and (cast(:keys as text[]) is null or i.key = any (:keys))
     and not exists (select from lanes.work o where o.item_id = i.id and o.generation = 0
                        and o.state in {OPEN_WORK})
   order by i.id, w.id desc),
free as (
  select i.id from lanes.item i where i.id in (select item_id from chosen) and i.failure is not null order by i.id
     for no key update skip locked),
again as (
  update lanes.work w
     set state = 'ready', failures = 0, ready_at = :now, waits_since = :now, version_id = :version_id, finished_at = null
    from chosen join free on free.id = chosen.item_id where w.id = chosen.work_id)
update lanes.item i set failed_at = null, settled_at = null, failure = null from free where i.id = free.id
returning i.key
"""


def retry(
    connection: Connection, workload: str, keys: Sequence[str] | None, *, now: datetime
) -> list[str]:
    """Make the failed items among `keys` (None: all of the workload) wait again with a full retry budget; return their keys.

    A provisional answer that was settled because its authoritative pass failed waits for that pass again. All are tried
    with the version in force, which may be corrected. Past attempts name the version that they tried. An item that
    another transaction is changing stays as it is.

    Raises:
        UnknownWorkload: no workload of that name has a published version.
    """
    version = workloads.in_force(connection).get(workload)
    if version is None:
        raise UnknownWorkload(f'workload "{workload}" has no published version')
    keys = None if keys is None else list(keys)
    given = {"workload": workload, "keys": keys, "now": now, "version_id": version.id}
    again = list(connection.execute(text(RETRY), given).scalars())
    signals.wake(connection)
    return sorted(again)


def lost_by_leases(connection: Connection, failed: Sequence[WorkId]) -> set[WorkId]:
    """Return which of this failed work has met nothing but lost leases."""
    if not failed:
        return set()
    lost = and_(attempt.c.outcome == Outcome.UNKNOWN, func.starts_with(attempt.c.error, LOST_LEASE))
    id_, lost_alone = attempt.c.work_id, func.bool_and(func.coalesce(lost, false()))
    tried = select(id_).where(one_of(set(failed), id_)).group_by(id_).having(lost_alone)
    return set(connection.execute(tried).scalars())
