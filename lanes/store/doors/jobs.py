"""Jobs that are sent as a whole: begun with the digest of all that is sent, closed once it was sent."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from lanes.doors.item import JobOrder
from lanes.errors import Refused
from lanes.store.tables import job

# The same that is sent again goes on where it was; nothing begins for a workload that no version is in force for.
BEGIN = sa.text("""
insert into lanes.job (name, workload, digest, due_at, budget_usd, created_at)
select :name, w.name, :digest, :due_at, :budget_usd, :now from lanes.workload w
 where w.name = :workload and w.version_id is not null
on conflict (name) do update
   set closed_at = null, due_at = coalesce(excluded.due_at, job.due_at),
       budget_usd = coalesce(excluded.budget_usd, job.budget_usd)
 where job.digest = excluded.digest and job.workload = excluded.workload
""")


def begin(connection: sa.Connection, order: JobOrder, workload: str, now: datetime) -> str:
    """Begin the job, or go on with the same one, and return its name.

    Raises:
        Refused: a job of that name holds something else.
    """
    given = {"digest": order.digest, "due_at": order.due_at, "budget_usd": order.budget_usd}
    given |= {"workload": workload, "now": now}
    there: Any = None
    for name in filter(None, (order.name, order.otherwise)):
        connection.execute(BEGIN, {"name": name, **given})
        there = connection.execute(sa.select(job).where(job.c.name == name)).first()
        if there is None or (there.digest, there.workload) == (order.digest, workload):
            return name
    said = f'job "{there.name}" of {there.created_at:%Y-%m-%d %H:%M} UTC holds '
    if there.digest == order.digest:
        said += f'this content for workload "{there.workload}"; name another job for workload "{workload}"'
    else:
        said += f'other content of workload "{there.workload}"; name another job, or send the same content again'
    raise Refused("job_conflict", said)


def close(connection: sa.Connection, name: str, outcomes: Mapping[str, int], now: datetime) -> None:
    """Record that all of the job was sent, with these outcomes; a job with new items is told again at its next end."""
    sent, accepted = sum(outcomes.values()), outcomes.get("accepted", 0)
    values = {"sent": sent, "closed_at": now}
    values["refused"] = sent - accepted - outcomes.get("duplicate", 0)
    if accepted:
        values["done_at"] = None
    connection.execute(sa.update(job).where(job.c.name == name).values(**values))
