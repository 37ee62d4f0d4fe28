"""Databases for tests, as cheap as they come: copies of a template, one that serves many tests, one engine for all of them."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine

from lanes.stand.info import SUPERUSER, owner_of, password_of
from lanes.stand.postgres import Running
from lanes.store.engines import discreet_async_engine

TEMPLATE = "lanes"
OWNER = owner_of(TEMPLATE)
# Beyond what the owner of a stand's database may: a test makes roles, fills a history without its triggers, and has deadlocks
# found at once.
OWNER_MAY = (
    f"alter role {OWNER} createrole",
    f"alter role {OWNER} set createrole_self_grant = 'set, inherit'",
    f"grant set on parameter session_replication_role to {OWNER}",
    f"grant set on parameter deadlock_timeout to {OWNER}",
)
NOWHERE = "postgresql+psycopg://"
MOST_TESTS = 100  # that use one database: the rows they rolled back still lie in its files
AT_ONCE = "set scram_iterations = 1"  # a password is proved by 4,096 rounds of hashing: 2 ms of each connection
RESTARTED = "select setval(seqrelid, seqstart, false) from pg_sequence"


def another(engine: Engine) -> Engine:
    """Return an engine with the same pool and compiled statements, for which no cache exists."""
    return engine.execution_options()


class Databases:
    """Makes databases of the newest schema on one server, and drops them."""

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
        """Return the same address for a test that inspects the server itself."""
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
    """A database for tests that commit nothing: after each it is as it was, its sequences and its session too.

    A commit spoils it: the next test gets another.
    """

    def __init__(self, databases: Databases) -> None:
        self._databases = databases
        self._url = ""
        self._engine: Engine | None = None
        self._tests = 0
        self._spoiled = False

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """One transaction, which is rolled back."""
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
        """There is none, until the next test wants one."""
        if self._engine is not None:
            self._engine.dispose()
            self._databases.drop(self._url)
            self._engine = None

    def _opened(self) -> Engine:
        self._url, self._tests, self._spoiled = self._databases.make(), 0, False
        self._engine = engine = create_engine(self._url)
        event.listen(engine, "commit", self._spoil)
        event.listen(
            engine, "set_connection_execution_options", self._spoil
        )  # as for what commits by itself
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


class Roaming:
    """Engines that lead to whichever database they were asked for last: a statement is compiled once for all tests."""

    def __init__(self) -> None:
        self._engine = create_engine(NOWHERE)
        self._async_engine = discreet_async_engine(
            NOWHERE, pool_size=4, max_overflow=8, pool_pre_ping=True
        )
        self._parameters: dict[str, object] = {}
        for each in (self._engine, self._async_engine.sync_engine):
            event.listen(each, "do_connect", self._lead)

    def engine(self, url: str) -> Engine:
        """One whose new connections lead there."""
        self._to(url)
        return another(self._engine)

    def async_engine(self, url: str) -> AsyncEngine:
        """One for asynchronous callers; its errors quote nothing."""
        self._to(url)
        return self._async_engine.execution_options()

    def _to(self, url: str) -> None:
        self._parameters = dict(self._engine.dialect.create_connect_args(make_url(url))[1])

    def _lead(
        self, _dialect: object, _record: object, _args: object, parameters: dict[str, object]
    ) -> None:
        parameters |= self._parameters
