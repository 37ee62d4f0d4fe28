"""Let a reader ask which of their answers were corrected."""

revision = "0121"
down_revision = "0120"
sql_in_force = "b175d9b32a45"  # migrations/schema/current/ after this revision


def upgrade() -> None:
    """Only functions change."""


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
