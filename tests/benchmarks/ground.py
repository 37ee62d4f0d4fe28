"""The basis of every benchmark: a Postgres of its own that syncs to disk, with fresh databases, and meters of their cost."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import psycopg
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from lanes.stand.postgres import EmbeddedPostgres, Running
from lanes.store import schema
from lanes.store.asking import plain_url
from tests.benchmarks.endings import end_as_asked
from tests.benchmarks.process_costs import cpu_s


@dataclass
class Metered:
    """The cost of a measured block: bytes of WAL, statements of one database, and seconds of processor time."""

    wal: int = 0
    statements: int = 0
    python_s: float = 0.0  # of this process
    postgres_s: float = 0.0  # of all processes of the server

    def of_each(self, items: int) -> dict[str, float]:
        """Return the bytes of WAL and the microseconds of processor time of an item."""
        return {
            "wal_per_item": self.wal / items,
            "python_us": 1e6 * self.python_s / items,
            "postgres_us": 1e6 * self.postgres_s / items,
        }


class Server:
    """A Postgres, and fresh databases on it: empty ones for peers, and ones with the schema of Lanes."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self._numbers = count(1)
        self._admin = create_engine(running.url("postgres"), isolation_level="AUTOCOMMIT")
        schema.upgrade(running.url("lanes"))
        self._do("create extension if not exists pg_stat_statements")
        # The history is written without the product's triggers.
        self._do("grant set on parameter session_replication_role to lanes_stand")

    def database(self, *, of_lanes: bool = False) -> str:
        """Create a fresh database and return its address for SQLAlchemy."""
        name = f"bench_{next(self._numbers)}"
        self._do(
            f"create database {name} owner lanes_stand" + (" template lanes" if of_lanes else "")
        )
        self._do("checkpoint")
        return self._running.url(name)

    def copy(self, url: str) -> str:
        """Copy the database at `url`, which must have no connection, and return the address of the copy."""
        name = f"bench_{next(self._numbers)}"
        self._do(f"create database {name} owner lanes_stand template {make_url(url).database}")
        self._do("checkpoint")
        return self._running.url(name)

    def drop(self, url: str) -> None:
        """Drop the database at `url`, even with open connections."""
        self._do(f"drop database if exists {make_url(url).database} with (force)")

    @contextmanager
    def metered(self, url: str) -> Iterator[Metered]:
        """Measure the cost of the block, filled in at its end; statements are those of the database at `url`."""
        seen = Metered()
        before, calls = self._wal(), self._calls(url)
        python_s, postgres_s = time.process_time(), cpu_s(self._running.pid)
        yield seen
        seen.python_s = time.process_time() - python_s
        seen.postgres_s = cpu_s(self._running.pid) - postgres_s
        seen.wal, seen.statements = self._wal() - before, self._calls(url) - calls

    def _wal(self) -> int:
        with self._admin.connect() as connection:
            return int(
                connection.execute(
                    text("select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')")
                ).scalar_one()
            )

    def _calls(self, url: str) -> int:
        asked = text(
            "select coalesce(sum(s.calls), 0) from pg_stat_statements s join pg_database d on d.oid = s.dbid"
            " where d.datname = :name"
        )
        with self._admin.connect() as connection:
            return int(connection.execute(asked, {"name": make_url(url).database}).scalar_one())

    def _do(self, statement: str) -> None:
        with self._admin.connect() as connection:
            connection.execute(text(statement))

    def close(self) -> None:
        """Close our connections to the server."""
        self._admin.dispose()


@contextmanager
def server() -> Iterator[Server]:
    """Run a Postgres with its usual durability, in a temporary folder."""
    end_as_asked()
    with tempfile.TemporaryDirectory(prefix="lanes-bench-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        postgres = EmbeddedPostgres(Path(folder) / "postgres")
        running = postgres.start()
        try:
            opened = Server(running)
            yield opened
            opened.close()
        finally:
            postgres.stop()


def vacuumed(url: str) -> None:
    """Bring the database's statistics to the state in which autovacuum would leave them."""
    with psycopg.connect(plain_url(url), autocommit=True) as connection:
        connection.execute("vacuum analyze")
