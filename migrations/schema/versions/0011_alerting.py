"""What an incident was measured over, and what of it Slack was told: a share that stands may be of many more."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.add_column(
        "incident",
        sa.Column(
            "samples", sa.BigInteger(), server_default=sa.text("0"), nullable=False,
            comment="What the value was measured over: items, attempts or calls",
        ),
        schema="lanes",
    )
    op.add_column("slack_post", sa.Column("posted_samples", sa.BigInteger(), nullable=True), schema="lanes")


def downgrade() -> None:
    raise RuntimeError("restore a backup: older code does not know what this database holds")
