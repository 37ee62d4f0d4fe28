"""A workload says which of its versions the provider refuses, on which lane and since when."""

import sqlalchemy as sa
from alembic import op

revision = "0066"
down_revision = "0065"


def upgrade() -> None:
    op.add_column(
        "workload",
        sa.Column(
            "refused_version_id", sa.BigInteger(), nullable=True,
            comment="The provider refuses this version as such: its work waits for another version",
        ),
        schema="lanes",
    )
    op.add_column(
        "workload",
        sa.Column("refused_lane", sa.Text(), nullable=True, comment="The lane on which it was refused"),
        schema="lanes",
    )
    op.add_column(
        "workload",
        sa.Column(
            "refused_at", sa.DateTime(timezone=True), nullable=True,
            comment="Since when; as long as paused_at is the same, it pauses",
        ),
        schema="lanes",
    )
    op.create_check_constraint(
        op.f("ck_workload_refused_lane_known"), "workload", "refused_lane in ('realtime', 'batch')", schema="lanes"
    )


def downgrade() -> None:
    raise RuntimeError("restore a backup, or go on with the three columns: older code reads the others")
