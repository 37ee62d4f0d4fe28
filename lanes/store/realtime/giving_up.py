"""Give up work that its lane has had enough chances to answer: a workload says after how many hours (`give_up_after_h`)."""

from datetime import datetime

from sqlalchemy import Connection, text

from lanes.packing import Claim
from lanes.settling.attempts import UNANSWERABLE, given_up
from lanes.settling.outcome import Attempt
from lanes.units import counted
from lanes.words import Lane

RETURNS = 3  # attempts that came back unanswered, before the hours count at all

# Waiting is no failure: the hours count from the first return, the first attempt on this lane since the work was created or
# brought back. The refusal of a pack says nothing of its items, so it is no return. In an outage real time asks one item at a
# time: for the others, the outage itself is the return. A replay outlasts it, and ends all the same: its work has returns too.
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


def _again(workload: str, generation: int) -> str:
    """Return the command that tries such work again."""
    if generation < 0:
        return "lanes publish"
    return f"lanes replay {workload}" if generation else f"lanes retry {workload} --all"


def hopeless(
    connection: Connection, lane: Lane, *, now: datetime, most: int = 500
) -> list[Attempt]:
    """Claim the lane's hopeless work, and return for each an attempt `given_up` that is saved like any other."""
    given = {"lane": lane, "now": now, "most": most, "returns": RETURNS}
    return [
        given_up(
            Claim(row.id, row.claim_no),
            f"{UNANSWERABLE} {float(row.hours):.1f} hours ({counted(row.returns, 'attempt')} came back unanswered); "
            f"`{_again(row.workload, row.generation)}` tries it again",
            started_at=now,
            now=now,
        )
        for row in connection.execute(text(HOPELESS), given)
    ]
