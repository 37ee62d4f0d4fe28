"""A drain under the provider's limits, by the real SDK over HTTP: calls wait, and none is refused or lost."""

import asyncio

import pytest

from anthropic_standin.testing import Endpoint
from lanes.realtime.limiter import Pack
from lanes.routing.capacity import LimitKind
from lanes.store.realtime import load
from lanes.words import Lane
from tasks.connections import Connections
from tasks.drain import Drain, drain
from tests.conftest import NOON
from tests.flows.conftest import Sender
from tests.prefect_standin import PrefectStandIn
from tests.unit.realtime.work import claimed
from tests.waiting import LONGEST_WAIT_S

DONE = "select count(*) from lanes.item where settled_at is not null and "
OPEN = "select count(*) from lanes.work where state in ('ready', 'claimed')"


async def counted(sender: Sender, query: str) -> int:
    ((number,),) = await sender.rows(query)
    assert isinstance(number, int)
    return number


async def until_answered(
    opened: Drain, sender: Sender, number: int, *, by_step_s: float = 0, among: str = "true"
) -> None:
    """Run turns of `by_step_s` seconds until `number` items are answered."""
    async with asyncio.timeout(LONGEST_WAIT_S):
        while await counted(sender, DONE + among) < number:
            assert await opened.stays()
            opened.wakes.record_ready_work()
            await opened.turn()
            sender.time.passes(seconds=by_step_s)


def refused(endpoint: Endpoint) -> int:
    return endpoint.control("GET", "limits")["refused"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "limit",
    [
        {"requests_per_minute": 30},
        {"output_tokens_per_minute": 9_000},
        {"input_tokens_per_minute": 9_000},
    ],
)
async def test_a_limit_of_the_provider_delays_calls_and_none_is_refused(
    at: Connections,
    endpoint: Endpoint,
    sender: Sender,
    prefect: PrefectStandIn,
    limit: dict[str, int],
) -> None:
    endpoint.reset(**limit)
    await sender.items("first", lane=Lane.REALTIME, max_output_tokens=300)
    async with drain(at, standing=False) as opened:
        await until_answered(opened, sender, 1)
        text = {"text": "a letter " * 60}
        await sender.items(
            *(f"k{n:02d}" for n in range(60)),
            lane=Lane.REALTIME,
            max_output_tokens=300,
            payload=text,
        )
        await until_answered(opened, sender, 61, by_step_s=1)
    assert refused(endpoint) == 0
    assert await sender.rows("select max(claim_no) > 0, max(failures) from lanes.work") == [
        (True, 0)
    ]
    assert endpoint.bill()["responses"] == 61


@pytest.mark.slow
async def test_due_items_go_before_others_while_limits_delay_calls(
    at: Connections, endpoint: Endpoint, sender: Sender, prefect: PrefectStandIn
) -> None:
    endpoint.reset(requests_per_minute=20)
    await sender.items("first", lane=Lane.REALTIME, patience_s=600)
    async with drain(at, standing=False) as opened:
        await until_answered(opened, sender, 1)
        await sender.items(*(f"k{n:02d}" for n in range(40)), lane=Lane.REALTIME, patience_s=600)
        await until_answered(opened, sender, 15)
        now = await at.db.now()
        await sender.items(
            "due", lane=Lane.REALTIME, patience_s=600, due_at=now.replace(microsecond=0)
        )
        await until_answered(opened, sender, 1, among="key = 'due'")
        assert await counted(sender, OPEN) >= 15
    assert refused(endpoint) == 0


@pytest.mark.slow
async def test_drains_share_the_limits_that_one_of_them_saw(
    at: Connections, endpoint: Endpoint, sender: Sender, prefect: PrefectStandIn
) -> None:
    endpoint.reset(requests_per_minute=30)
    await sender.items("a", lane=Lane.REALTIME)
    async with drain(at, standing=False) as one, drain(at, standing=False) as other:
        await until_answered(one, sender, 1)
        await one.main.share_limits()
        await other.main.share_limits()
        ((model, seen),) = other.main.state.rates.buckets.list_limits().items()
        assert {each.kind: each.limit for each in seen}[LimitKind.REQUESTS] == 30
        assert other.main.state.rates.buckets.drains == 2
    rows = await sender.rows(
        "select account, model, kind, limit_, remaining from lanes.capacity where kind = 'requests'"
    )
    assert rows == [(at.provider.account, model, "requests", 30, 29)]


async def test_a_drain_has_more_places_once_the_limits_of_the_provider_are_known(
    at: Connections, endpoint: Endpoint, sender: Sender, prefect: PrefectStandIn
) -> None:
    await sender.items("a", lane=Lane.REALTIME)
    async with drain(at, standing=False) as opened:
        assert opened.main.state.places.most == 64
        await until_answered(opened, sender, 1)
        await opened.main.share_limits()
        assert opened.main.state.places.most == 500


@pytest.mark.slow
async def test_the_needs_of_calls_are_learned_from_earlier_calls(
    at: Connections, sender: Sender, prefect: PrefectStandIn
) -> None:
    await sender.items(*(f"k{n}" for n in range(25)), lane=Lane.REALTIME)
    async with drain(at, standing=False) as opened:
        await until_answered(opened, sender, 25)
        await opened.main.learn_needs()
        (version,) = opened.main.state.rates.needs.versions
        seen = await at.db.look(load.list_tries, "letters", now=await at.db.now())
        assert len(seen) == 25
        predicted = opened.main.state.rates.needs.of(Pack(version, [claimed(1, version)], NOON))
        # For a version without calls, the frame alone is assumed to have 400 tokens.
        assert 0 < predicted.input < 400
