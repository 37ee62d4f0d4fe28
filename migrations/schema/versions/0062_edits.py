"""A message in Slack is edited whenever its incident changed since, at most every five minutes: no figure of it is kept."""

from alembic import op

revision = "0062"
down_revision = "0061"

puts_in_force = {}


def upgrade() -> None:
    op.drop_column("slack_post", "posted_value", schema="lanes")
    op.drop_column("slack_post", "posted_samples", schema="lanes")


def downgrade() -> None:
    raise RuntimeError("restore a backup, or go on: older code reads the columns")
