"""Batches that nobody wants any more: every item of theirs was answered elsewhere, canceled or amended."""

from datetime import datetime

from sqlalchemy import Connection, text

from lanes.ids import BatchId
from lanes.store.states import ANSWERING

# Of work `w` that is submitted with item `i`: an answer is still needed. What a replay or a shadow asks for always is.
WANTED = f"""
(w.purpose not in {ANSWERING}
 or (i.settled_at is null and i.canceled_at is null and i.revision = w.revision))
"""
# One that was taken for ours and is not proved yet may be a stranger's.
RECALL = f"""
with unwanted as (
  select b.id from lanes.batch b
   where b.state = 'submitted' and b.cancel_at is null and b.provider_batch_id is not null
     and not b.unproved
     and not exists (
       select from lanes.work w join lanes.item i on i.id = w.item_id
        where w.batch_id = b.id and w.state = 'submitted' and {WANTED})
   order by b.id limit 100
     for no key update skip locked)
update lanes.batch b set cancel_at = :now, note = 'nobody waits for any of its items any more'
  from unwanted u where b.id = u.id
returning b.id
"""


def recall(connection: Connection, *, now: datetime) -> list[BatchId]:
    """Those of them that the provider still works on are to be cancelled there; what it did work off is billed and booked."""
    return sorted(connection.execute(text(RECALL), {"now": now}).scalars())
