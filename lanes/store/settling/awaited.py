"""What is open of some items, as counts."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, text

from lanes.settling.awaited import Awaited, Out, Owed
from lanes.store.states import OPEN_WORK
from lanes.words import BatchState, Lane, Purpose, WorkState

MINE = "i.workload = :workload and i.key = any(:keys)"

UNROUTED = text(
    f"select count(*) from lanes.item i where {MINE} and i.position is null and i.canceled_at is null"
)

# Work for the revision in force, that no replay owns.
OWED = text(f"""
select w.lane, w.purpose, w.state, w.batch_id, w.ready_at > :now as rests, f.paused_at is not null as paused,
       count(*) as items
  from lanes.item i
  join lanes.work w on w.item_id = i.id and w.generation = 0 and w.revision = i.revision
  join lanes.workload f on f.name = i.workload
 where {MINE} and w.state in {OPEN_WORK}
 group by 1, 2, 3, 4, 5, 6
 order by 1, 2, 3, 4, 5, 6
""")

OUT = text("""
select id, state, requests, processed, coalesce(submitted_at, intended_at) as since, expected_end_at
  from lanes.batch where id = any(:ids) order by id
""")


def look(connection: Connection, keys_of: Mapping[str, Sequence[str]], *, now: datetime) -> Awaited:
    """What is open now of the items of those keys, by workload."""
    unrouted, owed = 0, list[Owed]()
    for workload, keys in keys_of.items():
        of = {"workload": workload, "keys": list(keys), "now": now}
        unrouted += connection.execute(UNROUTED, of).scalar_one()
        owed += [
            Owed(
                workload,
                Lane(row.lane),
                Purpose(row.purpose),
                WorkState(row.state),
                row.items,
                row.batch_id,
                row.rests,
                row.paused,
            )
            for row in connection.execute(OWED, of)
        ]
    ids = sorted(
        {
            each.batch_id
            for each in owed
            if each.batch_id is not None and each.state is WorkState.SUBMITTED
        }
    )
    rows = connection.execute(OUT, {"ids": ids}) if ids else ()
    out = [
        Out(
            row.id,
            BatchState(row.state),
            row.requests,
            row.processed,
            row.since,
            row.expected_end_at,
        )
        for row in rows
    ]
    return Awaited(unrouted, owed, out)
