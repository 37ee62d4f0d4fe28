"""Let a rollout send a share of items down the other lane too, to compare both answers."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0107"
down_revision = "0106"
sql_in_force = "abc83606d11d"  # migrations/schema/current/ after this revision


def upgrade() -> None:
    op.create_table(
        "shadow_pair",
        sa.Column("rollout_id", sa.BigInteger(), nullable=False),
        sa.Column("item_id", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("work_id", sa.BigInteger()),
        sa.Column("estimated_usd", sa.Numeric(20, 10), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("output", JSONB()),
        sa.Column("answered_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint("lane in ('realtime', 'batch')", name=op.f("ck_shadow_pair_lane_known")),
        sa.CheckConstraint(
            "isfinite(asked_at) and isfinite(answered_at)", name=op.f("ck_shadow_pair_finite")
        ),
        sa.ForeignKeyConstraint(
            ["rollout_id"], ["lanes.rollout.id"], name=op.f("fk_shadow_pair_rollout_id")
        ),
        sa.ForeignKeyConstraint(["item_id"], ["lanes.item.id"], name=op.f("fk_shadow_pair_item_id")),
        sa.ForeignKeyConstraint(["work_id"], ["lanes.work.id"], name=op.f("fk_shadow_pair_work_id")),
        sa.PrimaryKeyConstraint("rollout_id", "item_id", name=op.f("pk_shadow_pair")),
        schema="lanes",
    )
    op.create_index("ix_shadow_pair_item", "shadow_pair", ["item_id"], schema="lanes")
    op.create_index("uq_shadow_pair_work", "shadow_pair", ["work_id"], unique=True, schema="lanes")


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
