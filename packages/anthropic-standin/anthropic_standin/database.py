"""The stand-in's one SQLite file: batches, their requests and results, and the bill."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

SCHEMA = """
CREATE TABLE IF NOT EXISTS batch (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    created_at REAL NOT NULL,
    requests INTEGER NOT NULL,
    finished INTEGER NOT NULL DEFAULT 0,      -- requests that have a result
    cancel_at REAL,
    ended_at REAL,                            -- set once: from then on results are readable
    succeeded INTEGER NOT NULL DEFAULT 0,
    errored INTEGER NOT NULL DEFAULT 0,
    canceled INTEGER NOT NULL DEFAULT 0,
    expired INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS batch_unfinished ON batch (seq) WHERE ended_at IS NULL;
CREATE TABLE IF NOT EXISTS batch_request (    -- what is still to do; place = batch.seq * 2^20 + random order
    place INTEGER PRIMARY KEY,
    request BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS batch_result (     -- one line of the results, at the place of its request
    place INTEGER PRIMARY KEY,
    line BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS bill (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    message_id TEXT NOT NULL,
    model TEXT NOT NULL,
    processing TEXT NOT NULL,
    batch_id TEXT,
    custom_id TEXT,
    input_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    cache_read_tokens INTEGER NOT NULL,
    cache_write_tokens INTEGER NOT NULL,
    picousd INTEGER NOT NULL,
    billed_at REAL NOT NULL,
    text TEXT NOT NULL                        -- of the last user message
);
"""


class EndpointDatabase:
    """The database file, with one connection per thread and one writer at a time; it survives a killed process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()
        self._writing = threading.Lock()
        self._all: list[sqlite3.Connection] = []
        self.connection().executescript(SCHEMA)

    def connection(self) -> sqlite3.Connection:
        """Return this thread's connection, outside any transaction."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(
                self._path, timeout=30, isolation_level=None, check_same_thread=False
            )
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.row_factory = sqlite3.Row
            self._local.connection = connection
            self._all.append(connection)
        return connection

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Open a write transaction that is committed at the end of the block, and rolled back on an exception."""
        connection = self.connection()
        with self._writing:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def close(self) -> None:
        """Close every thread's connection; all other threads must have stopped."""
        for connection in self._all:
            connection.close()
