"""A drain under a flood: consumers take turns, due work goes first, and explain says what an item waits for."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from lanes.realtime.limiter import WaitReason
from lanes.settling.story import next_step
from lanes.store.settling.story import records
from lanes.words import Lane
from tasks.connections import Connections
from tasks.drain import drain
from tests.flows.conftest import Sender
from tests.flows.test_drain import turns
from tests.prefect_standin import PrefectStandIn

FLOOD = [f"crm {n:03d}" for n in range(120)]
SHOP = [f"shop {n:02d}" for n in range(40)]
ANSWERED = """
select i.consumer, i.key from lanes.attempt a join lanes.work w on w.id = a.work_id join lanes.item i on i.id = w.item_id
 order by a.ended_at, a.id
"""
CLAIMED = """
select i.key from lanes.work w join lanes.item i on i.id = w.item_id where w.state <> 'ready'
"""


async def send(sender: Sender, keys: Sequence[str], consumer: str, **fields: Any) -> None:
    await sender.items(
        *keys,
        lane=Lane.REALTIME,
        consumer=consumer,
        consumers={"shop": {"weight": 2}},
        patience_s=3600,
        **fields,
    )


@pytest.mark.slow
async def test_a_flood_of_one_consumer_leaves_other_consumers_their_turns_by_weight(
    at: Connections, sender: Sender, prefect: PrefectStandIn
) -> None:
    two = replace(at, provider=at.provider.model_copy(update={"most_calls": 2}))
    await send(sender, FLOOD, "crm")
    sender.time.passes(seconds=60)
    await send(sender, SHOP, "shop")

    async def shop_is_answered() -> bool:
        rows = await sender.rows(
            "select from lanes.item where consumer = 'shop' and answered_at is null"
        )
        return not rows

    async with drain(two, standing=False) as opened:
        await turns(opened, lambda: _answered(sender, 20))
        await opened.main.share_limits()
        now = await at.db.now()
        said = next_step(await at.db.run(records, "letters", FLOOD[-1], now=now), now)
        await turns(opened, shop_is_answered)
    assert f"waits for its turn: {WaitReason.TURN.explanation}" in said
    order = [str(consumer) for consumer, _ in await sender.rows(ANSWERED)]
    last = len(order) - order[::-1].index("shop")
    served = Counter(order[:last])
    assert served["shop"] == 40
    # Half as many items of the flood, and those that were claimed before consumers had to take turns.
    assert 20 <= served["crm"] <= 20 + 10


async def _answered(sender: Sender, number: int) -> bool:
    rows = await sender.rows("select from lanes.item where answered_at is not null")
    return len(rows) >= number


@pytest.mark.slow
async def test_a_due_item_goes_before_the_turns_of_other_consumers(
    at: Connections, sender: Sender, prefect: PrefectStandIn
) -> None:
    two = replace(at, provider=at.provider.model_copy(update={"most_calls": 2}))
    await send(sender, FLOOD, "crm")
    await send(sender, SHOP, "shop")

    async def due_is_answered() -> bool:
        rows = await sender.rows(
            "select from lanes.item where key = 'due' and answered_at is not null"
        )
        return bool(rows)

    async with drain(two, standing=False) as opened:
        await turns(opened, lambda: _answered(sender, 20))
        now = await at.db.now()
        await send(sender, ["due"], "crm", due_at=now + timedelta(seconds=90))
        claimed_before = {key for (key,) in await sender.rows(CLAIMED)}
        await turns(opened, due_is_answered)
        order = [key for _, key in await sender.rows(ANSWERED)]
    overtaking = set(order[: order.index("due")]) - claimed_before
    # A claim may have been under way (of at most four items), and the due item is not claimed alone.
    assert len(overtaking) <= 8
