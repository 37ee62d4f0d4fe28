"""Cheap databases for tests: copies of a template, one database for many tests, and one engine for all of them."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql
from psycopg.pq import ExecStatus, TransactionStatus
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from lanes.stand.info import SUPERUSER, owner_of, password_of
from lanes.stand.postgres import Running
from lanes.store.engines import discreet_async_engine

TEMPLATE = "lanes"
OWNER = owner_of(TEMPLATE)
# Rights beyond those of the owner of a stand's database: tests create roles, insert a history without its triggers, and
# detect deadlocks at once.
OWNER_MAY = (
    f"alter role {OWNER} createrole",
    f"alter role {OWNER} set createrole_self_grant = 'set, inherit'",
    f"grant set on parameter session_replication_role to {OWNER}",
    f"grant set on parameter deadlock_timeout to {OWNER}",
)
NOWHERE = "postgresql+psycopg://"
MOST_TESTS = 100  # per database: the rows that they rolled back remain in its files
# Verifying a password takes 4,096 rounds of hashing by default, 2 ms of each connection.
AT_ONCE = "set scram_iterations = 1"
RESTARTED = "select setval(seqrelid, seqstart, false) from pg_sequence"
MOST_COMMITTING_TESTS = 50  # per database: deleted rows remain, and no vacuum follows
MOST_BYTES = 4 * 1024**2  # of a database's tables, for the same reason
FILLED = """
    select format('%I.%I', n.nspname, c.relname), pg_relation_size(c.oid)
      from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where c.relkind = 'r' and c.oid >= 16384 and n.nspname !~ '^pg_' and pg_relation_size(c.oid) > 0
"""
# These catalogs change if a test changes more than rows; `reltuples` shows an `analyze`. Our objects have OIDs from 16384.
CATALOGS = {
    "pg_class": "oid",
    "pg_attribute": "attrelid",
    "pg_attrdef": "adrelid",
    "pg_proc": "oid",
    "pg_trigger": "oid",
    "pg_constraint": "oid",
    "pg_index": "indexrelid",
    "pg_type": "oid",
    "pg_namespace": "oid",
    "pg_rewrite": "oid",
    "pg_policy": "oid",
    "pg_default_acl": "oid",
}
SHAPE = (
    "select "
    + " || ' ' || ".join(
        f"(select concat(count(*), ':', max(xmin::text::bigint)) from {name} where {number} >= 16384)"
        for name, number in CATALOGS.items()
    )
    + " || ' ' || (select sum(reltuples) from pg_class where oid >= 16384)"
)
STRAYS = """
    select pg_terminate_backend(pid, 5000) from pg_stat_activity
     where datname = current_database() and backend_type = 'client backend' and pid <> all(%s)
"""
# Everything that `discard all` resets, except the plans: each test would have to make them again.
SESSION_RESET = (
    b"set session authorization default; reset all; close all; unlisten *;"
    b" select pg_advisory_unlock_all(); discard temp; discard sequences"
)


def another(engine: Engine) -> Engine:
    """Return an engine with the same pool and compiled statements, but without entries in caches that are kept per engine."""
    return engine.execution_options()


class Databases:
    """A factory of databases with the newest schema on one server, which also drops them."""

    def __init__(self, server: Running) -> None:
        self._server = server
        self._admin = psycopg.connect(server.url("postgres", None), autocommit=True)
        self._numbers = itertools.count(1)
        self._admin.execute(AT_ONCE)
        for role in (SUPERUSER, OWNER):
            same = password_of(role, server.secret)
            self._admin.execute(
                sql.SQL("alter role {} password {}").format(sql.Identifier(role), sql.Literal(same))
            )

    def make(self) -> str:
        """Make a fresh database and return its address."""
        name = f"test_{next(self._numbers)}"
        names = map(sql.Identifier, (name, TEMPLATE, OWNER))
        self._admin.execute(
            sql.SQL("create database {} template {} owner {} strategy file_copy").format(*names)
        )
        return self._server.url(name)

    def as_superuser(self, url: str) -> str:
        """Return the same address with the superuser's login, for a test that inspects the server itself."""
        return self._server.url(make_url(url).database or "", role=SUPERUSER)

    def drop(self, url: str) -> None:
        """Drop the database, even with open connections."""
        self._admin.execute(
            sql.SQL("drop database {} with (force)").format(
                sql.Identifier(make_url(url).database or "")
            )
        )

    def close(self) -> None:
        self._admin.close()


