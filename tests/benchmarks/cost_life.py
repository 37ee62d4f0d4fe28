"""Rounds of items through both lanes, as Lanes processes them, and the stand-in's bill for each round.

A fifth is urgent and arrives a few items at a time; the rest may wait, and departs with the round's batches.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, text

from lanes.money.estimates import Estimates
from lanes.store.doors import items as door
from lanes.store.doors.unrouted import has_received
from tasks.account_drain import DrainPace
from tasks.drain import Drain, drain
from tasks.router import route_received
from tests.benchmarks.at_its_time import Ground, standing
from tests.benchmarks.bank_messages import Messages
from tests.examples import publish, submission

WORKLOAD = "messages"
URGENT = 0.2
PROMPTLY_S = 60
SETTLED = "select count(*) from lanes.item where settled_at is not null"
SPENT = "select coalesce(sum(cost_usd), 0) from lanes.spend"
STANDS = "select lane, marks, hit_rate, why from lanes.caching order by lane desc"


@dataclass(frozen=True)
class CostSizes:
    """The items of a round, how many urgent ones arrive at once, and the times between them and between rounds."""

    items: int
    at_once: int = 10
    apart_s: float = 30
    rounds_apart_s: float = 1_200

    def urgent(self, payloads: Sequence[dict[str, str]]) -> Iterator[Sequence[dict[str, str]]]:
        """Yield the urgent items of a round, as they arrive."""
        urgent = payloads[: round(URGENT * self.items)]
        for start in range(0, len(urgent), self.at_once):
            yield urgent[start : start + self.at_once]

    def others(self, payloads: Sequence[dict[str, str]]) -> Sequence[dict[str, str]]:
        """Return the items of a round that may wait."""
        return payloads[round(URGENT * self.items) :]


@dataclass(frozen=True)
class Led:
    """The cost of each round by the stand-in's bill in US dollars, its difference from the ledger, and the caching."""

    usd: Sequence[Decimal]
    difference: Decimal
    caching: Mapping[str, str]


def lead(
    url: str,
    messages: Messages,
    fields: Mapping[str, Any],
    sizes: CostSizes,
    *,
    rounds: int,
    hits: float,
) -> Led:
    """Run rounds through the database at `url`; the share `hits` of a batch's requests finds a cached prompt."""
    return asyncio.run(_lead(url, messages, fields, sizes, rounds, hits))


async def _lead(
    url: str,
    messages: Messages,
    fields: Mapping[str, Any],
    sizes: CostSizes,
    rounds: int,
    hits: float,
) -> Led:
    async with standing(url, batch_cache_hits=hits) as ground:
        now = await ground.at.db.now()
        version = await ground.at.db.run(
            lambda c: publish(c, WORKLOAD, now=now, split_percent=0, **messages.spec, **fields)
        )
        Estimates(now).of(version, 0)  # so that the prices are read
        usd, done = list[Decimal](), 0
        # On the benchmark's own clock, items arrive further apart.
        async with drain(ground.at, standing=False, pace=DrainPace(trial_s=0)) as opened:
            for number in range(rounds):
                before = billed(ground)
                payloads = messages.payloads(sizes.items, first=number * sizes.items)
                done = await _urgent(ground, opened, sizes, payloads, done)
                done = await _others(ground, sizes.others(payloads), done)
                usd.append(billed(ground) - before)
                print(f"round {number + 1} of {rounds}: ${usd[-1]:.6f}", flush=True)
                ground.time.passes(seconds=sizes.rounds_apart_s)
        (spent,) = await ground.at.db.run(lambda c: c.execute(text(SPENT)).one())
        stands = await ground.at.db.run(lambda c: c.execute(text(STANDS)).all())
        told = {row.lane: f"{row.marks}: {row.why}" for row in stands}
        return Led(usd, abs(billed(ground) - spent), told)


async def _urgent(
    ground: Ground, opened: Drain, sizes: CostSizes, payloads: Sequence[dict[str, str]], done: int
) -> int:
    for some in sizes.urgent(payloads):
        await send(ground, some, done, urgent=True)
        done += len(some)
        async with asyncio.timeout(PROMPTLY_S):
            while await _settled(ground) < done:
                assert await opened.stays()
                opened.wakes.record_ready_work()
                await opened.turn()
        ground.time.passes(seconds=sizes.apart_s)
        await opened.main.marks.look()
    return done


async def _others(ground: Ground, payloads: Sequence[dict[str, str]], done: int) -> int:
    await send(ground, payloads, done, urgent=False)
    sent = await ground.batched()
    assert sent == len(payloads), f"{sent} items left in batches, of {len(payloads)}"
    done += len(payloads)
    assert await _settled(ground) == done
    return done


async def send(
    ground: Ground, payloads: Sequence[dict[str, str]], first: int, *, urgent: bool
) -> None:
    """Admit the payloads as items, numbered from `first` on, and route them."""
    now = await ground.at.db.now()
    sent = [
        submission(f"{first + place:07d}", WORKLOAD, payload=payload, urgent=urgent)
        for place, payload in enumerate(payloads)
    ]

    def admit(connection: Connection) -> None:
        door.admit(connection, sent, door="client", now=now)

    await ground.at.db.run(admit)
    # While the drain's own router holds the lock, nothing is routed here.
    while await route_received(ground.at.db) or await ground.at.db.run(has_received):
        pass


async def _settled(ground: Ground) -> int:
    return await ground.at.db.run(lambda c: c.execute(text(SETTLED)).scalar_one())


def billed(ground: Ground) -> Decimal:
    """Return the total of the stand-in's bill so far, in US dollars."""
    return Decimal(ground.endpoint.bill()["usd"])
