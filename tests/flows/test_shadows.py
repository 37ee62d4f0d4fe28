"""What a drain asks only to measure: alone, once nothing else waits, and in nobody's way."""

import asyncio

import pytest

from lanes.realtime.turns import QueueCursor
from lanes.words import Lane
from tasks.connections import Connections
from tasks.drain import drain
from tests.flows.conftest import Sender
from tests.flows.test_drain import PROMPTLY_S, turns, until_answered
from tests.prefect_standin import PrefectStandIn

KEYS = [f"p{n:02d}" for n in range(40)]


async def over(sender: Sender) -> bool:
    """Nothing is owed, nor to be measured."""
    return await sender.rows(
        "select count(*) from lanes.work where state in ('ready', 'claimed')"
    ) == [(0,)]


@pytest.mark.slow
async def test_some_of_what_was_packed_is_asked_alone_once_nothing_else_waits_and_it_is_known_how_items_gathered(
    at: Connections, sender: Sender, prefect: PrefectStandIn
) -> None:
    await sender.items(
        *KEYS, lane=Lane.REALTIME, buffer_s=5, realtime_pack=20, pack_check_share=0.2
    )
    async with drain(at, standing=False) as opened:
        await turns(opened, lambda: over(sender))
    asked = await sender.rows(
        "select purpose, items, count(*)::int from lanes.spend group by 1, 2 order by 1, 2"
    )
    ((checked, again),) = await sender.rows(
        "select count(agrees)::int, count(repeats)::int from lanes.pack_check where agrees"
    )
    assert isinstance(checked, int)
    assert isinstance(again, int)
    assert checked > again > 0
    assert asked == [("answer", 20, 2), ("shadow", 1, checked + again)]
    left = "select word, sum(n)::int from lanes.figures_since('{gathered}', '-infinity') group by 1"
    assert await sender.rows(left) == [("full", 40)]


@pytest.mark.slow
async def test_what_only_measures_moves_no_queue_on_to_its_own_late_rank(
    at: Connections, sender: Sender, prefect: PrefectStandIn
) -> None:
    packed = {"realtime_pack": 20, "pack_check_share": 0.2}
    await sender.items(*KEYS, lane=Lane.REALTIME, **packed)
    async with drain(at, standing=False) as opened:
        # a look through the whole queue takes long, and is not repeated
        opened.main.state.cursor = QueueCursor(slow_s=-1, rest_s=1_000_000)
        await turns(opened, lambda: over(sender))
        await sender.items("new", lane=Lane.REALTIME, **packed)
        async with asyncio.timeout(PROMPTLY_S):
            await until_answered(opened, sender, "new")
