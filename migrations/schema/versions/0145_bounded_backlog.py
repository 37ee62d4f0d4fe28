"""Look for the first work of a queue among few of it."""

revision = "0145"
down_revision = "0144"
sql_in_force = "9eb681bd63b1"  # migrations/schema/current/ after this revision


def upgrade() -> None:
    pass


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
