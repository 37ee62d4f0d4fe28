"""What a call may cost is reserved in the row of its work, with its claim; what is kept apart is that of batches alone."""

import sqlalchemy as sa
from alembic import op

revision = "0067"
down_revision = "0066"

# Files of migrations/schema/current/ that change with this migration, as they are then.
puts_in_force = {
    "money/budget_status": "31017e7eafd1",
    "money/budgets_at": "ebf2e1e289ba",
    "money/use_of_attempts": "67171e7b4ab4",
}

USD = sa.Numeric(20, 10)


def upgrade() -> None:
    op.execute("drop view if exists lanes.budget_status")
    op.execute("drop function if exists lanes.budgets_at(timestamptz)")
    op.add_column(
        "work",
        sa.Column(
            "bound_usd", USD, comment="US dollars reserved of hard budgets until its claim ends; while ready: its call may cost "
            "so much and less is left, so it rests; null: no hard budget",
        ),
        schema="lanes",
    )
    op.create_index(
        "ix_work_bound", "work", ["workload"], schema="lanes", postgresql_where=sa.text("bound_usd is not null")
    )
    op.add_column("budget", sa.Column("refused_usd", USD, comment="The least that such a call may cost"), schema="lanes")
    op.alter_column(
        "budget", "refused_at", schema="lanes",
        comment="Since when less is left than the next call may cost; null: the last one was paid for",
    )
    op.execute("update lanes.budget set refused_at = null")
    op.execute("delete from lanes.budget_hold where batch_id is null")
    op.execute("drop index lanes.uq_budget_hold_holder, lanes.uq_budget_hold_batch_id")
    for column in ("id", "holder", "session", "taken_at"):
        op.execute(f"alter table lanes.budget_hold drop column {column} cascade")
    op.create_primary_key(op.f("pk_budget_hold"), "budget_hold", ["budget_id", "batch_id"], schema="lanes")
    op.alter_column(
        "budget_hold", "batch_id", schema="lanes", comment="Reserved until this batch is collected or released"
    )
    op.alter_column("budget_hold", "usd", schema="lanes", comment="The most that the batch may cost")
    op.create_table_comment(
        "budget_hold", "What is reserved of a budget for batches; what is reserved for calls stands in work.bound_usd",
        schema="lanes",
    )
    op.create_table_comment(
        "budget_use", "What each transaction adds, written with the ledger's rows; the sweep moves it into budget_spent",
        schema="lanes",
    )


def downgrade() -> None:
    raise RuntimeError("restore a backup: what calls under way may cost is known to this version alone")
