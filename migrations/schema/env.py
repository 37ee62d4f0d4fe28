"""How Alembic reaches the database: a connection handed in by the caller, else LANES_DATABASE_URL.

Names are looked up in `pg_catalog` alone: an object that a role planted in another schema is never taken for a built-in one.
Once the newest migration is there, the functions and views are put in force as migrations/schema/current/ holds them. Where a
migration among those that ran says `fills_figures`, the figures are then made anew from the facts: nobody else writes any
meanwhile, because the triggers that count them were just created, or the migration has locked their tables.
"""

import os
from datetime import timedelta

from alembic import context
from alembic.runtime.migration import MigrationInfo
from sqlalchemy import Connection, text

from lanes.store.current import autogenerate, grants, roles
from lanes.store.current.files import pieces
from lanes.store.current.putting import put_in_force
from lanes.store.database import clock
from lanes.store.discreet import discreet_engine
from lanes.store.figures.rebuilding import rebuild_here
from lanes.store.tables import SCHEMA, metadata
from lanes.store.tables.figures import PARTS


def _run(connection: Connection) -> None:
    connection.execute(text("set local search_path = pg_catalog, pg_temp"))
    roles.become_owner(connection)
    if roles.schema_owner(connection) is None:
        connection.execute(text(f"create schema {SCHEMA}"))
    moved: list[bool] = []  # for each migration that ran, whether it fills the figures
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
        autogenerate_plugins=["alembic.autogenerate.*", autogenerate.NAME],
        on_version_apply=lambda *_, **of: moved.append(_fills_figures(of["step"])),
    )
    with context.begin_transaction():
        before = grants.granted(connection)
        context.run_migrations()
        if (
            moved
            and context.get_context().get_current_revision() == context.script.get_current_head()
        ):
            put_in_force(connection, pieces())
            grants.restore(connection, before)
            roles.secure(connection)
            if any(moved):
                rebuild_here(connection, until=clock(connection) + timedelta(days=1))


def _fills_figures(step: MigrationInfo) -> bool:
    return getattr(getattr(step.up_revision, "module", None), "fills_figures", False)


given = context.config.attributes.get("connection")
if given is not None:
    _run(given)
else:
    with discreet_engine(os.environ["LANES_DATABASE_URL"]).begin() as opened:
        _run(opened)
