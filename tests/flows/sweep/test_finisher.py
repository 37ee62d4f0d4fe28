"""The finisher: a replay whose work has ended, and a Prefect that takes its report, or does not."""

from typing import Any

import pytest
from sqlalchemy import Connection

from lanes.store.database import Database
from lanes.store.replays import replays
from lanes.words import Lane
from tasks.sweep.errands import Errands
from tasks.sweep.finisher import Finisher
from tests.conftest import NOON, later
from tests.examples import admit, publish, route
from tests.prefect_standin import PrefectStandIn
from tests.store.tries import claim, row, save, submit, tried


def answered_again(connection: Connection) -> None:
    """An item was answered, and its replay was too."""
    letters = publish(connection, now=NOON)
    admit(connection, "a", now=NOON, lane=Lane.REALTIME)
    route(connection, now=NOON)
    save(connection, *map(tried, claim(connection)))
    begun = replays.begin(
        connection, "letters", version_no=None, first=None, last=None, who="ada", why="", now=NOON
    )
    replays.read_some(connection, begun.id, now=NOON)
    _, waiting = submit(connection, letters)
    save(connection, *map(tried, waiting))


async def test_a_replay_that_has_ended_is_complete_and_its_artifact_is_written_once(
    db: Database, errands: Errands, prefect: PrefectStandIn
) -> None:
    await db.run(answered_again)
    finisher = Finisher(db, errands)
    await finisher.turn(later(hours=1))
    await finisher.turn(later(hours=2))
    await errands.done()
    assert (await db.run(row, "replay_log")).state == "complete"
    assert [each["key"] for each in prefect.artifacts] == ["lanes-replay-letters"]


@pytest.mark.parametrize("trouble", [{"hangs": True}, {"status": 503}])
async def test_whatever_prefect_does_the_replay_is_complete(
    db: Database, errands: Errands, prefect: PrefectStandIn, trouble: dict[str, Any]
) -> None:
    prefect.breaks(**trouble)
    await db.run(answered_again)
    await Finisher(db, errands).turn(later(hours=1))
    assert (await db.run(row, "replay_log")).state == "complete"
