"""What it costs to be observed: a scrape of `lanes metrics` with a long history."""

import http.client
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from sqlalchemy import create_engine

from tests.benchmarks import figures_of, history
from tests.benchmarks.ground import Server, vacuumed

ROUNDS = 30
ACCEPTED = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"


def scrape_ms(ground: Server, items: int) -> float:
    """Return the median milliseconds of a scrape over HTTP, in a connection that is kept as Prometheus keeps it."""
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
    """Run `lanes metrics` on a database; yields where it serves."""
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
