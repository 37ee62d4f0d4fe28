"""A bare AsyncAnthropic: concurrent calls, without checks and without storage."""

import asyncio
import time
from typing import Any

from anthropic import AsyncAnthropic

from lanes.provider.requests import Question, parameters
from lanes.words import Lane
from tests.benchmarks.letters import payloads
from tests.examples import version


def bodies(calls: int) -> list[dict[str, Any]]:
    """Return the requests that Lanes would send."""
    of = version()
    return [parameters(of, Lane.REALTIME, [Question("1", payload)]) for payload in payloads(calls)]


def seconds(endpoint_url: str, calls: int, at_once: int) -> float:
    """Return the seconds that the calls took."""
    return asyncio.run(_ask(endpoint_url, bodies(calls), at_once))


async def _ask(endpoint_url: str, asked: list[dict[str, Any]], at_once: int) -> float:
    places = asyncio.Semaphore(at_once)
    async with AsyncAnthropic(base_url=endpoint_url, api_key="x", max_retries=0) as client:

        async def one(body: dict[str, Any]) -> str:
            async with places:
                return (await client.messages.create(**body)).id

        began = time.perf_counter()
        answered = await asyncio.gather(*map(one, asked))
        took = time.perf_counter() - began
    assert len(set(answered)) == len(asked)
    return took
