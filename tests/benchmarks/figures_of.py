"""The product's interface for `bench_figures`: the one place to change when that interface changes."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import Connection, Engine

from lanes.store.advice.advice import evidence
from lanes.store.database import clock
from lanes.store.figures import folding, measurements
from lanes.store.report import snapshot

OVER = timedelta(days=30)
Question = Callable[[Connection, datetime], object]


def report(connection: Connection, now: datetime) -> None:
    """Read the snapshot behind the report, of all thirty days."""
    snapshot.take(connection, since=now - OVER, now=now)


def promises(connection: Connection, now: datetime) -> None:
    """Measure what `watch` measures every few seconds."""
    measurements.measure(connection, now=now)


def advice(connection: Connection, now: datetime) -> None:
    """Read the evidence for the advice on one workload."""
    evidence(connection, "tickets", since=now - OVER, now=now)


def status(url: str) -> None:
    """Run `lanes status` for all thirty days; without a stand it exits with 1, but prints its figures."""
    with tempfile.TemporaryDirectory(prefix="lanes-bench-") as home:
        around = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("LANES_", "PREFECT_"))
        }
        # Start the command as a typed one starts: with compiled modules.
        around.pop("PYTHONDONTWRITEBYTECODE", None)
        around |= {"LANES_DATABASE_URL": url, "LANES_HOME": home}
        asked = [sys.executable, "-m", "lanes", "status", "--hours", "720", "--json"]
        done = subprocess.run(asked, env=around, text=True, capture_output=True, timeout=300)
    assert '"taken_at"' in done.stdout, done.stderr


def rebuild(pool: Engine) -> int:
    """Count the figures again, and return the number of facts of all days."""
    with pool.begin() as connection:
        now = clock(connection)
    said = folding.rebuild(
        pool,
        since=None,
        until=now,
        told=lambda day, of: print(f"rebuild: {day.day:%d %b}", flush=True),
    )
    return sum(each.facts for each in said)
