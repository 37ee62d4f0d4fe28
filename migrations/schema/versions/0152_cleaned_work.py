"""Clean the indexes of work after a fiftieth of its rows is dead, however long the history."""

from alembic import op

revision = "0152"
down_revision = "0151"
sql_in_force = "b074440abf0e"  # migrations/schema/current/ after this revision


def upgrade() -> None:
    op.execute(
        "alter table lanes.work set (autovacuum_vacuum_scale_factor = 0.02, vacuum_index_cleanup = on)"
    )


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
