"""What every benchmark stands on: a Postgres of its own that syncs to disk, with fresh databases, and what they cost."""

import tempfile
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


@dataclass
class Metered:
    """What went on while it was looked at: bytes of the write-ahead log, and statements of one database."""

    wal: int = 0
    statements: int = 0


class Server:
    """A Postgres, and fresh databases on it: empty ones for peers, and ones with the schema of Lanes."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self._numbers = count(1)
        self._admin = create_engine(running.url("postgres"), isolation_level="AUTOCOMMIT")
        schema.upgrade(running.url("lanes"))
        self._do("create extension if not exists pg_stat_statements")
        self._do(
            "grant set on parameter session_replication_role to lanes_stand"
        )  # a history is filled without its triggers

    def database(self, *, of_lanes: bool = False) -> str:
        """The address of a fresh database, as SQLAlchemy takes it."""
        name = f"bench_{next(self._numbers)}"
        self._do(
            f"create database {name} owner lanes_stand" + (" template lanes" if of_lanes else "")
        )
        self._do("checkpoint")
        return self._running.url(name)

    def copy(self, url: str) -> str:
        """The address of a fresh copy of that database, to which nobody may be connected."""
        name = f"bench_{next(self._numbers)}"
        self._do(f"create database {name} owner lanes_stand template {make_url(url).database}")
        self._do("checkpoint")
        return self._running.url(name)

    def drop(self, url: str) -> None:
        """The database of that address is gone, whoever is connected to it."""
        self._do(f"drop database if exists {make_url(url).database} with (force)")

    @contextmanager
    def metered(self, url: str) -> Iterator[Metered]:
        """What the block costs, filled in at its end. Statements are those of the database of that address."""
        seen = Metered()
        before, calls = self._wal(), self._calls(url)
        yield seen
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
        """No connection of ours is left."""
        self._admin.dispose()


@contextmanager
def server() -> Iterator[Server]:
    """A Postgres with its usual durability, in a temporary folder."""
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
    """The database's statistics are as autovacuum would have them by and by."""
    with psycopg.connect(plain_url(url), autocommit=True) as connection:
        connection.execute("vacuum analyze")
