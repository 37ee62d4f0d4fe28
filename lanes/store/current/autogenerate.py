"""`alembic check` covers the functions and views: what the database has, and what its migrations say of the files.

A change of migrations/schema/current/ needs a migration that names it: a checkout from before it would otherwise take the
database for its own, and put back what it knows.
"""

from collections.abc import Sequence, Set

from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations.ops import MigrateOperation, UpgradeOps
from alembic.runtime.plugins import Plugin
from alembic.script import ScriptDirectory
from alembic.util import PriorityDispatchResult

from lanes.store.current.files import Piece, fingerprint, pieces
from lanes.store.current.putting import differences

NAME = "lanes.current"


class Sentence(MigrateOperation):
    """Something that differs, in words: no operation of a migration mends it."""

    def __init__(self, said: str) -> None:
        self.said = said

    def to_diff_tuple(self) -> tuple[str, str]:
        """How `alembic check` tells it."""
        return "current", self.said

    def reverse(self) -> MigrateOperation:
        """The same sentence, in a downgrade."""
        return self


def unannounced(script: ScriptDirectory, said: Sequence[Piece]) -> list[str]:
    """Return what the newest migration must say, if the files are not as it names them."""
    newest = script.get_revision("head")
    now = fingerprint(said)
    named = newest and getattr(newest.module, "sql_in_force", None)
    return [] if named == now else [f'the newest migration must say: sql_in_force = "{now}"']


def _compare(
    found: AutogenContext, upgrade: UpgradeOps, _schemas: Set[str | None]
) -> PriorityDispatchResult:
    environment = found.migration_context.environment_context
    assert found.connection is not None
    assert environment is not None
    said = pieces()
    differing = differences(found.connection, said) + unannounced(environment.script, said)
    upgrade.ops.extend(map(Sentence, differing))
    return PriorityDispatchResult.CONTINUE


@renderers.dispatch_for(Sentence)
def _render(_found: AutogenContext, sentence: Sentence) -> str:
    return f"pass  # {sentence.said}"


Plugin(NAME).add_autogenerate_comparator(_compare, "schema")
