"""Items with a late batch, for the tests of rescues."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from lanes.doors.item import Amendment
from lanes.ids import BatchId
from lanes.packing import Claim
from lanes.routing.second_look import DoubtfulItem, weigh
from lanes.store.doors import items
from lanes.store.routing import second_look, turnarounds
from lanes.words import Lane
from lanes.workload.version import Version
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.store.tries import rows, submit

DUE = later(hours=8)
LATE = later(hours=7.5)  # by now its batch is six hours late


def waiting(connection: Connection, *keys: str, **spec: Any) -> Version:
    """Route free items with a due time to the batch lane at noon; return the version of their workload."""
    letters = publish(connection, now=NOON, split_percent=0, **spec)
    admit(connection, *keys, now=NOON, due_at=DUE)
    route(connection, now=NOON)
    return letters


def in_batch(connection: Connection, *keys: str, pack: int = 1, **spec: Any) -> BatchId:
    """Submit the same items in a batch at noon; return its id."""
    batch_id, _ = submit(connection, waiting(connection, *keys, **spec), pack=pack)
    return batch_id


def doubted(
    connection: Connection, *, now: datetime = LATE, until: datetime = DUE
) -> list[DoubtfulItem]:
    """Return the items that a second look finds late."""
    return weigh(
        second_look.due_items(connection, until=until, now=now),
        turnarounds.prospects(connection, now=now),
        now=now,
    )


def rescue(connection: Connection, *, now: datetime = LATE) -> int:
    """Rescue all late items; return their number."""
    return second_look.rescue(connection, doubted(connection, now=now), now=now)


def by_lane(connection: Connection) -> dict[str, Any]:
    """Return the newest work of each lane."""
    return {each.lane: each for each in rows(connection, "work", "id")}


def of_batch(connection: Connection, batch_id: BatchId, key: str = "k") -> Any:
    """Return the claim under which the batch owns an item."""
    found = connection.execute(
        text(
            "select w.id, m.claim_no from lanes.batch_member m join lanes.work w on w.id = m.work_id"
            " join lanes.item i on i.id = w.item_id where m.batch_id = :id and i.key = :key"
        ),
        {"id": batch_id, "key": key},
    ).one()
    return Claim(found.id, found.claim_no)


# More items than a second look reads of a workload, due a minute before :due, without the triggers that count items.
CROWD = """
with i as (
  insert into lanes.item (workload, key, payload, content_hash, occurred_at, received_at, source, position, due_at, canceled_at)
  select :workload, concat('crowd', cast(:binds as text), n), '{}', '', :now, :now, 'sql',
         (select coalesce(max(position), 0) from lanes.item) + n, :due, case when :withdrawn then :now end
    from generate_series(1, :items) n returning id, due_at)
insert into lanes.work (item_id, workload, version_id, lane, purpose, revision, state, ready_at, rank_at, due_at, binds,
                        waits_since)
select id, :workload, :version, 'batch', 'answer', 0, 'ready', :now, :now, due_at, cast(:binds as text), :now from i
"""


def crowd(
    connection: Connection,
    of: Version,
    *,
    binds: Lane | None = None,
    withdrawn: bool = False,
    items: int = second_look.MOST + 1,
) -> None:
    """Insert more items on the batch lane than one second look reads, due before all others."""
    connection.execute(text("set local session_replication_role = replica"))
    given = {
        "workload": of.workload,
        "version": of.id,
        "binds": binds,
        "withdrawn": withdrawn,
        "items": items,
    }
    connection.execute(text(CROWD), given | {"due": DUE - timedelta(minutes=1), "now": NOON})
    connection.execute(text("set local session_replication_role = origin"))


def canceled(connection: Connection, key: str = "k") -> None:
    """Cancel the item."""
    items.cancel(connection, "letters", key)


def amended(connection: Connection, key: str = "k") -> None:
    """Amend the item with late data."""
    asked = Amendment("letters", key, {"text": "anew"})
    assert items.amend(connection, asked, door="client", now=LATE).outcome == "amended"
