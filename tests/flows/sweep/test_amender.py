"""The amender: late data that came early."""

from lanes.doors.item import Amendment
from lanes.store.database import Database
from lanes.store.doors import amendments
from lanes.words import Lane
from tasks.sweep.amender import Amender
from tests.conftest import NOON, later
from tests.examples import publish
from tests.flows.sweep.conftest import Put
from tests.store.tries import row

EARLY = Amendment("letters", "a", {"text": "amended"}, "0198c000-0000-7000-8000-000000000001")


async def test_an_amendment_that_came_before_its_item_finds_it(db: Database, put: Put) -> None:
    await db.run(lambda c: publish(c, now=NOON))
    await db.run(amendments.amend, EARLY, door="event", now=NOON)
    await Amender(db).turn(NOON)
    await put("a", lane=Lane.BATCH)
    assert (await db.run(row, "item")).revision == 0
    await Amender(db).turn(later(seconds=1))
    item = await db.run(row, "item")
    assert (item.revision, item.payload) == (1, {"text": "amended"})
