"""The reaper: a chosen clock, and items that nobody could answer."""

from lanes.realtime.circuit import Fault
from lanes.store.database import Database
from lanes.store.realtime import circuits
from lanes.words import Lane
from tasks.sweep.reaper import Reaper
from tests.conftest import later
from tests.flows.sweep.conftest import Put
from tests.store.tries import row, rows


async def test_what_could_not_be_answered_for_a_day_is_given_up(db: Database, put: Put) -> None:
    await put("a", lane=Lane.REALTIME)
    await db.run(
        circuits.faulted, "acme", "claude-haiku-5-5", Fault("529", 3, later(), later()), now=later()
    )
    await Reaper(db).turn(later(hours=24))
    assert (await db.run(row, "item_status")).state == "routed"
    await Reaper(db).turn(later(hours=24.1))
    assert (await db.run(row, "item_status")).state == "failed"
    assert [each.outcome for each in await db.run(rows, "attempt_log")] == ["given_up"]


def test_it_reads_everything_that_waits_only_every_few_minutes() -> None:
    assert not Reaper.duty.is_due(later(), later(seconds=299))
    assert Reaper.duty.is_due(later(), later(minutes=5))
