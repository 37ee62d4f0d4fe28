"""Upgrades of the schema from the baseline on, one at a time."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import Connection, Engine, NullPool, create_engine, func, select, text
from sqlalchemy.exc import OperationalError

from lanes import FILES
from lanes.errors import SetupError
from lanes.standing.roles import Lock
from lanes.store import schema
from lanes.store.database import LOCK_PATIENCE
from lanes.store.routing import routes
from lanes.store.tables import metadata
from tests.conftest import NOON
from tests.databases import Databases
from tests.examples import publish

EVERYTHING = text("""
    select 'column', c.relname || '.' || attname,
           concat_ws(' ', format_type(atttypid, atttypmod), attnotnull, attidentity,
                     pg_get_expr(adbin, adrelid), col_description(c.oid, attnum))
      from pg_attribute a join pg_class c on c.oid = attrelid left join pg_attrdef on adrelid = c.oid and adnum = attnum
     where relnamespace = 'lanes'::regnamespace and relkind in ('r', 'p', 'v', 'c') and attnum > 0 and not attisdropped
    union all select 'relation', relname,
                     concat_ws(' ', relkind, relpersistence, obj_description(oid, 'pg_class'), relacl, reloptions)
      from pg_class where relnamespace = 'lanes'::regnamespace
    union all select 'view', viewname, definition from pg_views where schemaname = 'lanes'
    union all select 'index', indexname, indexdef from pg_indexes where schemaname = 'lanes'
    union all select 'function', oid::regprocedure::text, pg_get_functiondef(oid) || obj_description(oid, 'pg_proc')
      from pg_proc where pronamespace = 'lanes'::regnamespace
    union all select 'constraint', conrelid::regclass || '.' || conname, pg_get_constraintdef(oid)
      from pg_constraint where connamespace = 'lanes'::regnamespace
    union all select 'trigger', tgname, pg_get_triggerdef(oid) from pg_trigger where not tgisinternal
    union all select 'type', typname, obj_description(oid, 'pg_type') from pg_type where typnamespace = 'lanes'::regnamespace
    union all select 'schema', nspname, coalesce(nspacl::text, '') from pg_namespace where nspname = 'lanes'
     order by 1, 2, 3
