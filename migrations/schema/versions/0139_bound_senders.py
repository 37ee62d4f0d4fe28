"""Let logins that are bound to a consumer send for it alone."""

revision = "0139"
down_revision = "0138"
sql_in_force = "feb2021123c7"  # migrations/schema/current/ after this revision


def upgrade() -> None:
    """Only functions change."""


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
