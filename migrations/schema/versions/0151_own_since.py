"""Let a tenant ask for what is new without reading all that it ever had."""

revision = "0151"
down_revision = "0150"
sql_in_force = "b074440abf0e"  # migrations/schema/current/ after this revision


def upgrade() -> None:
    """Only functions change."""


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