""")
BEFORE = schema.LAST_BEFORE_BASELINE
# The newest migration of the previous release, whose drains still run after an upgrade.
RELEASED = "0146"
BREAKS_OLD_CODE = re.compile(
    r"\bdrop (table|column|schema)\b|\brename (column |constraint )?\w+ to\b|\brename to\b|\bset not null\b"
    r"|\balter (column )?\w+ type\b|\bop\.(drop_column|drop_table|rename_table)\b|\bnullable=False\b(?!.*server_default)"
    r"|\badd (column )?(?:if not exists )?\w+ (?!.*\bdefault\b)[^,;()]*\bnot null\b",
    re.I,
)


def everything(connection: Connection) -> list[tuple[str, ...]]:
    return [tuple(row) for row in connection.execute(EVERYTHING)]


def revision(connection: Connection) -> str:
    return connection.execute(text("select version_num from lanes.alembic_version")).scalar_one()


def set_revision(connection: Connection, to: str) -> None:
    connection.execute(text("update lanes.alembic_version set version_num = :to"), {"to": to})


def recreate(connection: Connection, to: str = "head") -> None:
    """Make schema `lanes` again, as the migrations up to `to` leave it."""
    connection.execute(text("drop schema lanes cascade"))
    settings = schema.config()
    settings.attributes["connection"] = connection
    command.upgrade(settings, to)


def as_before_the_baseline(connection: Connection) -> None:
    """Leave the database as the last migration before the baseline left it, without functions and views."""
    recreate(connection, schema.BASELINE)
    for column in ("grain", "at", "workload", "kind", "buckets", "counts"):
        names = f"figure_spread_{column}_not_null to figure_hist_{column}_not_null"
        connection.execute(text(f"alter table lanes.figure_spread rename constraint {names}"))
    set_revision(connection, BEFORE)


@pytest.mark.parametrize(
    "each",
    [
        each
        for each in sorted((FILES / "migrations/schema/versions").glob("*.py"))
        if each.name[:4] > RELEASED
    ],
    ids=lambda each: each.stem,
)
def test_a_new_migration_contains_no_statement_that_breaks_code_of_the_last_release(
    each: Path,
) -> None:
    assert BREAKS_OLD_CODE.findall(each.read_text()) == []


@pytest.mark.parametrize(
    "breaks",
    [
        "alter table lanes.work drop column alone",
        "alter table lanes.work rename to works",
        "alter table lanes.work alter column alone type text",
        "alter table lanes.work alter alone set not null",
        "alter table lanes.work add urgent boolean not null",
    ],
)
def test_a_migration_that_breaks_old_code_is_recognized(breaks: str) -> None:
    assert BREAKS_OLD_CODE.search(breaks)
    assert not BREAKS_OLD_CODE.search(
        "alter table lanes.work add x int not null default 0, drop constraint ck_x"
    )


def test_upgrading_twice_changes_nothing(pool: Engine, database_url: str) -> None:
    with pool.begin() as connection:
        publish(connection, now=NOON)
        before = everything(connection)
    schema.upgrade(database_url)
    schema.upgrade(database_url)
    with pool.begin() as connection:
        assert everything(connection) == before
        assert connection.execute(text("select count(*) from lanes.workload")).scalar_one() == 1


def test_nothing_is_pending_at_the_newest_schema(connection: Connection) -> None:
    assert schema.pending(connection) == []


def test_every_migration_is_pending_on_an_empty_database(connection: Connection) -> None:
    connection.execute(text("drop schema lanes cascade"))
    pending = schema.pending(connection)
    assert pending[0] == schema.BASELINE
    assert pending == sorted(pending)


def test_every_table_of_the_code_is_in_the_database(connection: Connection) -> None:
    found = set(
        connection.execute(
            text("select tablename from pg_tables where schemaname = 'lanes'")
        ).scalars()
    )
    assert {table.name for table in metadata.sorted_tables} <= found


def test_a_database_of_a_newer_checkout_is_refused_and_unchanged(
    pool: Engine, database_url: str
) -> None:
    with pool.begin() as connection:
        set_revision(connection, "9999")
    with pytest.raises(SetupError, match="made by a newer one"):
        schema.upgrade(database_url)
    with pool.begin() as connection:
        assert revision(connection) == "9999"


@pytest.mark.slow
@pytest.mark.parametrize("start", ["empty", BEFORE, schema.BASELINE])
def test_two_upgrades_at_once_lead_to_the_newest_schema(
    pool: Engine, database_url: str, start: str
) -> None:
    with pool.begin() as connection:
        new = everything(connection)
        if start == "empty":
            connection.execute(text("drop schema lanes cascade"))
        elif start == BEFORE:
            as_before_the_baseline(connection)
        else:
            recreate(connection, start)
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(schema.upgrade, [database_url] * 2))
    with pool.begin() as connection:
        assert everything(connection) == new


WAITS = """
    select count(*) from pg_locks where not granted and relation = 'lanes.item'::regclass
"""


@pytest.mark.slow
def test_an_upgrade_that_deadlocks_with_a_running_transaction_is_retried(
    pool: Engine, database_url: str
) -> None:
    with pool.begin() as connection:
        new = everything(connection)
        recreate(connection, "0135")  # the next migration changes table item
    with ThreadPoolExecutor(1) as thread, pool.connect() as other, pool.connect() as watcher:
        with other.begin():
            other.execute(text("set local deadlock_timeout = '1min'"))  # the upgrade is the victim
            other.execute(text("lock table lanes.item in access share mode"))
            upgrading = thread.submit(schema.upgrade, database_url)
            while not watcher.execute(text(WAITS)).scalar_one():
                watcher.rollback()
            other.execute(select(func.pg_advisory_xact_lock(Lock.UPGRADE.value)))
        upgrading.result()
    with pool.begin() as connection:
        assert everything(connection) == new


TAKEN = """
    select relation::regclass::text from pg_locks l join pg_class c on c.oid = relation
     where granted and mode = 'AccessExclusiveLock' and relkind = 'r' and pid in (
       select pid from pg_locks where not granted and relation = 'lanes.work'::regclass)
     limit 1
