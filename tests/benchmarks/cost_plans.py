"""The cost of a round by every possible plan, at the same packs: bare calls to a separate stand-in, which bills them.

A plan sets whether the calls of urgent items are cached, the lane of items that may wait, and whether they are cached there. It
knows in advance what Lanes has to find out. Each plan goes through one round that is not measured, and then through another.
"""

import asyncio
import itertools
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anthropic_standin.testing import Endpoint, Host
from lanes import json_data
from lanes.packing import ALONE, new_nonce, pack_ids
from lanes.provider.client import ask, connect
from lanes.provider.requests import Question, Writer
from lanes.words import Lane
from lanes.workload.version import Version
from tests.benchmarks.bank_messages import Messages
from tests.benchmarks.cost_life import CostSizes
from tests.passing_time import PassingTime

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic

LONGEST_S = 60
Payloads = Sequence[dict[str, str]]


@dataclass(frozen=True)
class CallPlan:
    """The plan of a round: its lanes and its caching."""

    urgent_cached: bool
    rest: Lane
    rest_cached: bool

    def __str__(self) -> str:
        cached = {True: "cached", False: "plain"}
        return (
            f"urgent {cached[self.urgent_cached]}, the rest {self.rest} {cached[self.rest_cached]}"
        )


PLANS = [CallPlan(*each) for each in itertools.product((False, True), Lane, (False, True))]


class FreshProvider:
    """A new stand-in without earlier requests, and its clock."""

    def __init__(
        self, endpoint: Endpoint, client: "AsyncAnthropic", time: PassingTime, version: Version
    ) -> None:
        self._endpoint, self._client, self.time, self._version = endpoint, client, time, version
        self._writers = {lane: Writer(version, lane) for lane in Lane}

    @property
    def billed(self) -> Decimal:
        """Return the total of its bill so far, in US dollars."""
        return Decimal(self._endpoint.bill()["usd"])

    async def ask(self, payloads: Payloads, *, pack: int, marked: bool) -> None:
        """Send the payloads in real time, packed into calls, all at once."""
        bodies = self._bodies(Lane.REALTIME, payloads, pack, marked)
        await asyncio.gather(*(ask(self._client, body, longest_s=LONGEST_S) for body in bodies))

    async def batch(self, payloads: Payloads, *, pack: int, marked: bool) -> None:
        """Send the payloads in a batch, packed into requests."""
        bodies: list[Any] = [
            json_data.loads(body) for body in self._bodies(Lane.BATCH, payloads, pack, marked)
        ]
        nonce = new_nonce()
        requests: list[Any] = [
            {"custom_id": f"{nonce}-{n}", "params": body} for n, body in enumerate(bodies)
        ]
        created = await self._client.messages.batches.create(requests=requests)
        await asyncio.to_thread(self._endpoint.ended, created.id)

    def _bodies(self, lane: Lane, payloads: Payloads, pack: int, marked: bool) -> list[bytes]:
        packs = [payloads[start : start + pack] for start in range(0, len(payloads), pack)]
        named = [
            pack_ids(new_nonce(), 0, len(each)) if len(each) > 1 else [ALONE] for each in packs
        ]
        asked = [
            [Question(id_, each) for id_, each in zip(*of, strict=True)]
            for of in zip(named, packs, strict=True)
        ]
        return [self._writers[lane].write(each, marked=marked) for each in asked]


def priced(
    version: Version, messages: Messages, sizes: CostSizes, *, hits: float
) -> Mapping[str, Decimal]:
    """Return the US dollars of a round by each plan; `alone` sends each item alone in a real-time call without a cache."""
    return asyncio.run(_priced(version, messages, sizes, hits))


async def _priced(
    version: Version, messages: Messages, sizes: CostSizes, hits: float
) -> Mapping[str, Decimal]:
    found: dict[str, Decimal] = {}
    host = Host()
    try:
        async with _provider(host, version, hits) as provider:
            for start in range(0, sizes.items, 50):
                await provider.ask(
                    messages.payloads(min(50, sizes.items - start), first=start),
                    pack=1,
                    marked=False,
                )
            found["alone"] = provider.billed
        for plan in PLANS:
            async with _provider(host, version, hits) as provider:
                await _round(provider, plan, version, messages, sizes, first=0)
                before = provider.billed
                await _round(provider, plan, version, messages, sizes, first=sizes.items)
                found[str(plan)] = provider.billed - before
    finally:
        host.stop()
    return found


async def _round(
    provider: FreshProvider,
    plan: CallPlan,
    version: Version,
    messages: Messages,
    sizes: CostSizes,
    *,
    first: int,
) -> None:
    payloads, pack_of = messages.payloads(sizes.items, first=first), version.spec.pack_of
    for some in sizes.urgent(payloads):
        await provider.ask(some, pack=pack_of(Lane.REALTIME), marked=plan.urgent_cached)
        provider.time.passes(seconds=sizes.apart_s)
    others = sizes.others(payloads)
    if plan.rest is Lane.BATCH:
        await provider.batch(others, pack=pack_of(Lane.BATCH), marked=plan.rest_cached)
    else:
        for start in range(0, len(others), 10 * pack_of(Lane.REALTIME)):
            some = others[start : start + 10 * pack_of(Lane.REALTIME)]
            await provider.ask(some, pack=pack_of(Lane.REALTIME), marked=plan.rest_cached)
    provider.time.passes(seconds=sizes.rounds_apart_s)


@asynccontextmanager
async def _provider(host: Host, version: Version, hits: float) -> AsyncIterator[FreshProvider]:
    time = PassingTime()
    with (
        tempfile.TemporaryDirectory(prefix="lanes-bench-", ignore_cleanup_errors=True) as home,
        host.standin(Path(home) / "endpoint", machine=time.of_host) as endpoint,
    ):
        endpoint.reset(batch_cache_hits=hits)
        async with connect(api_key="x", base_url=endpoint.url) as client:
            yield FreshProvider(endpoint, client, time, version)
