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

from lanes.store.current.files import Piece, pieces
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


def unannounced(script: ScriptDirectory, said: Sequence[Piece]) -> dict[str, str | None]:
    """Files that no migration names as they are now, with their fingerprints; None: it is gone, and no migration says so."""
    named: dict[str, str | None] = {}
    for revision in reversed(list(script.walk_revisions())):
        named |= getattr(revision.module, "puts_in_force", {})
    now = {piece.file: piece.fingerprint for piece in said}
    return {
        file: now.get(file)
        for file in sorted(named.keys() | now.keys())
        if named.get(file) != now.get(file)
    }


def _compare(
    found: AutogenContext, upgrade: UpgradeOps, _schemas: Set[str | None]
) -> PriorityDispatchResult:
    environment = found.migration_context.environment_context
    assert found.connection is not None
    assert environment is not None
    said = differences(found.connection, pieces())
    if lacking := unannounced(environment.script, pieces()):
        said.append(f"the newest migration must say: puts_in_force = {lacking}")
    upgrade.ops.extend(map(Sentence, said))
    return PriorityDispatchResult.CONTINUE


@renderers.dispatch_for(Sentence)
def _render(_found: AutogenContext, sentence: Sentence) -> str:
    return f"pass  # {sentence.said}"


Plugin(NAME).add_autogenerate_comparator(_compare, "schema")
