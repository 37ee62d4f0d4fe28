"""A drain in a process of its own, and the items that it answers."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from sqlalchemy import Engine, create_engine, text

from lanes.client import Lanes
from lanes.store.database import clock
from tests.benchmarks.letters import WORKLOAD, payloads, realtime
from tests.prefect_standin import PrefectStandIn

POLL_S = 0.05
STALLED_S = 120.0
OWN = ("LANES_", "PREFECT_", "ANTHROPIC_", "SLACK_", "OTEL_")
ANSWERED = "select count(*) from lanes.work where state = 'done'"


@dataclass
class Drained:
    """A running drain and its database."""

    pid: int
    url: str
    pool: Engine

    def send(self, first: int, items: int) -> None:
        """Submit items through the client."""
        inputs = [
            {"key": str(first + place), "payload": payload}
            for place, payload in enumerate(payloads(items))
        ]
        with Lanes(self.url) as lanes:
            lanes.submit_many(WORKLOAD, inputs)

    def answered(self) -> int:
        """Return how many items have an answer."""
        with self.pool.connect() as connection:
            return connection.execute(text(ANSWERED)).scalar_one()

    def until_answered(self, items: int, said: Callable[[int], None] | None = None) -> None:
        """Wait until `items` items have an answer.

        Raises:
            AssertionError: no item was answered for two minutes.
        """
        newest, newest_at, said_at = -1, time.monotonic(), 0.0
        while (now_answered := self.answered()) < items:
            now = time.monotonic()
            if now_answered > newest:
                newest, newest_at = now_answered, now
            assert now - newest_at < STALLED_S, (
                f"{now_answered} of {items} were answered, and no more for two minutes"
            )
            if said is not None and now - said_at > 5:
                said(now_answered)
                said_at = now
            time.sleep(POLL_S)


@contextmanager
def one_drain(
    url: str,
    endpoint_url: str,
    *,
    most_calls: int,
    first: int = -1,
    more: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Drained]:
    """Run a drain that has answered item `first` before the block begins. Prefect is a stand-in.

    `more` adds variables to the drain's environment.
    """
    pool = create_engine(url)
    with pool.begin() as connection:
        realtime(connection, now=clock(connection))
    prefect = PrefectStandIn()
    around = {name: value for name, value in os.environ.items() if not name.startswith(OWN)}
    around |= {
        "LANES_DATABASE_URL": url,
        "PREFECT_API_URL": prefect.api_url,
        "PREFECT_LOGGING_LEVEL": "CRITICAL",
        **more,
    }
    asked = [sys.executable, "-m", "tests.benchmarks.drain_process", endpoint_url, str(most_calls)]
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        asked, env=around, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "READY\n", "the drain did not start"
        drained = Drained(process.pid, url, pool)
        answered = drained.answered()
        drained.send(first, 1)
        drained.until_answered(answered + 1)
        yield drained
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        prefect.stop()
        pool.dispose()
