"""The stand-in for tests, in the test's process or in its own, and helpers that call it over HTTP.

Host                a server in this process that runs one stand-in after the other
EndpointProcess     a stand-in in a process of its own, which can be killed
Endpoint            either of them, as tests use it: faults, settings, bill, and clients of the SDK
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import uvicorn
from anthropic import Anthropic, AsyncAnthropic
from anthropic.types.messages import MessageBatch

from anthropic_standin.app import App
from anthropic_standin.clock import EndpointClock
from anthropic_standin.engine import open_engine
from anthropic_standin.exchange import TRANSPORT, Receive, Scope, Send
from anthropic_standin.limits import EndpointSettings
from anthropic_standin.serving import Application, address, configured, listening

T = TypeVar("T")
FIRST_REST_S, LONGEST_REST_S = 0.005, 0.1
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
    """A running stand-in, used over HTTP."""

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
        """Remove all fault rules and limits, and let batches end at once, unless `settings` override this."""
        self.control("DELETE", "faults")
        unlimited = {
            f"{kind}_per_minute": None for kind in ("requests", "input_tokens", "output_tokens")
        }
        usual = {
            "turnaround_s": 0,
            "latency_s": 0,
            "clock_ahead_s": 0,
            "batch_cache_hits": 1,
            "batch_own_hits": 0,
            **unlimited,
        }
        self.control("POST", "settings", {**usual, **settings})

    def ended(self, batch_id: str, *, within_s: float = 20) -> MessageBatch:
        """Wait for the end of the batch, and return it."""
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
    """A stand-in in a process of its own; `home` outlives it."""

    def __init__(self, home: Path, *options: str) -> None:
        self.home = home
        command = [sys.executable, "-m", "anthropic_standin", "--home", str(home), *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.ready_line = self.process.stdout.readline()
        if not self.ready_line.startswith("READY "):
            raise RuntimeError(f"the stand-in did not start; it said {self.ready_line!r}")
        super().__init__(self.ready_line.split()[1])

    def stop(self) -> int:
        """Terminate the process as a supervisor does, and return its exit status."""
        self.process.terminate()
        return self._wait()

    def kill(self) -> None:
        """Kill the process, as in a crash."""
        self.process.kill()
        self._wait()

    def _wait(self) -> int:
        status = self.process.wait(timeout=20)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return status


@contextlib.contextmanager
def running_endpoint(home: Path, *options: str) -> Iterator[EndpointProcess]:
    """Run a stand-in process for the duration of the block."""
    endpoint = EndpointProcess(home, *options)
    try:
        yield endpoint
    finally:
        if endpoint.process.poll() is None:
            endpoint.kill()


def asking(
    text: str, *, schema: dict[str, Any] | None = TICKET_SCHEMA, **fields: Any
) -> dict[str, Any]:
    """Return the parameters of a Messages request about a text."""
    params: dict[str, Any] = {
        "model": "claude-haiku-5-5",
        "max_tokens": 200,
        "messages": [{"role": "user", "content": text}],
        **fields,
    }
    if schema is not None:
        params["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
    return params


def batch_of(texts: list[str], **fields: Any) -> list[Any]:
    """Return batch requests `c0`, `c1`, ... about these texts."""
    return [
        {"custom_id": f"c{place}", "params": asking(text, **fields)}
        for place, text in enumerate(texts)
    ]


class Host:
    """A server in this process that runs one stand-in after the other; starting a process for each would take half a second."""

    def __init__(self) -> None:
        self._listener = listening()
        self._server = uvicorn.Server(configured(self))
        self._loop = asyncio.new_event_loop()
        self._app: Application | None = None
        self._under_way: set[asyncio.Task[Any]] = set()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @contextlib.contextmanager
    def standin(
        self,
        home: Path,
        *,
        machine: Callable[[], float] = time.time,
        through: Callable[[Application], Application] = lambda app: app,
    ) -> Iterator[Endpoint]:
        """Serve a new stand-in for the duration of the block, with the echo engine and batches that end at once.

        `machine` is its clock; `through` may wrap the application.
        """
        home.mkdir()
        with ThreadPoolExecutor(thread_name_prefix="stand-in") as threads:
            self._loop.call_soon_threadsafe(self._loop.set_default_executor, threads)
            settings = EndpointSettings(turnaround_s=0)
            clock = EndpointClock(settings, machine=machine)
            app = App(home=home, engine=open_engine("echo"), settings=settings, clock=clock)
            self._app = through(app)
            try:
                yield Endpoint(address(self._listener))
            finally:
                self._app = None
                asyncio.run_coroutine_threadsafe(self._hang_up(), self._loop).result()
        app.close()

    def stop(self) -> None:
        """Stop serving."""
        self._server.should_exit = self._server.force_exit = True
        self._thread.join()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._under_way.add(task)
        try:
            assert self._app is not None, "no test may ask a stand-in after its block has ended"
            await self._app(scope, receive, send)
        except asyncio.CancelledError:
            scope[TRANSPORT].abort()
            while (await receive())["type"] != "http.disconnect":
                pass
        finally:
            self._under_way.discard(task)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._server.serve(sockets=[self._listener]))
        self._loop.close()

    async def _hang_up(self) -> None:
        """Cancel the requests in progress."""
        under_way = list(self._under_way)
        for each in under_way:
            each.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)


def until(told: Callable[[], T], *, within_s: float = 60, what: str = "it") -> T:
    """Return the value of `told` once it is true; poll at once, and then at growing intervals.

    Raises:
        AssertionError: the value is still false after `within_s` seconds.
    """
    end, rest_s = time.monotonic() + within_s, FIRST_REST_S
    while not (value := told()):
        assert time.monotonic() < end, f"{what} did not happen within {within_s:g} s"
        time.sleep(rest_s)
        rest_s = min(2 * rest_s, LONGEST_REST_S)
    return value