class Reused:
    """A database for tests that commit nothing: each leaves it unchanged, including its sequences and its session.

    A commit spoils it: the next test gets another one.
    """

    def __init__(self, databases: Databases) -> None:
        self._databases = databases
        self._url = ""
        self._engine: Engine | None = None
        self._tests = 0
        self._spoiled = False

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Open a transaction that is rolled back at the end."""
        engine = self._engine or self._opened()
        try:
            with another(engine).connect() as opened:
                yield opened
        finally:
            self._tests += 1
            if self._spoiled or self._tests == MOST_TESTS:
                self.close()
            else:
                self._clean(engine)

    def close(self) -> None:
        """Drop the database; the next test makes a new one."""
        if self._engine is not None:
            self._engine.dispose()
            self._databases.drop(self._url)
            self._engine = None

    def _opened(self) -> Engine:
        self._url, self._tests, self._spoiled = self._databases.make(), 0, False
        self._engine = engine = create_engine(self._url)
        event.listen(engine, "commit", self._spoil)
        # This option is set for autocommit, too, which must also spoil the database.
        event.listen(engine, "set_connection_execution_options", self._spoil)
        return engine

    def _spoil(self, *_: object) -> None:
        self._spoiled = True

    def _clean(self, engine: Engine) -> None:
        used = engine.raw_connection()
        session = used.driver_connection
        assert isinstance(session, psycopg.Connection)
        session.autocommit = True
        session.execute("discard all")
        session.execute(RESTARTED)
        session.autocommit = False
        used.close()


class Recycled:
    """A database that committing tests use one after the other: each finds it as if it were new.

    A test spoils it by changing more than rows or leaving a session that cannot be ended: the next test gets another one.
    """

    def __init__(self, databases: Databases, roaming: "Roaming") -> None:
        self._databases, self._roaming = databases, roaming
        self._url = ""
        self._tests = 0
        self._shape = ""
        self._seeds: dict[str, bytes] = {}  # the template's rows, by table

    def begin(self) -> str:
        """Return the address of a database without rows of earlier tests."""
        if not self._url:
            self._url, self._tests = self._databases.make(), 0
            with self._session() as session:
                self._shape = _shape(session)
                self._seeds = {table: _rows(session, table) for table, _ in _filled(session)}
        return self._url

    def end(self) -> None:
        """Remove the test's changes, or drop the database."""
        self._tests += 1
        if self._tests == MOST_COMMITTING_TESTS or not self._is_clean():
            self.close()

    def close(self) -> None:
        """Drop the database, if there is one."""
        self._roaming.leave()
        if self._url:
            self._databases.drop(self._url)
            self._url = ""

    def _is_clean(self) -> bool:
        """Clean the database; return whether it is in its original state."""
        if not self._roaming.reset_sessions():
            return False
        try:
            with self._session() as session:
                session.execute(STRAYS, [self._roaming.sessions()])
                if _shape(session) != self._shape:
                    return False
                filled = _filled(session)
                if sum(size for _, size in filled) > MOST_BYTES:
                    return False
                session.execute("set session_replication_role = replica")
                for table, _ in filled:
                    self._restore(session, table)
                session.execute(RESTARTED)
                session.execute("reset session_replication_role")
        except psycopg.Error:
            return False
        return True

    def _restore(self, session: psycopg.Connection, table: str) -> None:
        seed = self._seeds.get(table)
        if seed is not None and _rows(session, table) == seed:
            return
        session.execute(f"delete from {table}".encode())
        if seed is not None:
            with session.cursor().copy(f"copy {table} from stdin".encode()) as copy:
                copy.write(seed)

    @contextmanager
    def _session(self) -> Iterator[psycopg.Connection]:
        """Open a session from the pool of the tests; each of its statements commits."""
        used = self._roaming.engine(self._url).raw_connection()
        session = used.driver_connection
        assert isinstance(session, psycopg.Connection)
        session.autocommit = True
        try:
            yield session
        finally:
            if not session.closed:
                session.autocommit = False
            used.close()


