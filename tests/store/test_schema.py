"""The schema moves forward, once."""

import pytest
from sqlalchemy import Connection, Engine, text

from lanes.errors import SetupError
from lanes.store import schema
from lanes.store.batch import accounts, adoption
from lanes.store.tables import metadata
from tests.conftest import NOON
from tests.examples import publish
from tests.store.older import as_migrated_to

DEFINITION = text("""
    select 'column', table_name || '.' || column_name, data_type || is_nullable || coalesce(column_default, '')
      from information_schema.columns where table_schema = 'lanes'
    union all select 'view', viewname, definition from pg_views where schemaname = 'lanes'
    union all select 'index', indexname, indexdef from pg_indexes where schemaname = 'lanes'
    union all select 'function', p.oid::regprocedure::text, pg_get_functiondef(p.oid)
      from pg_proc p where pronamespace = 'lanes'::regnamespace
    union all select 'constraint', conrelid::regclass || '.' || conname, pg_get_constraintdef(oid)
      from pg_constraint where connamespace = 'lanes'::regnamespace
     order by 1, 2
""")


def test_upgrading_twice_changes_nothing(pool: Engine, database_url: str) -> None:
    with pool.begin() as connection:
        publish(connection, now=NOON)
        before = connection.execute(DEFINITION).all()
    schema.upgrade(database_url)
    schema.upgrade(database_url)
    with pool.begin() as connection:
        assert connection.execute(DEFINITION).all() == before
        assert connection.execute(text("select count(*) from lanes.workload")).scalar_one() == 1


def test_nothing_is_pending_at_the_newest_schema(connection: Connection) -> None:
    assert schema.pending(connection) == []


def test_every_migration_is_pending_on_an_empty_database(connection: Connection) -> None:
    connection.execute(text("drop schema lanes cascade"))
    pending = schema.pending(connection)
    assert pending[0] == "0001"
    assert pending == sorted(pending)


def test_every_table_of_the_code_is_in_the_database(connection: Connection) -> None:
    found = set(
        connection.execute(
            text("select tablename from pg_tables where schemaname = 'lanes'")
        ).scalars()
    )
    assert {table.name for table in metadata.sorted_tables} <= found


def test_a_database_of_a_newer_checkout_is_left_alone_with_a_sentence(
    pool: Engine, database_url: str
) -> None:
    with pool.begin() as connection:
        connection.execute(text("update lanes.alembic_version set version_num = '9999'"))
    with pytest.raises(SetupError, match="made by a newer one"):
        schema.upgrade(database_url)
    with pool.begin() as connection:
        assert (
            connection.execute(text("select version_num from lanes.alembic_version")).scalar_one()
            == "9999"
        )


def test_an_unresolved_intent_survives_the_naming_of_accounts(
    pool: Engine, database_url: str
) -> None:
    with pool.begin() as connection:
        as_migrated_to(connection, "0004")
        connection.execute(
            text("insert into lanes.workload (name, created_at) values ('letters', :noon)"),
            {"noon": NOON},
        )
        version = """
            insert into lanes.version (workload, number, hash, spec, published_at) values ('letters', 1, 'h', '{}', :noon)"""
        connection.execute(text(version), {"noon": NOON})
        intent = """
            insert into lanes.batch (nonce, account, workload, version_id, model, state, requests, items, bytes, body_hash,
                                     intended_at)
            select 'cafe', '0123456789abcdef', 'letters', id, 'm', 'intended', 1, 1, 1, 'h', :noon from lanes.version"""
        connection.execute(text(intent), {"noon": NOON})
    schema.upgrade(database_url)
    with pool.begin() as connection:
        assert (
            accounts.name_account(connection, "acme", formerly="key:0123456789abcdef", now=NOON)
            == 1
        )
        (found,) = adoption.to_search(connection, "acme", now=NOON)
        assert (found.nonce, found.adopted_at, found.create_ended_at) == ("cafe", None, None)
