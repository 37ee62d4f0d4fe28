"""The folder: the figures are right before it comes, and quick to read after."""

from sqlalchemy import Connection, text

from lanes.store.database import Database
from lanes.words import Lane
from tasks.sweep.folder import Folder
from tests.conftest import NOON
from tests.examples import publish, route
from tests.flows.sweep.conftest import Put
from tests.store.tries import rows


def decided(connection: Connection) -> list[tuple[str, int]]:
    return [(each.lane, each.items) for each in rows(connection, "routing_mix")]


def unfolded(connection: Connection) -> int:
    return connection.execute(text("select count(*) from lanes.figure_delta")).scalar_one()


async def test_what_was_added_is_folded_and_says_the_same(db: Database, put: Put) -> None:
    await db.run(lambda c: publish(c, now=NOON))
    await put("a", lane=Lane.BATCH)
    await db.run(lambda c: route(c, now=NOON))
    before = await db.run(decided)
    assert before == [("batch", 1)]
    assert await db.run(unfolded) > 0
    await Folder(db).turn(NOON)
    assert await db.run(unfolded) == 0
    assert await db.run(decided) == before
