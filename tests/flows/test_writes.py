"""The writes of a drain: no answer waits for a write that takes long."""

import asyncio

import pytest
from sqlalchemy import text

from lanes.realtime.limiter import Pack
from lanes.words import Lane
from tasks import effects
from tasks.connections import Connections
from tests.conftest import NOON
from tests.flows.conftest import Sender
from tests.flows.realtime import a_state, answer, begin, begun, claim, versions_of

# The lock that an open cancel or amend takes.
HELD = "select id from lanes.item where key = 'held' for no key update"


async def test_an_answer_for_an_item_in_an_open_transaction_is_kept_and_delays_no_neighbour(
    at: Connections, sender: Sender
) -> None:
    await sender.items("a", "held", "z", lane=Lane.REALTIME)
    async with at.db.transaction() as run:
        await run(lambda c: c.execute(text(HELD)).all())
        asking = asyncio.create_task(answer(at))
        while await sender.states() != {"a": "settled", "held": "working", "z": "settled"}:
            assert not asking.done()
        assert await sender.rows("select count(*) from lanes.spend") == [(3,)]
    await asking
    assert set((await sender.states()).values()) == {"settled"}
    assert await sender.rows("select count(*) from lanes.spend") == [(3,)]
    assert await sender.rows("select count(*) from lanes.attempt_log") == [(3,)]


async def test_an_urgent_answer_is_saved_during_a_write_that_takes_long(
    at: Connections, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(effects, "BESIDE_S", 600)  # other answers wait this long for a write
    await sender.items("held", lane=Lane.REALTIME)
    async with at.db.transaction() as run:
        await run(lambda c: c.execute(text(HELD)).all())
        performer = await begun(at, await alone(at), a_state())
        while await sender.rows("select count(*) from lanes.spend") != [(1,)]:
            assert performer.busy
        await sender.items("urgent", lane=Lane.REALTIME)
        begin(performer, await alone(at, urgent=True))
        while await sender.states() != {"held": "working", "urgent": "settled"}:
            assert performer.busy
    await performer.close()
    assert set((await sender.states()).values()) == {"settled"}


async def alone(at: Connections, *, urgent: bool = False) -> list[Pack]:
    """Claim the waiting work, each item for a call of its own."""
    claimed = await claim(at)
    versions = await versions_of(at, claimed)
    return [
        Pack(versions[each.version_id], [each._replace(urgent=urgent)], NOON) for each in claimed
    ]
