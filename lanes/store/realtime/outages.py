"""Outages of the provider: the models of an account that do not answer, since when, and when to give up waiting work.

An outage ends when the provider answers again and every item that waited for it has been sent, or when no work waits any longer
and no call was made for ten minutes. Until then its circuit decides which drain may call (`circuits`).
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, select, text

from lanes.ids import IncidentId
from lanes.packing import Claim
from lanes.promises.breaches import provider_down
from lanes.promises.incident import EVERYBODY, Promise, format_value
from lanes.realtime.circuit import Circuit, Fault
from lanes.realtime.health import ACCOUNT, Standstill
from lanes.settling.attempts import UNANSWERABLE, build_given_up
from lanes.settling.outcome import Attempt
from lanes.store.incidents import open, resolve
from lanes.store.money import budgets
from lanes.store.realtime import circuits
from lanes.store.signals import drain_hosts
from lanes.store.states import ANSWERING
from lanes.store.tables import outage
from lanes.store.work import UNASKED
from lanes.units import pluralize
from lanes.words import Lane

# The time without a call after which an outage without waiting work ends: the work was answered elsewhere, or shed.
NOBODY_ASKS = timedelta(minutes=10)

# Attempts and work count for the model of their own version, whichever version is in force. Work is no evidence about the
# provider if it failed by itself or only measures, or if its workload is paused or has no money left.
OVER = f"""
update lanes.outage o set over_at = :now, state = 'closed', next_probe_at = null, turn = o.turn + 1
  from (
    select o.id,
           (select min(a.started_at)
              from lanes.workload f
              join (select distinct workload from lanes.version where realtime_model = o.model) m on m.workload = f.name
              join lanes.attempt a on a.workload = f.name and a.lane = 'realtime' and a.ended_at > o.faulted_at
              join lanes.work w on w.id = a.work_id
              join lanes.version v on v.id = w.version_id
             where coalesce(f.account, o.account) = o.account and v.realtime_model = o.model
               and a.started_at > o.faulted_at and a.message_id is not null) as answered_at
      from lanes.outage o
     where o.over_at is null) seen
 where o.id = seen.id
   and (seen.answered_at is not null or coalesce(o.next_probe_at, o.faulted_at) < :unasked_since)
   and not exists (
     select from lanes.workload f
       join {UNASKED} w on w.workload = f.name and w.lane = 'realtime'
       join lanes.version v on v.id = w.version_id and v.realtime_model = o.model
      where coalesce(f.account, o.account) = o.account and f.paused_at is null
        and f.name <> all(cast(:unpaid as text[])) and w.purpose in {ANSWERING}
        and (seen.answered_at is null or w.generation = 0 and w.failures = 0 and w.waits_since < seen.answered_at))
returning o.account, seen.answered_at is not null as answered
"""
ANSWERED = "The provider answers again, and every item that waited for it has been asked."
UNASKED_NOW = "No work waits for it: no call was made for 10 minutes, and the next item makes one."


def record_fault(
    connection: Connection,
    account: str,
    model: str,
    fault: Fault,
    *,
    flow_run_id: UUID | None = None,
    now: datetime,
) -> Circuit | None:
    """Record a fault and open or update the account's incident; return the circuit, or None because other drains get answers.

    `flow_run_id` is the run that made the call. Must run in a transaction of its own, like `circuits.record_fault`.
    """
    circuit, moved = circuits.record_fault(connection, account, model, fault, now=now)
    if moved:
        down = _read_down(connection, account)
        models, calls = [each.model for each in down], sum(each.faults for each in down)
        failing = {each.host for each in down}
        alone = failing.pop() if len(failing) == 1 and len(drain_hosts(connection)) > 1 else None
        why, run = fault.why, flow_run_id
        breach = provider_down(account, models, calls, why, host=alone, flow_run_id=run)
        open(connection, breach, now=now)
    return circuit


def end(connection: Connection, *, now: datetime) -> list[IncidentId]:
    """End finished outages; resolve the incidents of accounts without another outage, and return the incidents' ids."""
    unpaid = budgets.list_unpaid(connection, now=now)
    at = {"now": now, "unasked_since": now - NOBODY_ASKS, "unpaid": unpaid}
    over = connection.execute(text(OVER), at).all()
    unanswered = {each.account for each in over if not each.answered}
    ended = list[IncidentId | None]()
    for account in sorted({each.account for each in over}):
        if not _read_down(connection, account):
            key = Promise.PROVIDER_DOWN, EVERYBODY, account
            message = UNASKED_NOW if account in unanswered else ANSWERED
            ended.append(resolve(connection, *key, sentence=message, now=now))
    return [id_ for id_ in ended if id_ is not None]


