"""Prompt caching on both lanes, by the real SDK over HTTP: used where it measurably pays, and the ledger is the bill."""

from decimal import Decimal

import pytest

from anthropic_standin.echo import EchoEngine
from anthropic_standin.testing import Endpoint
from lanes.money.cost import estimate_shared_tokens
from lanes.words import Lane
from tasks.account_drain import DrainPace
from tasks.connections import Connections
from tasks.drain import Drain, drain
from tests.examples import version
from tests.flows.batches import collect_all, submit
from tests.flows.conftest import Sender
from tests.flows.test_limits import until_answered
from tests.prefect_standin import PrefectStandIn

# Longer than the shortest prefix that the provider caches.
LONG = "Sort the letter by these rules. " * 600
SHORT = "Sort the letter by these rules. " * 100
SHARED = estimate_shared_tokens(version(instructions=LONG).spec)
SPENT = "select sum(cost_usd), sum(cache_read_tokens), sum(cache_write_tokens) from lanes.spend"


async def marks(sender: Sender) -> list[tuple[object, ...]]:
    return await sender.rows("select lane, marks, why from lanes.caching order by lane")


async def answered(
    opened: Drain, sender: Sender, instructions: str, items: int, before: int = 0
) -> None:
    """Ask `items` more items, one after the other."""
    for n in range(items):
        await sender.items(f"k{before + n:03d}", lane=Lane.REALTIME, instructions=instructions)
        await until_answered(opened, sender, before + n + 1)


async def looks(opened: Drain, sender: Sender, **after: float) -> None:
    """Advance the clock and let the drain review its cache marks."""
    sender.time.passes(**after)
    await opened.main.marks.look()


# Trial calls need not be a second apart, because each is asked after the other. A drain looks when a test says so.
AT_ONCE = DrainPace(trial_s=0, first_answers_s=3_600)


@pytest.mark.slow
async def test_a_drain_marks_shared_content_once_caching_is_measured_to_pay(
    at: Connections, endpoint: Endpoint, sender: Sender, prefect: PrefectStandIn
) -> None:
    async with drain(at, standing=False, pace=AT_ONCE) as opened:
        await answered(opened, sender, LONG, 12)
        assert await sender.rows(SPENT + " where cache_read_tokens > 0") == [(None, None, None)]
        await looks(opened, sender, seconds=20)
        ((lane, state, _),) = await marks(sender)
        assert (lane, state) == ("realtime", "some")
        await answered(opened, sender, LONG, 24, before=12)
        await looks(opened, sender, seconds=20)
        ((_, state, why),) = await marks(sender)
        assert state == "all", why
        await answered(opened, sender, LONG, 1, before=36)
    ((usd, read, wrote),) = await sender.rows(SPENT)
    bill = endpoint.bill()
    assert (usd, read, wrote) == (
        Decimal(bill["usd"]),
        bill["cache_read_tokens"],
        bill["cache_write_tokens"],
    )
    assert bill["cache_write_tokens"] == bill["cache_read_tokens"] // 24


@pytest.mark.slow
async def test_a_drain_stops_marking_a_prefix_that_is_too_short(
    at: Connections, endpoint: Endpoint, sender: Sender, prefect: PrefectStandIn
) -> None:
    async with drain(at, standing=False, pace=AT_ONCE) as opened:
        await answered(opened, sender, SHORT, 12)
        await looks(opened, sender, seconds=20)
        sender.time.passes(minutes=4)
        await answered(opened, sender, SHORT, 20, before=12)
        await looks(opened, sender, seconds=20)
        ((_, state, why),) = await marks(sender)
    assert (state, endpoint.bill()["cache_write_tokens"]) == ("none", 0)
    assert why == "the provider cached nothing of 20 calls: what they share is too short for it"


async def batched(
    at: Connections, endpoint: Endpoint, sender: Sender, items: int, prefix: str
) -> None:
    """Send `items` items in batches, a primer first where one is due, and collect them."""
    await sender.items(
        *(f"{prefix}{n:03d}" for n in range(items)), lane=Lane.BATCH, instructions=LONG
    )
    sent = 0
    while sent < items:
        sent += await submit(at)
        await collect_all(at, endpoint)


@pytest.mark.slow
@pytest.mark.parametrize(("hits", "after"), [(1.0, "all"), (0.3, "none")])
async def test_a_batch_tries_caching_with_a_few_requests_and_then_marks_all_or_none(
    at: Connections,
    endpoint: Endpoint,
    sender: Sender,
    monkeypatch: pytest.MonkeyPatch,
    hits: float,
    after: str,
) -> None:
    # Marked requests in one step all write to the cache; chance may put many into the usual step of 64.
    monkeypatch.setattr(EchoEngine, "batch_step", 8)
    endpoint.reset(batch_cache_hits=hits)
    await batched(at, endpoint, sender, 400, "a")
    sent = "select requests, marked_requests from lanes.batch order by id"
    assert await sender.rows(sent) == [(1, 1), (399, 20)]
    tried = endpoint.bill()
    sender.time.passes(minutes=5)
    await batched(at, endpoint, sender, 400, "b")
    ((lane, state, why),) = await marks(sender)
    assert (lane, state) == ("batch", after), why
    read_more = endpoint.bill()["cache_read_tokens"] - tried["cache_read_tokens"]
    assert (read_more > 390 * SHARED) if after == "all" else (read_more == 0)
    ((usd, read, wrote),) = await sender.rows(SPENT)
    bill = endpoint.bill()
    assert (usd, read, wrote) == (
        Decimal(bill["usd"]),
        bill["cache_read_tokens"],
        bill["cache_write_tokens"],
    )
