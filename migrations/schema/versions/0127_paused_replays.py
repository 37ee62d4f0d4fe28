"""Pause replays, and promote one within a second: what a promotion writes of items and results needs no check."""

import sqlalchemy as sa
from alembic import op

revision = "0127"
down_revision = "0126"
sql_in_force = "cab13218915e"  # migrations/schema/current/ after this revision


def upgrade() -> None:
    paused_at = sa.Column("paused_at", sa.DateTime(timezone=True), nullable=True)
    op.add_column("generation", paused_at, schema="lanes")
    op.drop_constraint("ck_generation_finite", "generation", schema="lanes")
    moments = ("created_at", "completed_at", "promoted_at", "demoted_at", "dropped_at", "paused_at")
    finite = " and ".join(f"isfinite({each})" for each in moments)
    op.create_check_constraint(op.f("ck_generation_finite"), "generation", finite, schema="lanes")
    op.drop_index("ix_promoted_item_id", "promoted", schema="lanes")
    for column in ("generation_id", "item_id", "before_id", "after_id"):
        op.execute(
            f"alter table lanes.promoted alter constraint fk_promoted_{column} not enforced"
        )


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
