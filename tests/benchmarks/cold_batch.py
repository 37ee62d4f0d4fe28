"""The cost of a cold batch: as Lanes sends it, a primer first; without any cache mark; and bare, with every request marked.

The stand-in behaves as users measured the provider: requests read what an earlier batch wrote, and nothing of their own batch.
Items are unpacked, with 200 tokens of their own and 80 tokens of answer. A first batch, which does not count, finds out that
caching pays.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy import text

from tests.benchmarks.at_its_time import Ground, standing
from tests.benchmarks.bank_messages import Messages
from tests.benchmarks.cost_life import SPENT, WORKLOAD, billed, send
from tests.benchmarks.cost_plans import FreshProvider
from tests.examples import publish

OWN_CHARS, COLD_H = 760, 2
LENGTHENED = 400  # characters: Haiku caches nothing below 4,096 tokens
FIELDS = ("summary", "reason")  # of 40 tokens each
SHAPE = {
    "type": "object",
    "properties": {name: {"type": "string"} for name in FIELDS},
    "required": [*FIELDS],
    "additionalProperties": False,
}
NEVER = """
update lanes.caching set marks = 'none', again_at = cast(:now as timestamptz) + interval '1 year' where lane = 'batch'
"""
SENT = "select requests, marked_requests from lanes.batch order by id"


@dataclass(frozen=True)
class ColdBatch:
    """US dollars of the batch by the stand-in's bill, and the difference from the ledger; `tokens` are of one item."""

    primed: Decimal
    plain: Decimal
    marked: Decimal
    difference: Decimal
    tokens: Mapping[str, int]


def lead(url: str, messages: Messages, items: int) -> ColdBatch:
    """Send `items` items in each way, in the database at `url`."""
    return asyncio.run(_lead(url, messages, items))


async def _lead(url: str, messages: Messages, items: int) -> ColdBatch:
    async with standing(url) as ground:
        now = await ground.at.db.now()
        rules = messages.spec["instructions"]
        spec = {"instructions": rules + rules[:LENGTHENED], "output_schema": SHAPE}
        answers = {"max_output_tokens": 120, "expected_output_tokens": 80}
        version = await ground.at.db.run(
            lambda c: publish(
                c, WORKLOAD, now=now, split_percent=0, batch_pack=1, **spec, **answers
            )
        )
        await _cold(ground, items, 0)
        primed = await _cold(ground, items, 1)
        assert await _sent(ground) == [(1, 1), (items - 1, 20), (1, 1), (items - 1, items - 1)]
        await ground.at.db.run(lambda c: c.execute(text(NEVER), {"now": now}))
        before = ground.endpoint.bill()
        plain = await _cold(ground, items, 2)
        assert (await _sent(ground))[-1] == (items, 0)
        after = ground.endpoint.bill()
        (spent,) = await ground.at.db.run(lambda c: c.execute(text(SPENT)).one())
        difference = abs(billed(ground) - spent)
        tokens = {
            name: (after[name] - before[name]) // items
            for name in ("input_tokens", "output_tokens")
        }
        bare = FreshProvider(ground.endpoint, await ground.at.client(), ground.time, version)
        await bare.batch(_payloads(items, 3), pack=1, marked=True)
        marked = Decimal(ground.endpoint.bill()["usd"]) - Decimal(after["usd"])
    return ColdBatch(primed, plain, marked, difference, tokens)


async def _cold(ground: Ground, items: int, number: int) -> Decimal:
    """Return the cost of a batch for which nothing is still cached."""
    ground.time.passes(hours=COLD_H)
    before = billed(ground)
    await send(ground, _payloads(items, number), number * items, urgent=False)
    assert await ground.batched() == items
    ground.time.passes(hours=COLD_H)
    return billed(ground) - before


async def _sent(ground: Ground) -> list[tuple[int, int]]:
    return await ground.at.db.run(lambda c: [tuple(row) for row in c.execute(text(SENT))])


def _payloads(items: int, number: int) -> list[dict[str, str]]:
    return [
        {"text": (f"Letter {number}-{place} " + "and more " * OWN_CHARS)[:OWN_CHARS]}
        for place in range(items)
    ]
