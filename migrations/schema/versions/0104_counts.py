"""Count facts by statements that are made of one declaration, as a rebuild of the figures is."""

revision = "0104"
down_revision = "0103"
sql_in_force = "abc83606d11d"  # migrations/schema/current/ after this revision


def upgrade() -> None:
    pass


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
