"""async-batch-llm over AsyncAnthropic: retries and limits, results in memory."""

import asyncio
import json
import logging
import time

from anthropic import AsyncAnthropic
from async_batch_llm import CallableStrategy, CallOutcome, process_prompts  # pyright: ignore[reportMissingImports]

from tests.benchmarks.peers.bare_calls import bodies


def seconds(endpoint_url: str, calls: int, at_once: int) -> float:
    """Return the seconds that the calls took; each answer is parsed."""
    logging.getLogger("async_batch_llm").setLevel(logging.ERROR)
    return asyncio.run(_ask(endpoint_url, calls, at_once))


async def _ask(endpoint_url: str, calls: int, at_once: int) -> float:
    asked = bodies(calls)
    async with AsyncAnthropic(base_url=endpoint_url, api_key="x", max_retries=0) as client:

        async def invoke(
            prompt: str, *, attempt: int, timeout: float, state: object
        ) -> CallOutcome[object]:
            message = await client.messages.create(**asked[int(prompt)], timeout=timeout)
            used = message.usage
            tokens = {
                "input_tokens": used.input_tokens,
                "output_tokens": used.output_tokens,
                "total_tokens": used.input_tokens + used.output_tokens,
            }
            return CallOutcome(json.loads(message.content[0].text), tokens)  # pyright: ignore[reportAttributeAccessIssue]

        began = time.perf_counter()
        done = await process_prompts(
            CallableStrategy(invoke), [str(number) for number in range(calls)], concurrency=at_once
        )
        took = time.perf_counter() - began
    assert done.succeeded == calls, f"{done.succeeded} of {calls} succeeded"
    return took
