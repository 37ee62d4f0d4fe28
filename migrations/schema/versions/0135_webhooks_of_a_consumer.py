"""Let a webhook get events about items of one consumer only."""

from alembic import op

revision = "0135"
down_revision = "0134"
sql_in_force = "e370197069d6"  # migrations/schema/current/ after this revision


def upgrade() -> None:
    op.execute("alter table lanes.webhook add consumer text")
    op.execute("alter table lanes.webhook_event add consumer text")


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
