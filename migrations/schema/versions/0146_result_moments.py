"""Find results of old items by time without reading those of newer ones."""

from alembic import op

revision = "0146"
down_revision = "0145"
sql_in_force = "9eb681bd63b1"  # migrations/schema/current/ after this revision

indexes = {"ix_result_moments": "on lanes.result using brin (created_at, item_id)"}


def upgrade() -> None:
    for name, made in indexes.items():
        op.execute(f"create index if not exists {name} {made}")
    op.execute("drop index if exists lanes.ix_result_created_at")


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
