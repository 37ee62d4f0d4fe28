"""The cost of being observed: a scrape of `lanes metrics` with a long history, and the traces of a drain's items."""

import http.client
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import psutil
from sqlalchemy import create_engine

from tests.benchmarks import figures_of, history
from tests.benchmarks.answering import Drained, one_drain
from tests.benchmarks.ground import Server, vacuumed
from tests.otlp_receiver import OtlpReceiver, otlp_receiver
from tests.waiting import until

ROUNDS = 30
PAIRS = 15  # a single pair is off by a tenth on a busy machine
SPANS = 3  # of an item: its own, its route and its call
ACCEPTED = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"


def scrape_ms(ground: Server, items: int) -> float:
    """Return the median milliseconds of a scrape over HTTP, on a connection that is kept open as Prometheus does."""
    url = ground.database(of_lanes=True)
    pool = create_engine(url)
    with pool.begin() as connection:
        history.write(connection, items)
    figures_of.rebuild(pool)
    pool.dispose()
    vacuumed(url)
    with _served(url) as address:
        where = urlsplit(address)
        asking = http.client.HTTPConnection(where.netloc)
        taken = [_scrape(asking, where.path) for _ in range(ROUNDS)]
        asking.close()
    median = statistics.median(taken)
    print(
        f"scrape at {items:,} items: {median:.1f} ms, {min(taken):.1f} to {max(taken):.1f}",
        flush=True,
    )
    return median


@contextmanager
def _served(url: str) -> Iterator[str]:
    """Run `lanes metrics` on a database, and yield its address."""
    command = [sys.executable, "-m", "lanes", "metrics", "--port", "0"]
    with subprocess.Popen(
        command, env={"LANES_DATABASE_URL": url}, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def _scrape(asking: http.client.HTTPConnection, path: str) -> float:
    began = time.perf_counter()
    asking.request("GET", path, headers={"Accept": ACCEPTED})
    told = asking.getresponse().read()
    took = (time.perf_counter() - began) * 1_000
    assert b"lanes_up 1.0" in told, told
    return took


def tracing_cost(ground: Server, endpoint_url: str, items: int, ratio: float) -> float:
    """Return by how much sending traces raises a drain's processor seconds for an item: 0.05 is 5 %.

    Two drains take turns with the same number of items; the share is the median of the pairs. `ratio` is the share of traces
    that is sampled. The time of the thread that makes and sends the spans is included.
    """
    with otlp_receiver() as collector:
        sampled = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
            "OTEL_TRACES_SAMPLER_ARG": str(ratio),
        }
        plain, traced = (ground.database(of_lanes=True) for _ in range(2))
        with (
            one_drain(plain, endpoint_url, most_calls=0) as off,
            one_drain(traced, endpoint_url, most_calls=0, more=sampled) as on,
        ):
            shares: list[float] = []
            for number in range(PAIRS):
                first = number * items
                with_traces, spans_took_s = _cost(on, first, items, collector, ratio)
                without, _ = _cost(off, first, items, idle_s=spans_took_s)
                shares.append(with_traces / without - 1)
                us = f"{without / items * 1e6:.0f} us, with traces {with_traces / items * 1e6:.0f} us"
                print(f"an item: {us}", flush=True)
    return statistics.median(shares)


def _cost(
    drain: Drained,
    first: int,
    items: int,
    collector: OtlpReceiver | None = None,
    ratio: float = 1,
    *,
    idle_s: float = 0,
) -> tuple[float, float]:
    """Return the processor seconds of the drain for these items, and how long their spans took to arrive after them.

    Without a collector the drain idles for as long.
    """
    process = psutil.Process(drain.pid)
    answered = drain.answered()
    sent = 0 if collector is None else len(collector.spans)
    began = sum(process.cpu_times()[:2])
    drain.send(first, items)
    drain.until_answered(answered + items)
    ended = time.perf_counter()
    if collector is not None:
        # At least this part of the share arrives, because trace ids decide the sample at random.
        surely = 1 if ratio == 1 else 0.5
        least = sent + int(items * ratio * SPANS * surely)
        until(lambda: len(collector.spans) >= least, within_s=60, what="the spans")
    time.sleep(idle_s)
    return sum(process.cpu_times()[:2]) - began, time.perf_counter() - ended
