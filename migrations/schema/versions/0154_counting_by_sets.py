"""Look up what counting needs once for all rows of a statement."""

revision = "0154"
down_revision = "0153"
sql_in_force = "1290a8dc4b7e"  # migrations/schema/current/ after this revision


def upgrade() -> None:
    pass


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
