"""A model that shifts answers in large packs is detected on both lanes, and its packs shrink until they are right."""

from decimal import Decimal

import pytest

from anthropic_standin.testing import Endpoint
from lanes.store.money import sharing
from lanes.words import Lane
from tasks import collect
from tasks.connections import Connections
from tasks.sweep import decide_pack_sizes
from tests.flows.batches import collect_all, submit, submit_and_end
from tests.flows.conftest import Sender
from tests.flows.realtime import answer

KEYS = [f"k{number:03}" for number in range(300)]
PACKED = {"pack_check_share": 0.2, "realtime_pack": 10, "batch_pack": 10}
SHARES = "select pack, count(agrees), count(*) filter (where agrees), count(repeats), count(*) filter (where repeats)"


async def size(at: Connections, lane: Lane) -> int | None:
    """Decide the pack sizes and return the decision for the lane."""
    await decide_pack_sizes(at.db, await at.db.now())
    decided = await at.db.run(sharing.read_pack_sizes)
    return next((each.size for place, each in decided.items() if place.lane is lane), None)


async def answer_all(at: Connections) -> None:
    """Answer all work that waits in real time, including work that only measures."""
    while (await answer(at)).total():
        pass


async def seen(sender: Sender) -> list[list[int]]:
    """Return rows of a pack size and how many of its items were asked alone, agreed, were asked again, and repeated."""
    found = await sender.rows(f"{SHARES} from lanes.pack_check group by 1 order by 1")
    return [[int(str(number)) for number in row] for row in found]


@pytest.mark.slow
async def test_answers_shifted_by_one_in_real_time_are_detected_and_smaller_packs_are_right(
    at: Connections, endpoint: Endpoint, sender: Sender
) -> None:
    endpoint.fault("messages", "shift", above_items=5)
    await sender.items(*KEYS, lane=Lane.REALTIME, **PACKED)
    await answer_all(at)
    ((pack, checked, agreed, again, repeated),) = await seen(sender)
    assert (pack, agreed) == (10, 0)
    assert 40 <= checked <= 90
    assert again == repeated > 10
    assert await size(at, Lane.REALTIME) == 5
    assert set((await sender.states()).values()) == {"settled"}
    await sender.items(*(f"new {key}" for key in KEYS), lane=Lane.REALTIME, **PACKED)
    await answer_all(at)
    (small, checked, agreed, *_), _ = await seen(sender)
    assert (small, checked) == (5, agreed)
    assert agreed > 30
    assert await size(at, Lane.REALTIME) == 5
    ((calls, items, usd),) = await sender.rows(
        "select count(*), sum(items), sum(cost_usd) from lanes.spend where purpose = 'shadow'"
    )
    assert calls == items == sum(row[1] + row[3] for row in await seen(sender))
    assert Decimal(str(usd)) > 0


@pytest.mark.slow
async def test_answers_shifted_by_one_in_batches_are_detected_too(
    at: Connections, endpoint: Endpoint, sender: Sender
) -> None:
    endpoint.fault("batch_request", "shift", above_items=5)
    await sender.items(*KEYS, lane=Lane.BATCH, **PACKED)
    for _ in range(3):  # the items, then a sample alone, then some of the sample again
        assert await submit(at)
        await collect_all(at, endpoint)
    ((pack, checked, agreed, again, repeated),) = await seen(sender)
    assert (pack, agreed) == (10, 0)
    assert checked > 40
    assert again == repeated > 10
    assert await size(at, Lane.BATCH) == 5


@pytest.mark.parametrize(("scope", "calls"), [("workload", 3), ("consumer", 4)])
@pytest.mark.parametrize("lane", list(Lane))
async def test_no_call_contains_items_of_two_consumers_if_the_workload_forbids_it(
    at: Connections, endpoint: Endpoint, sender: Sender, lane: Lane, scope: str, calls: int
) -> None:
    for place, key in enumerate(KEYS[:12]):
        packed = {"batch_pack": 4, "realtime_pack": 4, "pack_scope": scope, "pack_check_share": 0}
        await sender.items(key, lane=lane, consumer=("crm", "shop")[place % 2], **packed)
    if lane is Lane.REALTIME:
        await answer_all(at)
    else:
        await collect.bring_home(at, await submit_and_end(at, endpoint))
    answered = await sender.rows(
        "select a.message_id, count(distinct i.consumer) from lanes.attempt a join lanes.work w on w.id = a.work_id"
        " join lanes.item i on i.id = w.item_id group by 1"
    )
    assert len(answered) == calls
    assert {consumers for _, consumers in answered} == ({1} if scope == "consumer" else {2})
