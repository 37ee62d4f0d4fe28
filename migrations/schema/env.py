"""Run the migrations on the caller's connection, or else on LANES_DIRECT_DATABASE_URL or LANES_DATABASE_URL.

Names resolve in `pg_catalog` alone, so an object that a role planted in another schema is never taken for a built-in one.
After the newest migration, migrations/schema/current/ and the comments of lanes/store/tables/ are put in force.
"""

import os

from alembic import context
from sqlalchemy import Connection, text

from lanes.stand.kept import DATABASE, DIRECT
from lanes.store.current import roles
from lanes.store.current.files import sql_files
from lanes.store.current.in_force import PLUGIN, put_comments, put_in_force
from lanes.store.engines import discreet_engine, refuse_pooler
from lanes.store.tables import SCHEMA, metadata
from lanes.store.tables.figures import PARTS


def _run(connection: Connection) -> None:
    connection.execute(text("set local search_path = pg_catalog, pg_temp"))
    roles.become_owner(connection)
    if roles.schema_owner(connection) is None:
        connection.execute(text(f"create schema {SCHEMA}"))
    applied: list[object] = []
    refuse_pooler(connection)
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table_schema=SCHEMA,
        include_schemas=True,
        include_name=lambda name, kind, _: (
            name == SCHEMA if kind == "schema" else name not in PARTS
        ),
        compare_type=True,
        compare_server_default=True,
        transaction_per_migration=False,
        autogenerate_plugins=["alembic.autogenerate.*", PLUGIN],
        on_version_apply=lambda *_, **of: applied.append(of["step"]),
    )
    with context.begin_transaction():
        before = roles.read_grants(connection)
        context.run_migrations()
        revision = context.get_context().get_current_revision()
        if applied and revision == context.script.get_current_head():
            put_in_force(connection, sql_files())
            put_comments(connection)
            roles.restore(connection, before)
            roles.secure(connection)


given = context.config.attributes.get("connection")
if given is not None:
    _run(given)
else:
    with discreet_engine(os.environ.get(DIRECT) or os.environ[DATABASE]).begin() as opened:
        _run(opened)
