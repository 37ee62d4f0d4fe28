"""A cold batch of many requests sends one as a primer; the others wait for it unless a due time is at risk."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from anthropic_standin.testing import Endpoint
from lanes.batch.batch import PRIMER
from lanes.batch.departure import announcement
from lanes.ids import BatchId
from lanes.money.caching import WARM_FOR
from lanes.provider import batches as provider
from lanes.settling.story import next_step
from lanes.store.batch import batches, doubts, ready_work
from lanes.store.figures import measurements
from lanes.store.settling import story
from lanes.words import Lane
from tasks import send_batch
from tasks.connections import Connections
from tasks.departure import send_waiting
from tasks.reconcile import reconcile_unresolved
from tests.flows.batches import collect_all, kind
from tests.flows.conftest import Nap, Sender
from tests.flows.test_caching import LONG, SHARED, SHORT
from tests.flows.test_reconcile import Killed

ITEMS = 100  # with this many, a primer saves two cents
SENT = "select requests, marked_requests from lanes.batch where state <> 'released' order by id"


async def waiting(sender: Sender, prefix: str, items: int = ITEMS, **more: object) -> None:
    """Admit items that wait for a batch."""
    keys = (f"{prefix}{n:03d}" for n in range(items))
    await sender.items(*keys, lane=Lane.BATCH, **{"instructions": LONG, **more})  # type: ignore[arg-type]


async def asked_for(at: Connections) -> list[str]:
    """Return the workloads that request a run of `depart` now."""
    return await at.db.run(ready_work.list_pressing, now=await at.db.now())


async def held_until(sender: Sender) -> datetime:
    """Return the time until which the work waits at most."""
    ((until,),) = await sender.rows("select submit_at from lanes.workload")
    assert isinstance(until, datetime)
    return until


async def should_leave(at: Connections) -> datetime:
    """Return the time until which the work waits, as the promises see it."""
    (seen,) = (await at.db.run(measurements.measure, now=await at.db.now())).waiting
    assert seen.primer_until is not None
    return seen.primer_until


@pytest.mark.slow
async def test_the_other_requests_wait_for_the_primer_and_then_read_its_cache(
    at: Connections, endpoint: Endpoint, sender: Sender, nap: Nap
) -> None:
    await waiting(sender, "a")
    departed = await send_waiting(at, None, sleep=nap)
    assert (departed.items, departed.failed) == (1, [])
    assert departed.waiting[0].startswith(
        "letters: it waits for batch 1, which primes the provider's cache, until "
    )
    assert await asked_for(at) == []
    assert (await send_waiting(at, None, sleep=nap)).items == 0
    now = await at.db.now()
    records = await at.db.run(story.records, "letters", "a099", now=now)
    assert "waits for batch 1, which primes the provider's cache for it" in next_step(records, now)
    ((note,),) = await sender.rows("select note from lanes.batch_status")
    assert note == PRIMER
    outstanding = await at.db.run(batches.count_outstanding, "letters", now=now)
    assert "they leave once batch 1, which primes the provider's cache" in announcement(
        outstanding, now
    )
    assert await should_leave(at) == await held_until(sender)
    sender.time.passes(minutes=5)
    await collect_all(at, endpoint)
    assert await asked_for(at) == ["letters"]
    assert now + timedelta(minutes=5) <= await should_leave(at) <= await at.db.now()
    assert (await send_waiting(at, None, sleep=nap)).ending() == ITEMS - 1
    assert await sender.rows(SENT) == [(1, 1), (99, 20)]
    await collect_all(at, endpoint)
    assert await asked_for(at) == []
    bill = endpoint.bill()
    assert bill["cache_read_tokens"] == 20 * bill["cache_write_tokens"] == 20 * SHARED
    await waiting(sender, "b")  # while the cache is warm
    sender.time.passes(minutes=40)
    assert (await send_waiting(at, None, sleep=nap)).ending() == ITEMS
    assert (await sender.rows(SENT))[-1] == (ITEMS, ITEMS)
    await collect_all(at, endpoint)
    await waiting(sender, "c")  # and once the cache is cold
    sender.time.passes(hours=2)
    assert (await send_waiting(at, None, sleep=nap)).items == 1


@pytest.mark.slow
@pytest.mark.parametrize("more", [{"items": 30}, {"instructions": SHORT}, {"batch_pack": 20}])
async def test_no_batch_waits_if_a_primer_saves_too_little(
    at: Connections, sender: Sender, nap: Nap, more: dict[str, object]
) -> None:
    await waiting(sender, "a", **more)  # type: ignore[arg-type]
    departed = await send_waiting(at, None, sleep=nap)
    assert departed.ending() == more.get("items", ITEMS)
    ((_, marked),) = await sender.rows(SENT)
    assert marked == (10 if "instructions" in more else 1)


@pytest.mark.slow
async def test_items_that_lose_their_value_meanwhile_do_not_wait_for_a_primer(
    at: Connections, sender: Sender, nap: Nap
) -> None:
    await waiting(sender, "a", value_usd=0.01, half_life_s=3_600)
    assert (await send_waiting(at, None, sleep=nap)).ending() == ITEMS


@pytest.mark.slow
async def test_a_due_time_at_risk_makes_the_whole_batch_depart_at_once(
    at: Connections, sender: Sender, nap: Nap
) -> None:
    await waiting(sender, "a")
    due_at = await at.db.now() + timedelta(hours=6)
    await waiting(sender, "due", 1, due_at=due_at)
    assert (await send_waiting(at, None, sleep=nap)).ending() == ITEMS + 1
    assert await sender.rows(SENT) == [(ITEMS + 1, 1)]


@pytest.mark.slow
async def test_a_due_item_that_arrives_during_the_wait_ends_the_wait(
    at: Connections, sender: Sender, nap: Nap
) -> None:
    await waiting(sender, "a")
    await send_waiting(at, None, sleep=nap)
    await waiting(sender, "far", 1, due_at=await held_until(sender) + timedelta(hours=40))
    assert await asked_for(at) == []
    await waiting(sender, "due", 1, due_at=await at.db.now() + timedelta(hours=6))
    assert await asked_for(at) == ["letters"]
    assert (await send_waiting(at, None, sleep=nap)).ending() == ITEMS + 1
    assert await sender.rows(SENT) == [(1, 1), (ITEMS + 1, 1)]


@pytest.mark.slow
async def test_a_primer_without_a_result_delays_the_others_only_until_its_limit_and_is_not_repeated(
    at: Connections, sender: Sender, nap: Nap, endpoint: Endpoint
) -> None:
    endpoint.reset(turnaround_s=10**6)
    await waiting(sender, "a")
    await send_waiting(at, None, sleep=nap)
    until = await held_until(sender)
    left = until - await at.db.now()
    sender.time.passes(seconds=left.total_seconds() - 60)
    assert await asked_for(at) == []
    assert (await send_waiting(at, None, sleep=nap)).items == 0
    assert await held_until(sender) == until
    sender.time.passes(seconds=61)
    assert await asked_for(at) == ["letters"]
    assert (await send_waiting(at, None, sleep=nap)).ending() == ITEMS - 1
    assert await sender.rows(SENT) == [(1, 1), (ITEMS - 1, 1)]


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["expire", "status"])
async def test_a_primer_that_failed_lets_the_others_depart_at_once(
    at: Connections, endpoint: Endpoint, sender: Sender, nap: Nap, fault: str
) -> None:
    endpoint.fault("batch_request", fault, times=1)
    await waiting(sender, "a")
    await send_waiting(at, None, sleep=nap)
    await collect_all(at, endpoint)
    assert await asked_for(at) == ["letters"]
    await sender.work_rests()
    assert (await send_waiting(at, None, sleep=nap)).ending() == ITEMS
    assert await sender.rows(SENT) == [(1, 1), (ITEMS, 1)]


@pytest.mark.slow
async def test_no_primer_is_sent_if_a_batch_of_one_request_could_not_be_distinguished(
    at: Connections, sender: Sender, nap: Nap
) -> None:
    await sender.items("a", lane=Lane.BATCH, workload="bills")
    assert await send_batch.prepare(at, await kind(at)) is not None
    await at.db.run(doubts.hold, BatchId(1), note="several fit", now=await at.db.now())
    await waiting(sender, "a")
    assert (await send_waiting(at, None, sleep=nap)).ending() == ITEMS
    assert (await sender.rows(SENT))[1:] == [(ITEMS, 1)]


@pytest.mark.slow
async def test_a_batch_with_a_few_failed_items_leaves_a_warm_cache_too(
    at: Connections, endpoint: Endpoint, sender: Sender, nap: Nap
) -> None:
    await waiting(sender, "a", 30)
    await sender.items("z", lane=Lane.BATCH, payload={"text": "poor"}, instructions=LONG)
    endpoint.fault("batch_request", "expire", match="poor")
    assert (await send_waiting(at, None, sleep=nap)).ending() == 31
    await collect_all(at, endpoint)
    sender.time.passes(minutes=30)
    await waiting(sender, "b")
    await send_waiting(at, None, sleep=nap)
    assert (await sender.rows(SENT))[1:] == [(ITEMS + 1, 20)]


class Walk:
    """Departures, kills and arrivals in some order; the provider receives each item once, and each primer too."""

    def __init__(self, at: Connections, endpoint: Endpoint, sender: Sender, nap: Nap) -> None:
        self.at, self.endpoint, self.sender, self.nap = at, endpoint, sender, nap
        self._sent = 0

    async def arrive(self, items: int = ITEMS, due_in_h: int | None = None) -> None:
        """Admit new items that wait for a batch."""
        due_at = None if due_in_h is None else await self.at.db.now() + timedelta(hours=due_in_h)
        await waiting(self.sender, f"{self._sent:02d}-", items, due_at=due_at)
        self._sent += 1

    async def depart(self, dies: str = "") -> None:
        """Run `depart`; `dies` kills it before its first create, after it, or once its id is recorded."""
        create, created = provider.create, send_batch._record_creation

        async def dying(*args: Any, **named: Any) -> Any:
            if dies == "before":
                raise Killed
            made = await create(*args, **named)
            if dies == "after":
                raise Killed
            return made

        async def recorded(*args: Any) -> None:
            await created(*args)
            if dies == "recorded":
                raise Killed

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(provider, "create", dying)
            patch.setattr(send_batch, "_record_creation", recorded)
            with suppress(Killed):
                departed = await send_waiting(self.at, None, sleep=self.nap)
                assert not departed.failed

    async def look(self) -> None:
        """Reconcile creates without an answer, after their grace period."""
        self.sender.time.passes(seconds=20)
        await reconcile_unresolved(self.at)

    async def collect(self) -> None:
        await collect_all(self.at, self.endpoint)

    async def wait(self, minutes: int) -> None:
        self.sender.time.passes(minutes=minutes)

    async def is_primed_once(self) -> None:
        """Check that no primer followed another while the cache of the first was warm."""
        primed = """
        select intended_at, coalesce(ended_at, now() + interval '1 year') from lanes.batch
         where note = :primer and state <> 'released' order by id
        """
        rows = await self.sender.rows(primed, primer=PRIMER)
        for (_, ended_at), (next_at, _) in pairwise(rows):
            assert isinstance(next_at, datetime)
            assert isinstance(ended_at, datetime)
            assert next_at >= ended_at + WARM_FOR

    async def is_answered(self) -> None:
        """Check that everything is answered once, after a few more runs and an hour or two."""
        for _ in range(3):
            await self.look()
            await self.collect()
            if await asked_for(self.at):
                await self.depart()
        for _ in range(3):
            await self.look()
            await self.collect()
            await self.depart()
        await self.collect()
        answered = "select distinct state, attempts from lanes.item_status"
        assert await self.sender.rows(answered) == [("settled", 1)]


@pytest.mark.slow
@pytest.mark.parametrize("dies", ["before", "after", "recorded"])
async def test_a_kill_during_the_departure_of_the_primer_loses_nothing_and_primes_once(
    at: Connections, endpoint: Endpoint, sender: Sender, nap: Nap, dies: str
) -> None:
    walk = Walk(at, endpoint, sender, nap)
    await walk.arrive()
    await walk.depart(dies)
    await walk.look()
    await walk.collect()
    # The next run is requested although the killed run requested none.
    if dies != "before":
        assert await asked_for(at) == ["letters"]
    await walk.depart()
    await walk.is_answered()
    assert (await sender.rows(SENT))[:2] == [(1, 1), (99, 20)]
    assert endpoint.bill()["batches_created"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
async def test_in_any_order_all_items_are_answered_once_and_primed_once(
    at: Connections, endpoint: Endpoint, sender: Sender, nap: Nap, seed: int
) -> None:
    chance, walk = Random(seed), Walk(at, endpoint, sender, nap)
    steps: list[Callable[[], Awaitable[None]]] = [
        walk.arrive,
        partial(walk.arrive, 1, due_in_h=3),
        partial(walk.arrive, 1, due_in_h=40),
        *([walk.depart, walk.collect, walk.look] * 2),
        *(partial(walk.depart, dies) for dies in ("before", "after", "recorded")),
        *(partial(walk.wait, minutes) for minutes in (5, 30, 70)),
    ]
    await walk.arrive()
    for step in chance.choices(steps, k=14):
        await step()
        await walk.is_primed_once()
    await walk.is_answered()
    await walk.is_primed_once()
    await walk.wait(120)
    await walk.arrive()
    await walk.depart()
    assert (await sender.rows("select note from lanes.batch order by id"))[-1] == (PRIMER,)
    await walk.is_answered()
