"""Tell readers of a corrected answer that a promoted replay changed since what that changes, and when."""

revision = "0129"
down_revision = "0128"
sql_in_force = "6ab257a6f43b"  # migrations/schema/current/ after this revision


def upgrade() -> None:
    """Only functions change."""


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
