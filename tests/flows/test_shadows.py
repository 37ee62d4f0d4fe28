"""Shadows, which a drain asks alone, only to measure and after all other work; and the second pass of early answers."""

import asyncio

import pytest

from anthropic_standin.testing import Endpoint
from lanes.realtime.turns import QueueCursor
from lanes.store.asking import through
from lanes.store.report import snapshot
from lanes.words import Lane
from tasks.connections import Connections
from tasks.drain import drain
from tasks.sweep import sample_passes
from tests.flows.batches import collect_all, submit
from tests.flows.conftest import Sender
from tests.flows.realtime import answer
from tests.flows.test_drain import PROMPTLY_S, turns, until_answered
from tests.prefect_standin import PrefectStandIn

KEYS = [f"p{n:02d}" for n in range(40)]


async def over(sender: Sender) -> bool:
    """Return whether no work waits, neither owed work nor shadows."""
    return await sender.rows(
        "select count(*) from lanes.work where state in ('ready', 'claimed')"
    ) == [(0,)]


@pytest.mark.slow
async def test_a_sample_of_packed_items_is_asked_alone_and_figures_say_why_items_left_the_buffer(
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
async def test_shadows_do_not_advance_the_queue_to_their_own_late_rank(
    at: Connections, sender: Sender, prefect: PrefectStandIn
) -> None:
    packed = {"realtime_pack": 20, "pack_check_share": 0.2}
    await sender.items(*KEYS, lane=Lane.REALTIME, **packed)
    async with drain(at, standing=False) as opened:
        # A read from the head of the queue counts as slow and is not repeated.
        opened.main.state.cursor = QueueCursor(slow_s=-1, rest_s=1_000_000)
        await turns(opened, lambda: over(sender))
        await sender.items("new", lane=Lane.REALTIME, **packed)
        async with asyncio.timeout(PROMPTLY_S):
            await until_answered(opened, sender, "new")


@pytest.mark.slow
async def test_only_answers_that_fail_the_check_are_paid_twice_and_the_report_shows_the_saving(
    at: Connections, endpoint: Endpoint, sender: Sender
) -> None:
    since, check = await at.db.now(), {"when": 'output.category == "b"', "sample": 0.001}
    keys = [f"k{n}" for n in range(20)]
    await sender.items(keys[0], lane=Lane.REALTIME, mode="lambda", second_pass=check)
    await sample_passes(at.db, await at.db.now())  # earlier answers are not read
    await sender.items(*keys[1:], lane=Lane.REALTIME, mode="lambda", second_pass=check)
    await answer(at)
    answered = await sender.rows(
        "select i.key, r.output ->> 'category' from lanes.result r join lanes.item i on i.id = r.item_id"
    )
    doubtful = {key for key, category in answered if category == "b"}
    assert 0 < len(doubtful) < 20
    states = await sender.states()
    assert {key for key, state in states.items() if state == "answered"} == doubtful
    assert await submit(at) == len(doubtful)
    await collect_all(at, endpoint)
    assert set((await sender.states()).values()) == {"settled"}
    bills = await sender.rows("select lane, count(*) from lanes.response group by 1 order by 1")
    assert bills == [("batch", len(doubtful)), ("realtime", 20)]
    left_out = await sender.rows(
        "select key from lanes.item_status where settled_reason = 'not_sampled'"
    )
    assert {key for (key,) in left_out} == set(keys) - doubtful
    sender.time.passes(minutes=1)
    now = await at.db.now()
    await sample_passes(at.db, now)
    seen = await at.db.run(lambda c: snapshot.take_through(through(c), since=since, now=now))
    assert sum(each.compared for each in seen.agreement) == len(doubtful)
    shown = {each.name: (each.answers, each.saved) for each in seen.second_passes}
    assert shown["b"] == (len(doubtful), 0)
    assert shown["a"] == (20 - len(doubtful), 20 - len(doubtful))
