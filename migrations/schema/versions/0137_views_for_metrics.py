"""Show readers what metrics count: figures by day, backlogs, circuits, limits and workloads."""

revision = "0137"
down_revision = "0136"
sql_in_force = "c29f475b6cd4"  # migrations/schema/current/ after this revision


def upgrade() -> None:
    pass


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
