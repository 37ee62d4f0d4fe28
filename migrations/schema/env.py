"""How Alembic reaches the database: a connection handed in by the caller, else LANES_DATABASE_URL."""

import os

from alembic import context
from sqlalchemy import Connection, text

from lanes.store.discreet import discreet_engine
from lanes.store.tables import SCHEMA, metadata


def _run(connection: Connection) -> None:
    connection.execute(text(f"create schema if not exists {SCHEMA}"))
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table_schema=SCHEMA,
        include_schemas=True,
        include_name=lambda name, kind, _: kind != "schema" or name == SCHEMA,
        compare_type=True,
        compare_server_default=True,
        transaction_per_migration=False,
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    _run(given)
else:
    with discreet_engine(os.environ["LANES_DATABASE_URL"]).begin() as opened:
        _run(opened)
