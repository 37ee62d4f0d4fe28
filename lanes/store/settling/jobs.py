"""Jobs: their status and estimates, a person's actions on them, and their completion."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from lanes.doors.filedoor import FileLine
from lanes.doors.item import JobOrder, Submission
from lanes.errors import UnknownItem
from lanes.ids import JobId
from lanes.routing.forecast import LaneConditions, forecast
from lanes.routing.prospect import BatchProfile
from lanes.settling.listing import JobPart, JobState, JobStatus, RealtimeRest, estimate_end
from lanes.store import outbox, signals
from lanes.store.asking import read_as
from lanes.store.money import sharing
from lanes.store.outbox import EventOut
from lanes.store.routing import turnarounds
from lanes.store.settling import decisions
from lanes.store.states import ANSWERING, OPEN_WORK, UNFINISHED_ITEM
from lanes.store.tables import item, job
from lanes.store.workload import workloads
from lanes.words import BatchState, Lane, Mode

MOST_REASONS = 5
SAMPLED = 1_000  # evenly spread items from which cost and end are estimated
PACE_OF = timedelta(minutes=2)  # the latest period, over which real-time throughput is measured
AT_ONCE = 5_000  # items of a job that one transaction cancels

NEWEST = sa.text("""
select s.* from lanes.job_status s
 where s.job_id in (select id from lanes.job order by id desc limit :most) order by s.job_id desc
""")
STATUS = sa.text("select * from lanes.job_status where job_id = :job_id")
SPAN = sa.text("select min(id) as first, max(id) as last from lanes.item where job_id = :job_id")
FAILURES = sa.text("""
select i.failure, count(*) as items from lanes.item i
 where i.id between :first and :last and i.failure is not null and i.job_id = :job_id group by 1 order by 2 desc, 1 limit :most
""")
ANSWERED = sa.text("""
select count(distinct i.id) from lanes.attempt a join lanes.item i on i.id = a.item_id and i.job_id = :job_id
 where a.workload = :workload and a.lane = 'realtime' and a.ended_at >= :since and i.answered_at >= :since
""")
# A sample of the job's items, spread evenly, without finished ones. Each still costs its answer according to its newest route
# and, if the workload corrects answers, the authoritative pass; its open work names the batch that it waits for.
REMAINING = sa.text(f"""
select case when i.answered_at is not null or r.lane = 'batch' then r.batch_usd
            else r.realtime_usd + case when :corrects then r.batch_usd else 0 end end as usd,
       w.lane, b.id as batch_id, b.model, b.requests, b.intended_at, b.state, v.batch_expected_minutes
  from (select distinct n.id from generate_series(cast(:first as bigint), :last, :step) g
         cross join lateral (
           select i.id from lanes.item i where i.job_id = :job_id and i.id >= g order by i.id limit 1) n) n
  join lanes.item i on i.id = n.id and {UNFINISHED_ITEM}
  left join lateral (select * from lanes.route r where r.item_id = i.id order by r.id desc limit 1) r on true
  left join lateral (
    select * from lanes.work w
     where w.item_id = i.id and w.generation = 0 and w.purpose in {ANSWERING} and w.state in {OPEN_WORK}
     order by w.id desc limit 1) w on true
  left join lanes.batch b on b.id = w.batch_id
  left join lanes.version v on v.id = b.version_id
""")
CANCEL = sa.text(f"""
select lanes.cancel_items(
  array(select i.id from lanes.item i where i.job_id = :job_id and {UNFINISHED_ITEM} order by i.id limit :most), :now)
""")
# A job that was sent item by item is done at the earliest a minute after its last item. A locked job is skipped this time.
QUIET = timedelta(minutes=1)
DONE = sa.text("""
update lanes.job j set done_at = :now from lanes.job_status s
 where s.job_id = j.id and s.waiting + s.answered = 0
   and j.id in (select id from lanes.job where done_at is null for no key update skip locked)
   and (j.closed_at is not null or j.digest is null and :quiet >= coalesce(
          (select i.received_at from lanes.item i where i.job_id = j.id order by i.id desc limit 1), j.created_at))
returning j.name
""")
# A job that was sent item by item is reopened by items received after `done_at` - QUIET: `DONE` had not seen them.
FOLD = sa.text("""
with added as (select * from lanes.job_use order by id limit :most),
free as (select id from lanes.job where id in (select job_id from added) for no key update skip locked),
moved as (delete from lanes.job_use u using added s, free f where u.id = s.id and f.id = s.job_id returning u.*)
update lanes.job j
   set received = j.received + m.received, answered = j.answered + m.answered, settled = j.settled + m.settled,
       failed = j.failed + m.failed, canceled = j.canceled + m.canceled, usd = j.usd + m.usd,
       done_at = case when m.received = 0 or j.digest is not null or j.done_at - cast(:quiet as interval) >= (
                        select i.received_at from lanes.item i where i.job_id = j.id order by i.id desc limit 1)
                      then j.done_at end
  from (select job_id, sum(received) as received, sum(answered) as answered, sum(settled) as settled, sum(failed) as failed,
               sum(canceled) as canceled, sum(usd) as usd from moved group by 1) m
 where j.id = m.job_id
