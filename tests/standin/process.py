"""The local stand-in as a process, for tests that speak to it over HTTP."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from anthropic import Anthropic, AsyncAnthropic
from anthropic.types.messages import MessageBatch

from tests.waiting import until

TICKET_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "category": {"type": "string", "enum": ["delivery_problem", "refund_request", "praise"]},
        "summary": {"type": "string"},
    },
    "required": ["category", "summary"],
    "additionalProperties": False,
}
PACK_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "answers": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"id": {"type": "string"}, "answer": TICKET_SCHEMA},
                "required": ["id", "answer"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["answers"],
    "additionalProperties": False,
}


class Endpoint:
    """A running stand-in, spoken to over HTTP."""

    def __init__(self, url: str) -> None:
        self.url = url

    def control(self, method: str, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/_control/{path}", data=data, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def fault(self, where: str, kind: str, **fields: object) -> Any:
        return self.control("POST", "faults", {"where": where, "kind": kind, **fields})

    def bill(self) -> Any:
        return self.control("GET", "bill")

    def reset(self, **settings: object) -> None:
        """No fault rules, batches end at once, no limit; or other settings."""
        self.control("DELETE", "faults")
        unlimited = {
            f"{kind}_per_minute": None for kind in ("requests", "input_tokens", "output_tokens")
        }
        usual = {
            "turnaround_s": 0,
            "latency_s": 0,
            "clock_ahead_s": 0,
            "batch_cache_hits": 0.8,
            **unlimited,
        }
        self.control("POST", "settings", {**usual, **settings})

    def ended(self, batch_id: str, *, within_s: float = 20) -> MessageBatch:
        """The batch, once it has ended."""
        with self.client() as client:

            def ended() -> MessageBatch | None:
                batch = client.messages.batches.retrieve(batch_id)
                return batch if batch.processing_status == "ended" else None

            found = until(ended, within_s=within_s, what="the end of the batch")
        assert found is not None
        return found

    def responses_about(self, text: str) -> int:
        return self.control("GET", f"texts?contains={quote(text)}")["responses"]

    def client(self, **options: Any) -> Anthropic:
        return Anthropic(base_url=self.url, api_key="x", max_retries=0, **options)

    def async_client(self, **options: Any) -> AsyncAnthropic:
        return AsyncAnthropic(base_url=self.url, api_key="x", max_retries=0, **options)


class EndpointProcess(Endpoint):
    """A stand-in that is a process of its own; `home` outlives it."""

    def __init__(self, home: Path, *options: str) -> None:
        self.home = home
        command = [sys.executable, "-m", "lanes.standin", "--home", str(home), *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.ready_line = self.process.stdout.readline()
        if not self.ready_line.startswith("READY "):
            raise RuntimeError(f"the stand-in did not start; it said {self.ready_line!r}")
        super().__init__(self.ready_line.split()[1])

    def stop(self) -> int:
        """End it as a supervisor does; the exit status."""
        self.process.terminate()
        return self._wait()

    def kill(self) -> None:
        """End it as a crash does."""
        self.process.kill()
        self._wait()

    def _wait(self) -> int:
        status = self.process.wait(timeout=20)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return status


@contextlib.contextmanager
def running_endpoint(home: Path, *options: str) -> Iterator[EndpointProcess]:
    """A stand-in for the length of the block."""
    endpoint = EndpointProcess(home, *options)
    try:
        yield endpoint
    finally:
        if endpoint.process.poll() is None:
            endpoint.kill()


def asking(
    text: str, *, schema: dict[str, Any] | None = TICKET_SCHEMA, **fields: Any
) -> dict[str, Any]:
    """Parameters of a Messages request about one text."""
    params: dict[str, Any] = {
        "model": "claude-haiku-5-5",
        "max_tokens": 200,
        "messages": [{"role": "user", "content": text}],
        **fields,
    }
    if schema is not None:
        params["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
    return params


def batch_of(texts: list[str], **fields: Any) -> list[dict[str, Any]]:
    """Batch requests `c0`, `c1`, ... about texts."""
    return [
        {"custom_id": f"c{place}", "params": asking(text, **fields)}
        for place, text in enumerate(texts)
    ]
