"""Versions whose every call the provider refuses: such a version is stopped, and its work moves to the next version."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from lanes.ids import VersionId, WorkId
from lanes.promises.breaches import report_refused_version
from lanes.promises.incident import Promise
from lanes.settling.attempts import Refusals, judge_refusal
from lanes.settling.outcome import Attempt
from lanes.store import incidents, signals
from lanes.store.settling.savable import WorkTerms
from lanes.store.states import LIVE_CLAIM, OPEN_WORK
from lanes.words import ANSWERING, Lane

LOOKED_BACK = timedelta(days=1)  # older refusals and answers do not count
MOST_MOVED = 5_000  # work rows of stopped versions that one sweep moves to the next version

# The version's last answered call on the lane, among the calls that have ended since the version was published.
ANSWERED = """
select v.number, f.version_id <> v.id as outdated, f.refused_version_id is not distinct from v.id as refused,
       greatest(v.published_at, :since) as since, a.started_at, a.ended_at
  from lanes.version v
  join lanes.workload f on f.name = v.workload
  left join lateral (
    select a.started_at, a.ended_at from lanes.attempt a
     where a.workload = v.workload and a.lane = :lane and a.ended_at >= greatest(v.published_at, :since)
       and a.message_id is not null and a.version_id = v.id
     order by a.ended_at desc limit 1) a on true
 where v.id = :version_id
"""
# The version's work that was refused with this error text since a moment, and when each was refused first.
REFUSED = """
select a.work_id, min(a.started_at) as at from lanes.attempt a
 where a.workload = :workload and a.lane = :lane and a.ended_at >= :since and a.outcome in ('unserved', 'poison')
   and a.error = :error and a.version_id = :version_id
 group by 1
"""
FIRST = """
select a.work_id, min(a.started_at) as at, count(*) as times from lanes.attempt a
 where a.work_id = any(:works) and a.lane = :lane and a.outcome = 'unserved' and a.error = :error
 group by 1
"""
STOP = """
update lanes.workload f
   set refused_version_id = :version_id, refused_lane = :lane, refused_at = :refused_at,
       paused_at = case when f.version_id = :version_id then coalesce(f.paused_at, :refused_at) else f.paused_at end
 where f.name in (select name from lanes.workload where name = :workload and refused_version_id is null
                     for no key update skip locked)
returning f.version_id = :version_id as in_force
"""
# Work that failed through such a refusal before its cause was known is made ready again, without the failure that it counted.
BACK = f"""
with failed as (
  select i.id as item_id, w.id as work_id
    from lanes.work w join lanes.item i on i.id = w.item_id and i.revision = w.revision
   where w.id = any(:works) and w.state = 'failed' and i.failed_at is not null and i.settled_at is null
     and i.canceled_at is null
     and not exists (select from lanes.work o where o.item_id = i.id and o.generation = 0
                        and o.state in {OPEN_WORK})
   order by i.id, w.id for no key update of i, w skip locked),
again as (
  update lanes.work w set state = 'ready', failures = greatest(w.failures - 1, 0), ready_at = :now, finished_at = null
    from failed where w.id = failed.work_id)
update lanes.item i set failed_at = null, failure = null from failed where i.id = failed.item_id
"""
MOVE = """
with waiting as (
  select w.id, f.version_id
    from lanes.workload f
   cross join (values ('realtime'), ('batch')) l(lane)
    join lanes.work w on w.lane = l.lane and w.workload = f.name and w.state = 'ready'
                     and w.version_id = f.refused_version_id
   where f.refused_version_id <> f.version_id and w.generation = 0 and w.purpose <> 'shadow'
   order by w.id limit :most
     for no key update of w skip locked)
update lanes.work w set version_id = waiting.version_id, alone = false, ready_at = :now from waiting where w.id = waiting.id
"""
# A stop ends when no work of the version is left, or when a call of the version is answered after all. The answer may have been
# saved before or after the stop, so any answered call that ended after the first refusal counts.
OVER = f"""
update lanes.workload f
   set refused_version_id = null, refused_lane = null, refused_at = null,
       paused_at = case when f.paused_at = f.refused_at then null else f.paused_at end
 where f.refused_version_id is not null
   and (not exists (
          select from lanes.work w
           where w.workload = f.name and w.version_id = f.refused_version_id and w.generation = 0 and w.purpose <> 'shadow'
             and (w.state = 'ready' or f.refused_version_id = f.version_id and w.state in {LIVE_CLAIM}))
        or exists (
          select from lanes.attempt a
           where a.workload = f.name and a.lane = f.refused_lane and a.ended_at > f.refused_at and a.message_id is not null
             and a.version_id = f.refused_version_id))
returning f.name
"""
ENDED = """
select i.workload, i.subject from lanes.incident i
 where i.state = 'open' and i.promise = 'provider_frozen' and i.subject like 'version %'
   and not exists (select from lanes.workload f where f.name = i.workload and f.refused_version_id is not null)
