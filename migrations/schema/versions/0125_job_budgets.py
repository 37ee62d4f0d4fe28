"""Give jobs a budget."""

from alembic import op

revision = "0125"
down_revision = "0124"
sql_in_force = "18919bed94af"  # migrations/schema/current/ after this revision


def upgrade() -> None:
    op.execute("alter table lanes.job add budget_usd numeric(20, 10)")


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