def _shape(session: psycopg.Connection) -> str:
    ((shape,),) = session.execute(SHAPE.encode()).fetchall()
    return shape


def _filled(session: psycopg.Connection) -> list[tuple[str, int]]:
    """Return the tables that have pages, with their sizes in bytes."""
    return [(table, size) for table, size in session.execute(FILLED)]


def _rows(session: psycopg.Connection, table: str) -> bytes:
    with session.cursor().copy(f"copy {table} to stdout".encode()) as copy:
        return b"".join(map(bytes, copy))


def _is_bound(waited_for: object) -> bool:
    """Return whether a test waited for this lock or queue in its event loop: no other loop can use it then."""
    return getattr(waited_for, "_loop", None) is not None


class Roaming:
    """Engines that connect to the most recently requested database, so that a statement is compiled once for all tests.

    Their sessions stay open as long as tests use the same database: a new session has to load and plan everything again.
    """

    def __init__(self) -> None:
        self._engine = create_engine(NOWHERE, pool_use_lifo=True)
        self._async_engine = discreet_async_engine(
            NOWHERE, pool_size=4, max_overflow=8, pool_pre_ping=True, pool_use_lifo=True
        )
        self._parameters: dict[str, object] = {}
        self._opened: list[psycopg.Connection | psycopg.AsyncConnection] = []
        for each in (self._engine, self._async_engine.sync_engine):
            event.listen(each, "do_connect", self._lead)
            event.listen(each, "connect", self._keep)

    def engine(self, url: str) -> Engine:
        """Return an engine whose new connections lead to this address."""
        self._to(url)
        return another(self._engine)

    def async_engine(self, url: str) -> AsyncEngine:
        """Return an engine for asynchronous callers; its errors quote no values."""
        self._to(url)
        return self._async_engine.execution_options()

    def leave(self) -> None:
        """Close all sessions; new ones can lead to another database."""
        for each in self._opened:
            each.pgconn.finish()
        self._opened.clear()
        self._engine.dispose(close=False)
        self._async_engine.sync_engine.dispose(close=False)

    def sessions(self) -> list[int]:
        """Return the process ids of the open database sessions."""
        return [each.info.backend_pid for each in self._open()]

    def async_sessions(self) -> list[int]:
        """Return the process ids of the open sessions of asynchronous callers."""
        return [
            each.info.backend_pid
            for each in self._open()
            if isinstance(each, psycopg.AsyncConnection)
        ]

    def reset_sessions(self) -> bool:
        """Reset all sessions to the state of new ones; return False if one is in use or cannot be reset."""
        pools = (self._engine.pool, self._async_engine.sync_engine.pool)
        for pool in pools:
            assert isinstance(pool, QueuePool)
            if pool.checkedout() or _is_bound(getattr(pool._pool, "_queue", None)):
                return False
        for each in self._open():
            if _is_bound(each.lock) or each.info.transaction_status != TransactionStatus.IDLE:
                return False
            if each.pgconn.exec_(SESSION_RESET).status != ExecStatus.COMMAND_OK:
                return False
        return True

    def _open(self) -> list[psycopg.Connection | psycopg.AsyncConnection]:
        self._opened = [each for each in self._opened if not each.closed]
        return self._opened

    def _keep(self, _: object, record: ConnectionPoolEntry) -> None:
        driver = record.driver_connection
        assert isinstance(driver, psycopg.Connection | psycopg.AsyncConnection)
        self._opened.append(driver)

    def _to(self, url: str) -> None:
        self._parameters = dict(self._engine.dialect.create_connect_args(make_url(url))[1])

    def _lead(
        self, _dialect: object, _record: object, _args: object, parameters: dict[str, object]
    ) -> None:
        parameters |= self._parameters
