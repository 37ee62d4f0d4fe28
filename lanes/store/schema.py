"""Upgrades of the database to the newest schema (migrations/schema), pending migrations, and database roles."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TypeVar

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg.errors import DeadlockDetected, InsufficientPrivilege
from sqlalchemy import Connection, func, select, text
from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlalchemy.pool import NullPool

from lanes import FILES
from lanes.errors import SetupError
from lanes.standing.roles import Lock
from lanes.store.current import roles
from lanes.store.current.roles import become_owner, schema_owner
from lanes.store.engines import discreet_engine, refuse_pooler
from lanes.store.tables import SCHEMA

T = TypeVar("T")
TRIES = 20  # per upgrade; Postgres detects a deadlock after a second
UNLIMITED = """
    select set_config(name, '0', true) from unnest(array[
        'statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout']) as name
"""
_LOCK_UPGRADES = select(func.pg_advisory_xact_lock(Lock.UPGRADE.value))
_LOCK_INDEXES = select(func.pg_try_advisory_lock(Lock.INDEXES.value))
_IS_VALID = "select indisvalid from pg_index where indexrelid = to_regclass(:name)"
_WITHOUT_STATISTICS = f"""
select distinct c.relname
  from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
 where c.relnamespace = to_regnamespace('{SCHEMA}') and c.relkind = 'r' and c.reltuples > 0
   and not exists (select from pg_stats s
                    where s.schemaname = '{SCHEMA}' and s.tablename = c.relname and s.attname = a.attname)
"""
POLL_S = 0.5
BASELINE = "0100"
# Migrations 0001 to 0074 led to the tables of the baseline, and were never part of a release.
LAST_BEFORE_BASELINE = "0074"
TOO_OLD = (
    f"The database is at migration %s, and this checkout upgrades from {LAST_BEFORE_BASELINE} on. Nothing was changed. In the "
    "checkout that made it, write what you need to files with `lanes export WORKLOAD` and `lanes results WORKLOAD` (or copy "
    "a database of your own with pg_dump); then empty it, with `make clean` or `drop schema lanes cascade`, and run `lanes "
    'up`. To keep the data instead, see "The database is too old" in docs/troubleshooting.md'
)
TOO_NEW = (
    "Database %s is at migration %s, and this release of Lanes knows those up to %s: it was made by a newer one, and there "
    "is no way back. Nothing was changed. Start the newer release again, or restore the backup from before its upgrade (see "
    "docs/how-to/back-up-and-restore.md), or set another LANES_DATABASE_URL"
)


def config() -> Config:
    """Return Alembic's configuration, read from alembic.ini."""
    return Config(FILES / "alembic.ini")


def upgrade(url: str) -> None:
    """Upgrade the database at `url` to the newest schema. Safe to repeat and to run concurrently.

    First the indexes on tables in use are built, while other processes continue to write. All other changes are one
    transaction. A migration and a transaction of a running process may lock the same tables in a different order. Postgres then
    ends one of the two with a deadlock error; an upgrade that is ended has changed nothing but indexes, and starts again.
    Finally, statistics of new columns are gathered.

    Raises:
        SetupError: the database comes from a newer checkout or is too old, the user may not change it, or every try ended in a
            deadlock.
    """
    engine = discreet_engine(url, poolclass=NullPool)  # the first session keeps its role and limits

    def once() -> None:
        # The index lock lasts until the upgrade has ended: a concurrent upgrade would rebuild indexes that a later migration
        # drops.
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as session:
            _build_indexes(session)
            with engine.begin() as connection:
                _upgrade(connection)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            _analyze(connection)

    try:
        _retry_deadlocks(once, "the upgrade")
    finally:
        engine.dispose()


def _retry_deadlocks(act: Callable[[], T], name: str) -> T:
    """Call `act` and return its value; repeat it, up to `TRIES` tries in all, after a deadlock with a running process.

    Raises:
        SetupError: every try ended in a deadlock.
    """
    for _ in range(TRIES):
        try:
            return act()
        except OperationalError as error:
            if not isinstance(error.orig, DeadlockDetected):
                raise
    raise SetupError(
        f"running processes lock the tables that {name} changes; {TRIES} tries ended in a deadlock, and nothing was "
        "changed. Run it again, or stop the workers first"
    )


def _upgrade(connection: Connection) -> None:
    connection.execute(_LOCK_UPGRADES)
    _revision(connection)
    if not become_owner(connection):
        _refuse_to_migrate(connection, str(connection.engine.url.username))
        return
    settings = config()
    settings.attributes["connection"] = connection
    _adopt(connection)
    command.upgrade(settings, "head")


def _analyze(connection: Connection) -> None:
    """Analyze tables with new columns: without statistics, the planner assumes that a new column has few nulls."""
    if become_owner(connection, local=False):
        for table in connection.execute(text(_WITHOUT_STATISTICS)).scalars().all():
            connection.execute(text(f"analyze {SCHEMA}.{table}"))


@contextmanager
def lock_deploy(url: str) -> Iterator[None]:
    """Hold the upgrade lock inside the block, so that deploys and upgrades run one after the other.

    The lock belongs to a transaction that does nothing else, so it also works through a pooler.
    """
    engine = discreet_engine(url)
    try:
        with engine.begin() as connection:
            connection.execute(text(UNLIMITED))
            connection.execute(_LOCK_UPGRADES)
            yield
    finally:
        engine.dispose()