""")
FOLDED = 20_000  # rows moved in one transaction


def newest(connection: sa.Connection, *, most: int) -> list[JobStatus]:
    """Return up to `most` of the newest jobs, newest first, without estimates."""
    return [_status(row) for row in connection.execute(NEWEST, {"most": most})]


def status(connection: sa.Connection, name: str | JobId, *, now: datetime) -> JobStatus:
    """Return the job's status, with its failures and its estimated cost and end.

    Raises:
        UnknownItem: no job has this name or id.
    """
    parameters: dict[str, Any] = {"job_id": _job(connection, name).id}
    job_status = _status(connection.execute(STATUS, parameters).one())
    parameters |= connection.execute(SPAN, parameters).one()._asdict()
    if job_status.failed:
        reasons = connection.execute(FAILURES, {**parameters, "most": MOST_REASONS})
        job_status = replace(job_status, failures={each.failure: each.items for each in reasons})
    open_items = job_status.waiting + job_status.answered
    version = workloads.read_versions(connection).get(job_status.workload)
    if not open_items or version is None:
        return replace(job_status, estimated_usd=None if open_items else job_status.cost_usd)
    parameters["step"] = 1 + (parameters["last"] - parameters["first"]) // SAMPLED
    parameters["corrects"] = version.spec.mode is Mode.LAMBDA
    sample = connection.execute(REMAINING, parameters).all()
    costs = [each.usd for each in sample if each.usd is not None]
    open_usd = open_items * sum(costs, Decimal(0)) / len(costs) if costs else None
    laws = turnarounds.prospects(connection, now=now)
    parts = list[JobPart]()
    for each in {row.batch_id: row for row in sample if row.state == BatchState.SUBMITTED}.values():
        model = BatchProfile(each.model, timedelta(minutes=each.batch_expected_minutes))
        parts.append(laws.underway(model, left_at=each.intended_at, requests=each.requests))
    waiting = Counter(each.lane for each in sample if each.batch_id is None)
    if waiting[Lane.BATCH] or (parameters["corrects"] and waiting[Lane.REALTIME]):
        parts.append(laws.of(version).scheduled_departure)
    if waiting[Lane.REALTIME]:
        rest = open_items * waiting[Lane.REALTIME] / len(sample)
        of = min(PACE_OF, max(now - job_status.created_at, timedelta(seconds=1)))
        parameters |= {"workload": job_status.workload, "since": now - of}
        pace = connection.execute(ANSWERED, parameters).scalar_one() / of.total_seconds()
        parts = [*parts, RealtimeRest(now, rest, pace)] if pace else []
    job_status = replace(
        job_status, estimated_usd=None if open_usd is None else job_status.cost_usd + open_usd
    )
    ends = estimate_end(parts, sure := version.spec.confidence)
    return replace(job_status, expected_end_at=ends, probability=sure) if ends else job_status


def _status(row: Any) -> JobStatus:
    return read_as(JobStatus, row, state=JobState(row.state))


def check_budget(
    connection: sa.Connection,
    order: JobOrder,
    workload: str,
    sent: Iterable[Submission],
    *,
    now: datetime,
) -> None:
    """Refuse a job whose items are quoted at more than its budget.

    The quote follows the routing rules with free real-time capacity, and without the history of entities.

    Raises:
        Refused: the quote exceeds the budget.
    """
    version = workloads.read_versions(connection).get(workload)
    if order.budget_usd is None or version is None:
        return
    laws = turnarounds.prospects(connection, now=now)
    shared = sharing.read_cached(connection, now=now)
    lanes = LaneConditions(workloads.splits(connection), laws, sharing=shared)
    lines = (FileLine(each, None) for each in sent)
    found = forecast(lines, version, lanes, now=now, by=order.due_at)
    order.check_quote(found.items, found.as_routed_usd)


def list_unfinished(connection: sa.Connection, *, most: int, now: datetime) -> list[JobStatus]:
    """Return the unfinished ones among the `most` newest jobs, with estimates."""
    found = newest(connection, most=most)
    return [status(connection, each.job, now=now) for each in found if each.done_at is None]


def cancel(connection: sa.Connection, name: str, *, now: datetime) -> int:
    """Cancel up to `AT_ONCE` unfinished items of the job and return their number; zero means that none is left."""
    its = {"job_id": _job(connection, name).id, "most": AT_ONCE, "now": now}
    canceled = connection.execute(CANCEL, its).scalar_one()
    signals.wake(connection)
    return canceled


def retry(connection: sa.Connection, name: str, *, now: datetime) -> int:
    """Retry the failed items of the job with `decisions.retry`, reopen the job, and return the number of items."""
    of = _job(connection, name)
    failed = sa.select(item.c.key).where(item.c.job_id == of.id, item.c.failure.is_not(None))
    keys = connection.execute(failed).scalars().all()
    again = decisions.retry(connection, of.workload, keys, now=now)
    if again:
        connection.execute(sa.update(job).where(job.c.id == of.id).values(done_at=None))
    return len(again)


def fold(connection: sa.Connection) -> None:
    """Add up to `FOLDED` rows of `job_use` to the counts of their jobs; new items reopen a job that was reported done."""
    connection.execute(FOLD, {"most": FOLDED, "quiet": QUIET})


def finish(connection: sa.Connection, *, now: datetime) -> list[JobStatus]:
    """Mark jobs that are newly done, emit the event `lanes.job.done` for each, and return them."""
    names = connection.execute(DONE, {"now": now, "quiet": now - QUIET}).scalars().all()
    done = [status(connection, each, now=now) for each in names]
    events = [
        EventOut.about_workload("lanes.job.done", each.workload, each.build_payload())
        for each in done
    ]
    outbox.add(connection, events, now=now)
    return done


def _job(connection: sa.Connection, name: str | JobId) -> Any:
    its = job.c.name == name if isinstance(name, str) else job.c.id == name
    found = connection.execute(sa.select(job).where(its)).first()
    if found is None:
        raise UnknownItem(f'there is no job "{name}"; `lanes jobs` lists the newest')
    return found