"""


@pytest.mark.slow
def test_a_setup_of_roles_that_deadlocks_with_a_running_transaction_is_retried(
    databases: Databases, own_database_url: str
) -> None:
    administrator = databases.as_superuser(own_database_url)
    engine = create_engine(administrator, poolclass=NullPool)
    with ThreadPoolExecutor(1) as thread, engine.connect() as other, engine.connect() as watcher:
        with other.begin():
            # The setup of the roles is the victim of the deadlock.
            other.execute(text("set local deadlock_timeout = '1min'"))
            other.execute(text("lock table lanes.work in access share mode"))
            handing_over = thread.submit(schema.set_up_roles, administrator, shared=True)
            while not (taken := watcher.execute(text(TAKEN)).scalar()):
                watcher.rollback()
            other.execute(text(f"lock table {taken} in access share mode"))
        handing_over.result()
        owner = "select relowner::regrole::text from pg_class where oid = 'lanes.work'::regclass"
        assert other.execute(text(owner)).scalar_one() == "lanes_owner"


@pytest.mark.parametrize("too_old", ["0001", "0056", "0073"])
def test_a_database_older_than_the_baseline_is_refused_with_advice_and_unchanged(
    pool: Engine, database_url: str, too_old: str
) -> None:
    with pool.begin() as connection:
        publish(connection, now=NOON)
        set_revision(connection, too_old)
        before = everything(connection)
    with pytest.raises(
        SetupError,
        match=rf"at migration {too_old}.*from {BEFORE} on\. Nothing was changed.*pg_dump",
    ):
        schema.upgrade(database_url)
    with pool.begin() as connection:
        with pytest.raises(SetupError, match="Nothing was changed"):
            schema.pending(connection)
        assert everything(connection) == before
        assert revision(connection) == too_old
        assert connection.execute(text("select count(*) from lanes.workload")).scalar_one() == 1


HELD = "select count(*) from pg_stat_activity where query like 'create index concurrently%' and wait_event_type = 'Lock'"
ITEM = "insert into lanes.item (workload, key, payload, content_hash, occurred_at, received_at, source) "
ITEM += "values ('letters', :key, '{}', '', :now, :now, 'sql')"


@pytest.mark.slow
def test_an_upgrade_builds_indexes_while_others_write_and_route(
    pool: Engine, database_url: str
) -> None:
    with pool.begin() as connection:
        new = everything(connection)
        recreate(connection, "0141")  # the next migration has indexes
    with ThreadPoolExecutor(1) as thread, pool.connect() as held, pool.connect() as watcher:
        with held.begin():
            held.execute(text(ITEM), {"key": "held", "now": NOON})
            upgrading = thread.submit(schema.upgrade, database_url)
            while not watcher.execute(text(HELD)).scalar_one():
                watcher.rollback()
            with pool.begin() as other:
                other.execute(text("set local lock_timeout = '1s'"))
                other.execute(text(ITEM), {"key": "other", "now": NOON})
                assert routes.begin(other, LOCK_PATIENCE).alone
        upgrading.result()
    with pool.begin() as connection:
        assert everything(connection) == new


@pytest.mark.slow
def test_an_index_that_an_interrupted_upgrade_left_behind_is_built_again(
    pool: Engine, database_url: str
) -> None:
    with pool.begin() as connection:
        new = everything(connection)
        recreate(connection, "0141")
    with ThreadPoolExecutor(1) as thread, pool.connect() as held, pool.connect() as watcher:
        with held.begin():
            held.execute(text(ITEM), {"key": "held", "now": NOON})
            upgrading = thread.submit(schema.upgrade, database_url)
            while not watcher.execute(text(HELD)).scalar_one():
                watcher.rollback()
            building = HELD.replace("count(*)", "pg_terminate_backend(pid)")
            watcher.execute(text(building))
        with pytest.raises(OperationalError):
            upgrading.result()
    with pool.begin() as connection:
        broken = "select count(*) from pg_index where not indisvalid"
        assert connection.execute(text(broken)).scalar_one() == 1
    schema.upgrade(database_url)
    with pool.begin() as connection:
        assert everything(connection) == new
        assert connection.execute(text(broken)).scalar_one() == 0


@pytest.mark.slow
def test_an_upgrade_gathers_the_statistics_of_new_columns(pool: Engine, database_url: str) -> None:
    known = "select count(*) from pg_stats where schemaname = 'lanes' and tablename = 'item' and attname = 'archive_id'"
    with pool.begin() as connection:
        connection.execute(text(ITEM), {"key": "k", "now": NOON})
        # As if the other columns were added since.
        connection.execute(text("analyze lanes.item (id)"))
        assert connection.execute(text(known)).scalar_one() == 0
    schema.upgrade(database_url)
    with pool.begin() as connection:
        assert connection.execute(text(known)).scalar_one() == 1
