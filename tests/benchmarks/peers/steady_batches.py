"""steadybatch: batches with a checkpoint in SQLite; every answer is checked against the schema, no cost is counted."""

import tempfile
import time
from pathlib import Path
from typing import Any

from anthropic import Anthropic
from steadybatch import Request, Runner  # pyright: ignore[reportMissingImports]
from steadybatch.models import BatchState, BatchStatus, PreparedRequest  # pyright: ignore[reportMissingImports]
from steadybatch.providers.anthropic_batch import AnthropicBatch  # pyright: ignore[reportMissingImports]

from lanes.provider.requests import Question, parameters
from lanes.words import Lane
from tests.benchmarks.letters import payloads
from tests.examples import SCHEMA, version

POLL_S = 0.1


class _Waited(AnthropicBatch):
    """A provider that records its own time: to answer the create, and then until the batch had ended."""

    waited_s = 0.0

    def submit(self, batch: list[PreparedRequest]) -> str:
        lines: list[Any] = [self.to_line(each) for each in batch]
        began = time.perf_counter()
        created = self.client.messages.batches.create(requests=lines)
        self.waited_s += time.perf_counter() - began
        return created.id

    def status(self, batch_id: str) -> BatchStatus:
        began = time.perf_counter()
        said = super().status(batch_id)
        if said.state is not BatchState.DONE:
            time.sleep(POLL_S)
        self.waited_s += time.perf_counter() - began
        return said


def seconds(endpoint_url: str, items: int, *, durable: bool) -> float:
    """Return the seconds to submit and to complete `items` requests, without the provider's own time."""
    of = version()
    bodies = [parameters(of, Lane.BATCH, [Question("1", payload)]) for payload in payloads(items)]
    requests = [
        Request(str(number), body["messages"], system=body["system"], max_tokens=body["max_tokens"])
        for number, body in enumerate(bodies)
    ]
    with (
        tempfile.TemporaryDirectory(prefix="lanes-bench-") as home,
        Anthropic(base_url=endpoint_url, api_key="x", max_retries=0, timeout=600) as client,
    ):
        provider, checkpoint = _Waited(client), Path(home) / "job.sqlite" if durable else ":memory:"
        runner = Runner(
            provider,
            of.spec.batch_model,
            response_schema=SCHEMA,
            checkpoint=checkpoint,
            poll_every=0,
        )
        began = time.perf_counter()
        report = runner.run(requests)
        took = time.perf_counter() - began
        runner.store.close()
    assert (report.ok, report.failed) == (items, 0), f"{report.ok} ok, {report.failed} failed"
    return took - provider.waited_s
