"""A database of any older revision becomes the same as a new one."""

from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, text

from lanes.store import schema
from lanes.store.current.catalog import run
from tests.store.older import as_migrated_to

HISTORY = Path(__file__).parent / "history"

EVERYTHING = text("""
    select 'column', c.relname || '.' || attname,
           concat_ws(' ', attnum, format_type(atttypid, atttypmod), attnotnull, attidentity,
                     pg_get_expr(adbin, adrelid), col_description(c.oid, attnum))
      from pg_attribute a join pg_class c on c.oid = attrelid left join pg_attrdef on adrelid = c.oid and adnum = attnum
     where relnamespace = 'lanes'::regnamespace and relkind in ('r', 'v', 'c') and attnum > 0
    union all select 'relation', relname, concat_ws(' ', relkind, obj_description(oid, 'pg_class'), relacl, reloptions)
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


def stands(connection: Connection) -> list[tuple[str, ...]]:
    return [tuple(row) for row in connection.execute(EVERYTHING)]


def as_left_by(connection: Connection, revision: str) -> None:
    """The database is as the checkouts of a revision made it."""
    as_migrated_to(connection, revision)
    for file in sorted(HISTORY.glob("*.sql")):
        if file.name[:4] <= revision:
            run(connection, file.read_text())


@pytest.mark.parametrize("revision", ["0001", "0004", "0009", "0011", "0013", "0015"])
def test_a_database_of_an_older_revision_becomes_the_same_as_a_new_one(
    pool: Engine, database_url: str, revision: str
) -> None:
    with pool.begin() as connection:
        new = stands(connection)
        as_left_by(connection, revision)
    schema.upgrade(database_url)
    with pool.begin() as connection:
        assert stands(connection) == new
