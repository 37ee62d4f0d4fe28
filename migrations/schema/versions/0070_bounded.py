"""What senders can have kept is bounded: refusals, labels, amendments and reads."""

import sqlalchemy as sa
from alembic import op

revision = "0070"
down_revision = "0069"

# Files of migrations/schema/current/ that change with this migration, as they are then.
puts_in_force = {
    "doors/label": "d82ae57c015b",
    "doors/refuse": "14fde53d1ab4",
    "doors/rejected_log": "95b4fcc40664",
    "doors/take_amendment": "568fb5a7d51b",
    "doors/too_many_amendments": "8f59d3eef046",
    "settling/read_result": "939e3f887bf2",
}


def upgrade() -> None:
    op.add_column(
        "rejected",
        sa.Column(
            "times", sa.Integer(), server_default=sa.text("1"), nullable=False,
            comment="How many refusals it stands for: 1, or those of its source and day that were only counted",
        ),
        schema="lanes",
    )
    op.create_index("ix_rejected_source_rejected_at", "rejected", ["source", "rejected_at"], schema="lanes")


def downgrade() -> None:
    raise RuntimeError("restore a backup, or go on with the column and the index: older code reads the others")
