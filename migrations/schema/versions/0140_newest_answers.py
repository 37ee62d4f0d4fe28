"""Show readers the newest answer of each workload and lane, and its trace."""

revision = "0140"
down_revision = "0139"
sql_in_force = "cfc8e46d9693"  # migrations/schema/current/ after this revision


def upgrade() -> None:
    pass


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
