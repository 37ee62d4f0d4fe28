"""The real-time lane: whose session holds a claim, what failed lately, and incidents counted in calls."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

UNIT = "minutes, percent, seconds, items{} or fields"


def upgrade() -> None:
    op.add_column(
        "work",
        sa.Column(
            "session", sa.Integer(), nullable=True,
            comment="Database session of its claimer: once gone, the claim is lost",
        ),
        schema="lanes",
    )
    op.create_index("ix_work_claimed", "work", ["id"], schema="lanes", postgresql_where=sa.text("state = 'claimed'"))
    op.create_index(
        "ix_item_failed", "item", ["workload", "failed_at"], schema="lanes",
        postgresql_where=sa.text("failed_at is not null"),
    )
    op.alter_column(
        "incident", "unit", comment=UNIT.format(", calls"), existing_comment=UNIT.format(""), schema="lanes",
        existing_type=sa.Text(), existing_nullable=False,
    )


def downgrade() -> None:
    raise RuntimeError("restore a backup: older code does not know what this database holds")
