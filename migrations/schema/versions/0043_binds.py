"""Routes say whether they bind, and work knows when its item is due: what a second look at it asks first."""

import sqlalchemy as sa
from alembic import op

revision = "0043"
down_revision = "0042"

# Files of migrations/schema/current/ that change with this migration, as they are then.
puts_in_force = {"doors/apply_amendment": "2683756590d3", "routing/route_log": "f8a2f0007f86"}

REASONS = (
    "pinned", "overdue", "urgent", "urgent_rule", "deadline", "batch_rule", "value", "split", "budget", "capacity", "fallback",
    "rescue", "shed",
)
BINDS = "case when reason not in ('value', 'split', 'budget', 'capacity', 'fallback', 'shed') then lane end"
DUE = "due_at is not null and lane = 'batch' and purpose = 'answer' and state in ('ready', 'submitted')"

# Only what is open is looked at again.
KNOWN = """
update lanes.work w set due_at = i.due_at, binds = r.binds
  from lanes.item i
 cross join lateral (select binds from lanes.route where route.item_id = i.id order by id desc limit 1) r
 where i.id = w.item_id and w.state in ('ready', 'claimed', 'submitted') and w.generation = 0 and w.purpose = 'answer'
"""


def upgrade() -> None:
    op.drop_constraint(op.f("ck_route_reason_known"), "route", schema="lanes")
    known = ", ".join(f"'{word}'" for word in REASONS)
    op.create_check_constraint(op.f("ck_route_reason_known"), "route", f"reason in ({known})", schema="lanes")
    op.add_column(
        "route",
        sa.Column(
            "binds", sa.Text(), sa.Computed(BINDS, persisted=False), nullable=True,
            comment="The lane that nothing may take it from; null: it is free",
        ),
        schema="lanes",
    )
    due = sa.Column("due_at", sa.DateTime(timezone=True), nullable=True, comment="When its item is due")
    op.add_column("work", due, schema="lanes")
    op.add_column(
        "work", sa.Column("binds", sa.Text(), nullable=True, comment="The lane that its route binds it to; null: it is free"),
        schema="lanes",
    )
    op.create_check_constraint(op.f("ck_work_binds_known"), "work", "binds in ('realtime', 'batch')", schema="lanes")
    op.execute(KNOWN)
    op.create_index("ix_work_due", "work", ["due_at", "id"], schema="lanes", postgresql_where=sa.text(DUE))


def downgrade() -> None:
    raise RuntimeError("restore a backup: older code would take from its lane what is bound to it")
