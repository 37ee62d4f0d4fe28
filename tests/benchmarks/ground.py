"""What every benchmark stands on: a Postgres of its own that syncs to disk, and one way to say the figures."""

import json
import platform
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from sqlalchemy import create_engine, text

from lanes.stand.postgres import EmbeddedPostgres, Running
from lanes.store import schema


class Server:
    """A Postgres, and fresh databases on it: empty ones for peers, and ones with the schema of Lanes."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self._numbers = count(1)
        schema.upgrade(running.url("lanes"))

    def database(self, *, of_lanes: bool = False) -> str:
        """The address of a fresh database, as SQLAlchemy takes it."""
        name = f"bench_{next(self._numbers)}"
        admin = create_engine(self._running.url("postgres"), isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            connection.execute(text(f"create database {name}" + (" template lanes" if of_lanes else "")))
            connection.execute(text("checkpoint"))
        admin.dispose()
        return self._running.url(name)


@contextmanager
def server() -> Iterator[Server]:
    """A Postgres with its usual durability, in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="lanes-bench-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        postgres = EmbeddedPostgres(Path(folder) / "postgres")
        running = postgres.start()
        try:
            yield Server(running)
        finally:
            postgres.stop()


def medians(contenders: Mapping[str, Callable[[], float]], *, rounds: int) -> dict[str, float]:
    """The median of what each contender measured; they take turns, so that a noisy minute harms all of them."""
    seen: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds):
        for name, measure in contenders.items():
            value = measure()
            seen[name].append(value)
            print(f"round {number + 1} of {rounds}: {name} {value:,.4g}", flush=True)
    return {name: statistics.median(values) for name, values in seen.items()}


def tell(bench: str, figures: Mapping[str, float], **about: object) -> None:
    """The figures as a line of JSON and, last, as a line of name=value."""
    rounded = {name: float(f"{value:.4g}") for name, value in figures.items()}
    machine = f"{platform.machine()}, Python {platform.python_version()}"
    print(json.dumps({"bench": bench, "machine": machine, **about, **rounded}))
    print(" ".join(f"{name}={value:g}" for name, value in rounded.items()))