"""


def weigh(
    connection: Connection,
    attempts: Sequence[Attempt],
    terms_by_work: Mapping[WorkId, WorkTerms],
    *,
    flow_run_id: UUID | None = None,
    now: datetime,
) -> tuple[list[Attempt], frozenset[str]]:
    """Return the attempts, with new judgments of refused calls, and the names of the stopped workloads.

    A version that is to blame is stopped, and an incident is opened. Replays with this version fail, because a replay cannot
    use another version.
    """
    groups: dict[tuple[VersionId, str, Lane, str], list[Attempt]] = defaultdict(list)
    for each in attempts:
        terms = terms_by_work.get(each.claim.work_id)
        if (
            each.judged.refused_call is not None
            and terms is not None
            and terms.purpose in ANSWERING
        ):
            groups[terms.version_id, terms.workload, terms.lane, each.judged.error or ""].append(
                each
            )
    if not groups:
        return list(attempts), frozenset()
    new_judgments: dict[Any, Attempt] = {}
    stopped: set[str] = set()
    responded = [each for each in attempts if each.response is not None]
    for (version_id, workload, lane, error), group in sorted(groups.items()):
        works = {
            id_
            for id_, terms in terms_by_work.items()
            if (terms.version_id, terms.lane) == (version_id, lane)
        }
        began = [each.started_at for each in responded if each.claim.work_id in works]
        parameters: dict[str, Any] = {"version_id": version_id, "workload": workload, "lane": lane}
        parameters |= {"error": error, "now": now}
        stops = _weigh(
            connection, group, parameters, max(began, default=None), new_judgments, flow_run_id
        )
        stopped |= {workload} if stops else set()
    return [new_judgments.get(each.name, each) for each in attempts], frozenset(stopped)


def _weigh(
    connection: Connection,
    refused: Sequence[Attempt],
    parameters: Mapping[str, Any],
    answered_at: datetime | None,
    new_judgments: dict[Any, Attempt],
    flow_run_id: UUID | None,
) -> bool:
    """Judge the refusals of one version's calls on one lane with the same error text; return whether the version is stopped."""
    now: datetime = parameters["now"]
    version_row = connection.execute(
        text(ANSWERED), {**parameters, "since": now - LOOKED_BACK}
    ).one()
    calls_at = (attempt for attempt in (answered_at, version_row.started_at) if attempt is not None)
    answered_at = max(calls_at, default=None)
    works = [attempt.claim.work_id for attempt in refused]
    first = {
        row.work_id: row for row in connection.execute(text(FIRST), {**parameters, "works": works})
    }
    since = version_row.ended_at or version_row.since
    rows = connection.execute(text(REFUSED), {**parameters, "since": since})
    earlier = {row.work_id: row.at for row in rows}
    calls = len(earlier.keys() - set(works)) + len(
        {attempt.judged.refused_call for attempt in refused}
    )
    refused_at = min([*earlier.values(), *(attempt.started_at for attempt in refused)])
    of_version = False
    for attempt in refused:
        first_row = first.get(attempt.claim.work_id)
        first_at = (
            attempt.started_at if first_row is None else min(first_row.at, attempt.started_at)
        )
        history = Refusals(
            answered=answered_at is not None,
            answered_since=answered_at is not None and answered_at >= first_at,
            times=1 + (0 if first_row is None else first_row.times),
            calls=calls,
            lasted=now - refused_at,
            known=version_row.refused or version_row.outdated,
        )
        of_version = of_version or history.of_version
        new_judgments[attempt.name] = attempt._replace(
            judged=judge_refusal(attempt.judged, history)
        )
    if of_version and not version_row.refused:
        parameters, works = {**parameters, "refused_at": refused_at}, [*earlier, *works]
        _stop(connection, parameters, version_row.number, calls, works, flow_run_id)
    return of_version and not version_row.outdated


def _stop(
    connection: Connection,
    parameters: Mapping[str, Any],
    number: int,
    calls: int,
    works: Sequence[WorkId],
    flow_run_id: UUID | None,
) -> None:
    """Stop the version, unless another transaction has locked the workload's row: then the next refusal stops it."""
    row = connection.execute(text(STOP), parameters).first()
    if row is None:
        return
    connection.execute(text(BACK), {"works": sorted(works), "now": parameters["now"]})
    if row.in_force:
        of = parameters["workload"], number, calls, parameters["error"]
        breach = report_refused_version(*of, flow_run_id=flow_run_id)
        incidents.open(connection, breach, now=parameters["now"])


def go_on(connection: Connection, *, now: datetime) -> int:
    """Move ready work of stopped versions to the version in force, end finished stops, and return the number of moved rows."""
    moved, resumed_workloads = 0, []
    stopped = text("select from lanes.workload where refused_version_id is not null")
    if connection.execute(stopped).first() is not None:
        moved = connection.execute(text(MOVE), {"most": MOST_MOVED, "now": now}).rowcount
        resumed_workloads = connection.execute(text(OVER)).scalars().all()
    for row in connection.execute(text(ENDED)).all():
        message = "The version is asked no longer, or answered again."
        incidents.resolve(
            connection,
            Promise.PROVIDER_FROZEN,
            row.workload,
            row.subject,
            sentence=message,
            now=now,
        )
    if moved or resumed_workloads:
        signals.wake(connection)
    return moved
