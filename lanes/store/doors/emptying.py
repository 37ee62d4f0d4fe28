"""Items whose workload keeps what they say for a while only: emptied when that is over, some at a time.

The time begins with the last that happened to an item: it was received, amended, answered, settled, failed or canceled.

The stream is walked from its beginning by the items' numbers, so that nothing needs an index that admission would pay for.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from lanes.ids import ItemId
from lanes.store.doors.erasing import erase
from lanes.store.states import OPEN_WORK

LOOKED_AT = 5_000  # items of one transaction
WHY = "emptied by its age"

# A workload whose replay is open is left alone until that is promoted or dropped: the replay reads what its items say.
# Whoever begins one waits until we are through; whoever is just beginning one is passed over.
KEEPERS = text("""
select f.name, s.before
  from unnest(cast(:names as text[]), cast(:moments as timestamptz[])) s (name, before)
  join lanes.workload f on f.name = s.name
 where not exists (select from lanes.generation g where g.workload = f.name and g.state in ('running', 'complete'))
 order by f.name
   for share of f skip locked
""")
WINDOW = text("""
select max(id) as last
  from (select id from lanes.item where id > :after order by id limit :most) looked_at
""")
OVER = text(f"""
update lanes.item i set payload = '{{}}', failure = null, emptied_at = :now
  from (select i.id
          from lanes.item i
          join unnest(cast(:names as text[]), cast(:moments as timestamptz[])) s (name, before)
            on s.name = i.workload
           and greatest(i.received_at, i.answered_at, i.settled_at, i.failed_at, i.canceled_at) < s.before
         where i.id > :after and i.id <= :last and i.emptied_at is null and i.forgotten_at is null
           and not exists (select from lanes.revision v where v.item_id = i.id and v.received_at >= s.before)
           and (i.settled_at is not null or i.failed_at is not null or i.canceled_at is not null)
           and not exists (select from lanes.work w where w.item_id = i.id and w.state in {OPEN_WORK})
         order by i.id
           for no key update of i skip locked) old
 where i.id = old.id
returning i.id
""")


@dataclass(frozen=True)
class Emptied:
    """How many were emptied, and from where to look on; None: everything was looked at."""

    items: int
    onwards: ItemId | None


def empty_some(
    connection: Connection,
    before: Mapping[str, datetime],
    *,
    after: int,
    most: int = LOOKED_AT,
    now: datetime,
) -> Emptied:
    """Empty, of the next items of the stream, those that are over and to which nothing happened since their workload's moment.

    What others hold is left for the next time.
    """
    keepers = connection.execute(
        KEEPERS, {"names": list(before), "moments": list(before.values())}
    ).all()
    last = connection.execute(WINDOW, {"after": after, "most": most}).scalar_one()
    if last is None or not keepers:
        return Emptied(0, None)
    given = {
        "names": [row.name for row in keepers],
        "moments": [row.before for row in keepers],
        "after": after,
        "last": last,
    }
    items = list(connection.execute(OVER, {**given, "now": now}).scalars())
    if items:
        erase(connection, items, WHY)
    return Emptied(len(items), last)