def set_up_roles(url: str, *, shared: bool, tenants: Sequence[tuple[str, str]] = ()) -> list[str]:
    """Create the database roles, upgrade the schema, give it to them, and return the roles that were missing. Safe to repeat.

    Set `shared` if other programs use the database too: every login that may connect now then keeps that right. `tenants` are
    pairs of a login and a consumer whose items the login may read.

    Raises:
        SetupError: the user lacks the privileges, or every try ended in a deadlock.
        ActionRefused: a login of `tenants` does not exist.
    """
    engine = discreet_engine(url)

    def hand_over() -> list[str]:
        with engine.begin() as connection:
            created = roles.create(connection)
            roles.let_migrate(connection)
            roles.give_schema(connection)
        return created

    try:
        created = _retry_deadlocks(hand_over, "`lanes roles`")
        upgrade(url)
        with engine.begin() as connection:
            if not shared:
                roles.close_database(connection)
            become_owner(connection)
            roles.grant(connection)
            roles.bind(connection, tenants)
    except ProgrammingError as error:
        if not isinstance(error.orig, InsufficientPrivilege):
            raise
        raise SetupError(
            f"user {engine.url.username} may not set up the roles ({error.orig}): set LANES_DATABASE_URL, or "
            "LANES_DIRECT_DATABASE_URL where it is set, to a superuser, or to a user with CREATEROLE that owns the database "
            "and schema lanes"
        ) from error
    finally:
        engine.dispose()
    return created


def pending(connection: Connection) -> list[str]:
    """Return the revisions of the migrations that the database lacks, oldest first."""
    have = _revision(connection)
    if have == LAST_BEFORE_BASELINE:
        have = BASELINE
    script = ScriptDirectory.from_config(config())
    missing = [each.revision for each in script.iterate_revisions("head", have or "base")]
    return list(reversed(missing))


def _revision(connection: Connection) -> str | None:
    """Return the database's revision, or None if it has no schema yet.

    Raises:
        SetupError: the database is too old, or a newer release upgraded it.
    """
    context = MigrationContext.configure(connection, opts={"version_table_schema": SCHEMA})
    have = context.get_current_revision()
    if have is not None and have < LAST_BEFORE_BASELINE:
        raise SetupError(TOO_OLD % have)
    newest = ScriptDirectory.from_config(config()).get_current_head() or ""
    if have is not None and have > newest:
        raise SetupError(TOO_NEW % (connection.engine.url.database, have, newest))
    return have


def _build_indexes(connection: Connection) -> None:
    """Build the indexes of pending migrations while the tables are in use, outside any transaction.

    A migration with `indexes` later creates the ones that are still missing: on an empty database, or on a column that it adds.
    An invalid index from an interrupted build is dropped and built again.
    """
    if _revision(connection) is None or not _pending_indexes(connection):
        return
    refuse_pooler(connection)
    connection.execute(text(UNLIMITED.replace("true", "false")))
    if not become_owner(connection, local=False):
        return  # `_upgrade` then raises, or has nothing to do
    # A concurrent index build waits for all open snapshots, including the snapshot of a session that waits for this lock. So
    # poll the lock, which ends with the session.
    while not connection.execute(_LOCK_INDEXES).scalar_one():
        time.sleep(POLL_S)
    for name, made in _pending_indexes(connection).items():
        _build_index(connection, name, made)


def _pending_indexes(connection: Connection) -> dict[str, str]:
    script = ScriptDirectory.from_config(config())
    modules = (script.get_revision(each).module for each in pending(connection))
    return {name: made for each in modules for name, made in getattr(each, "indexes", {}).items()}


def _build_index(connection: Connection, name: str, made: str) -> None:
    state = connection.execute(text(_IS_VALID), {"name": f"{SCHEMA}.{name}"}).scalar_one_or_none()
    if state is False:
        connection.execute(text(f"drop index concurrently {SCHEMA}.{name}"))
    if not state:
        # A pending migration may have yet to add the table or column.
        with suppress(ProgrammingError):
            connection.execute(text(f"create index concurrently {name} {made}"))


def _adopt(connection: Connection) -> None:
    """Stamp a database at the last migration before the baseline as being at the baseline: their tables are the same."""
    if _revision(connection) != LAST_BEFORE_BASELINE:
        return
    for column in ("grain", "at", "workload", "kind", "buckets", "counts"):
        names = f"figure_hist_{column}_not_null to figure_spread_{column}_not_null"
        connection.execute(text(f"alter table {SCHEMA}.figure_spread rename constraint {names}"))
    stamp = text(f"update {SCHEMA}.alembic_version set version_num = :baseline")
    connection.execute(stamp, {"baseline": BASELINE})


def _refuse_to_migrate(connection: Connection, user: str) -> None:
    if missing := pending(connection):
        raise SetupError(
            f"the database lacks {len(missing)} migrations (the next is {missing[0]}), and user {user} may not change schema "
            f"{SCHEMA}, which belongs to {schema_owner(connection)}: run `lanes roles` as a member of that role first"
        )
