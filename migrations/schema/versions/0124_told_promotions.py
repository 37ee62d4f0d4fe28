"""Tell readers which of their answers a promoted replay replaced."""

revision = "0124"
down_revision = "0123"
sql_in_force = "fc26fa40d133"  # migrations/schema/current/ after this revision


def upgrade() -> None:
    """Only functions change."""


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
