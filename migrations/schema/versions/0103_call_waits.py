"""Keep why claimed work is not asked yet, as drains report it."""

import sqlalchemy as sa
from alembic import op

revision = "0103"
down_revision = "0102"
sql_in_force = "40261a15eb79"  # migrations/schema/current/ after this revision

KNOWN = (
    "reason in ('frozen', 'slowed', 'circuit', 'recovering', 'budget', 'shadow', 'places', "
    "'share', 'rate_limit')"
)


def upgrade() -> None:
    op.create_table(
        "call_wait",
        sa.Column("workload", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("calls", sa.Integer(), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(KNOWN, name=op.f("ck_call_wait_reason_known")),
        sa.CheckConstraint("isfinite(seen_at)", name=op.f("ck_call_wait_finite")),
        sa.PrimaryKeyConstraint("workload", "reason", name=op.f("pk_call_wait")),
        schema="lanes",
        prefixes=["UNLOGGED"],
        postgresql_with={"fillfactor": 50},
    )


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
