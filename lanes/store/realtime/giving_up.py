"""Nobody waits for ever: work that could not be answered for its workload's `give_up_after_h` is given up."""

from datetime import datetime

from sqlalchemy import Connection, text

from lanes.claims import Claim
from lanes.settling.attempts import UNANSWERABLE, given_up
from lanes.settling.outcome import Attempt
from lanes.words import Lane

# What waits for its window, or for a person who paused its workload, is not being tried: on the batch lane only work that
# came back unanswered from a batch counts, and not what real time had tried before it was shed. A replay waits for a person
# anyway. (`exists` would read every attempt there is.)
HOPELESS = """
with hopeless as (
  select w.id, w.created_at
    from lanes.workload f
    join lanes.version v on v.id = f.version_id
    join lanes.work w on w.workload = f.name and w.lane = :lane and w.state = 'ready' and w.generation = 0
   where f.paused_at is null
     and w.created_at < :now - make_interval(hours => v.give_up_after_h)
     and (w.lane = 'realtime' or (select true from lanes.attempt a where a.work_id = w.id and a.lane = w.lane limit 1))
   order by w.id limit :most
     for no key update of w skip locked)
update lanes.work w
   set state = 'claimed', claimed_by = 'giving up', claim_no = w.claim_no + 1, lease_until = :now + interval '1 minute'
  from hopeless h where w.id = h.id
returning w.id, w.claim_no, w.workload, extract(epoch from :now - h.created_at) / 3600 as hours
"""


def hopeless(connection: Connection, lane: Lane, *, now: datetime, most: int = 500) -> list[Attempt]:
    """An attempt `given_up` for each work of the lane that waited too long: claimed, and to be saved like any other."""
    given = {"lane": lane, "now": now, "most": most}
    return [
        given_up(
            Claim(row.id, row.claim_no),
            f"{UNANSWERABLE} {float(row.hours):.1f} hours; `lanes retry {row.workload} --all` tries it again",
            started_at=now, now=now,
        )
        for row in connection.execute(text(HOPELESS), given)
    ]  # fmt: skip
