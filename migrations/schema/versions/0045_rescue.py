"""The second look takes late items to real time, each once: its work says so, and is not looked at again."""

import sqlalchemy as sa
from alembic import op

revision = "0045"
down_revision = "0043"

# Files of migrations/schema/current/ that change with this migration, as they are then.
puts_in_force = {"doors/apply_amendment": "4b0a93ac6847", "settling/item_status": "894c6943ae36"}

DUE = "due_at is not null and lane = 'batch' and purpose = 'answer' and state in ('ready', 'submitted') and not rescued"


def upgrade() -> None:
    op.add_column(
        "work",
        sa.Column(
            "rescued", sa.Boolean(), server_default=sa.text("false"), nullable=False,
            comment="The second look took its item to real time: instead of this, or beside it",
        ),
        schema="lanes",
    )
    op.drop_index("ix_work_due", "work", schema="lanes")
    op.create_index("ix_work_due", "work", ["due_at", "id"], schema="lanes", postgresql_where=sa.text(DUE))
    op.create_index(
        "ix_work_unrescued", "work", ["due_at", "id"], schema="lanes",
        postgresql_where=sa.text("rescued and lane = 'realtime' and state = 'failed'"),
    )
    op.create_index(
        "ix_work_due_of_workload", "work", ["workload", "binds", "due_at", "id"], schema="lanes",
        postgresql_where=sa.text(DUE),
    )
    op.create_index(
        "ix_route_rescue", "route", ["decided_at"], schema="lanes", postgresql_where=sa.text("reason = 'rescue'")
    )


def downgrade() -> None:
    raise RuntimeError("restore a backup: older code would rescue items again")
