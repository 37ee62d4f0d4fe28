"""How Alembic reaches the database: a connection handed in by the caller, else LANES_DATABASE_URL."""

import os
from typing import Any

from alembic import context
from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations.ops import MigrateOperation, UpgradeOps
from alembic.runtime.plugins import Plugin
from alembic.util import PriorityDispatchResult
from sqlalchemy import Connection, text

from lanes.store.current import grants, putting
from lanes.store.current.announced import unannounced
from lanes.store.discreet import discreet_engine
from lanes.store.tables import SCHEMA, metadata

PLUGIN = "lanes.current"


class Sentence(MigrateOperation):
    """What differs between migrations/schema/current/ and the database, or its migrations."""

    def __init__(self, said: str) -> None:
        self.said = said

    def to_diff_tuple(self) -> tuple[str, str]:
        return ("sql in force", self.said)


@renderers.dispatch_for(Sentence, replace=True)
def _render(_: AutogenContext, sentence: Sentence) -> str:
    return f"pass  # {sentence.said}"


def _compare(found: AutogenContext, upgrade: UpgradeOps, _: Any) -> PriorityDispatchResult:
    """`alembic check` covers the functions and views: what the database has, and what the migrations say of it."""
    assert found.connection
    for said in putting.differences(found.connection):
        upgrade.ops.append(Sentence(said))
    for file, fingerprint in unannounced(context.script).items():
        upgrade.ops.append(Sentence(f"the newest migration must say puts_in_force = {{{file!r}: {fingerprint!r}}}"))
    return PriorityDispatchResult.CONTINUE


def _run(connection: Connection) -> None:
    connection.execute(text(f"create schema if not exists {SCHEMA}"))
    steps: list[Any] = []
    plugin = Plugin(PLUGIN)
    plugin.add_autogenerate_comparator(_compare, "schema")
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table_schema=SCHEMA,
        include_schemas=True,
        include_name=lambda name, kind, _: kind != "schema" or name == SCHEMA,
        compare_type=True,
        compare_server_default=True,
        transaction_per_migration=False,
        autogenerate_plugins=["alembic.autogenerate.*", PLUGIN],
        on_version_apply=lambda step, **_: steps.append(step),
    )
    try:
        with context.begin_transaction():
            before = grants.granted(connection)
            context.run_migrations()
            if steps and set(context.get_context().get_current_heads()) == set(context.script.get_heads()):
                putting.put_in_force(connection)
                grants.restore(connection, before)
    finally:
        plugin.remove()


given = context.config.attributes.get("connection")
if given is not None:
    _run(given)
else:
    with discreet_engine(os.environ["LANES_DATABASE_URL"]).begin() as opened:
        _run(opened)