STANDING = """
select o.model as whom, o.began_at, o.faults as value, 'provider_down' as promise, o.why
  from lanes.outage o
  join lanes.incident i on i.state = 'open' and i.promise = 'provider_down' and i.workload = '*' and i.subject = o.account
 where o.account = :account and o.over_at is null
union all
select case i.workload when '*' then :whole else substr(i.subject, length('model ') + 1) end, min(i.opened_at), sum(i.value),
       i.promise, max(i.why)
  from lanes.incident i
 where i.state = 'open' and i.promise = 'provider_frozen' and (i.workload <> '*' or i.subject = :account)
 group by 1, i.promise
"""


def complete_standstills(
    connection: Connection, account: str, standing: Sequence[Standstill]
) -> list[Standstill]:
    """Return a drain's standstills, each with the start, the reason and the figure of its incident, if it has one."""
    rows = connection.execute(text(STANDING), {"account": account, "whole": ACCOUNT})
    incidents = {row.whom: row for row in rows}
    return [
        replace(
            standstill,
            since=row.began_at,
            why=row.why or standstill.why,
            bad=format_value(Promise(row.promise), row.value),
        )
        if (row := incidents.get(standstill.whom)) is not None
        else standstill
        for standstill in standing
    ]


def _read_down(connection: Connection, account: str) -> list[Any]:
    columns = (outage.c.model, outage.c.faults, outage.c.host)
    open_ = select(*columns).where(outage.c.account == account, outage.c.over_at.is_(None))
    return list(connection.execute(open_.order_by(outage.c.model)))


MOST = 500  # work rows claimed at once
RETURNS = 3  # attempts that ended unanswered before the hours count at all

# Waiting is not a failure: the hours count from the first unanswered attempt on this lane since the work was created or
# brought back. A refused pack is no evidence about its items, so it does not count. In an outage, real time sends one item at a
# time, so for the other items the outage itself counts as the attempt. Replay work is exempt from this rule and outlasts an
# outage, but is given up as well, because it has unanswered attempts of its own.
HOPELESS = """
with waiting as materialized (
  select w.id, w.version_id, w.generation, w.waits_since, :now - make_interval(hours => v.give_up_after_h) as before
    from lanes.workload f
    join lanes.version v on v.id = f.version_id
    join lanes.work w on w.workload = f.name and w.lane = :lane and w.state = 'ready'
   where f.paused_at is null
     and w.waits_since < :now - make_interval(hours => v.give_up_after_h)
     and (w.lane = 'realtime' or w.claim_no >= :returns)),
down as materialized (
  select m.id as version_id, min(o.began_at) as began_at
    from lanes.outage o
    join lanes.version m on m.realtime_model = o.model
    join lanes.workload f on f.name = m.workload and coalesce(f.account, o.account) = o.account
   where o.over_at is null and o.state <> 'closed' and :lane = 'realtime'
   group by m.id),
failing as materialized (
  select w.id, w.before, back.returns,
         case when d.began_at is not null then least(back.since, greatest(d.began_at, w.waits_since))
              when back.returns >= :returns then back.since end as since
    from waiting w
    left join down d on d.version_id = w.version_id and w.generation = 0
   cross join lateral (
      select count(*) as returns, min(a.ended_at) as since
        from lanes.attempt a
       where a.work_id = w.id and a.lane = :lane and a.ended_at >= w.waits_since and a.outcome <> 'pack_refused') back),
hopeless as (
  select w.id, f.returns, f.since
    from failing f join lanes.work w on w.id = f.id
   where f.since < f.before and w.state = 'ready'
   order by w.id limit :most
     for no key update of w skip locked)
update lanes.work w
   set state = 'claimed', claimed_by = 'giving up', claim_no = w.claim_no + 1, lease_until = :now + interval '1 minute'
  from hopeless h where w.id = h.id
returning w.id, w.claim_no, w.workload, w.generation, h.returns, extract(epoch from :now - h.since) / 3600 as hours
"""


def _retry_command(workload: str, generation: int) -> str:
    """Return the command that retries work of this generation."""
    if generation < 0:
        return "lanes publish"
    return f"lanes replay {workload}" if generation else f"lanes retry {workload} --all"


def claim_hopeless(connection: Connection, lane: Lane, *, now: datetime) -> list[Attempt]:
    """Claim the lane's hopeless work; return an attempt `given_up` for each, to be saved like any other attempt."""
    given = {"lane": lane, "now": now, "most": MOST, "returns": RETURNS}
    return [
        build_given_up(
            Claim(row.id, row.claim_no),
            f"{UNANSWERABLE} {float(row.hours):.1f} hours ({pluralize(row.returns, 'attempt')} came back unanswered); "
            f"`{_retry_command(row.workload, row.generation)}` tries it again",
            started_at=now,
            now=now,
        )
        for row in connection.execute(text(HOPELESS), given)
    ]
