"""What keeping each lane takes a month beside the provider's bill, by date: set by people, where advice was told it each time."""

import sqlalchemy as sa
from alembic import op

revision = "0050"
down_revision = "0049"

# Files of migrations/schema/current/ that change with this migration, as they are then.
puts_in_force: dict[str, str] = {}


def upgrade() -> None:
    op.create_table(
        "overhead",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column(
            "workload", sa.Text(), nullable=True, comment="Whose; null = of every workload without an amount of its own"
        ),
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False, comment="infrastructure or engineering"),
        sa.Column("monthly_usd", sa.Numeric(20, 10), nullable=False, comment="US dollars a month"),
        sa.Column(
            "from_date", sa.Date(), nullable=False, comment="From when on, UTC; the newest that has begun is in force"
        ),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("set_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("lane in ('realtime', 'batch')", name=op.f("ck_overhead_lane_known")),
        sa.CheckConstraint("kind in ('infrastructure', 'engineering')", name=op.f("ck_overhead_kind_known")),
        sa.CheckConstraint("monthly_usd >= 0", name=op.f("ck_overhead_not_negative")),
        sa.ForeignKeyConstraint(["workload"], ["lanes.workload.name"], name=op.f("fk_overhead_workload")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_overhead")),
        schema="lanes",
        comment="What keeping a lane takes a month beside the provider's bill, by date; rows are only added",
    )
    op.create_index(op.f("ix_overhead_workload_from_date"), "overhead", ["workload", "from_date"], schema="lanes")


def downgrade() -> None:
    op.drop_table("overhead", schema="lanes")
