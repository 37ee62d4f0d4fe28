"""What a workload, or a consumer of it, may cost in a day or a month, what counts against that, and what is kept of it."""

import sqlalchemy as sa
from alembic import op

revision = "0042"
down_revision = "0040"

# Files of migrations/schema/current/ that change with this migration, as they are then.
puts_in_force = {
    "money/attempt_budget_used": "10bbdc8961c3",
    "money/budget_status": "7f83a14dd773",
    "money/budgets_at": "2fa81b1da94d",
    "money/response_budget_used": "f6a4595ab73f",
    "money/use_of_attempts": "c64976b01235",
    "money/use_of_responses": "7b90dabd3b29",
}

ADDED = {
    "route": ("reason", ("pinned", "overdue", "urgent", "urgent_rule", "deadline", "batch_rule", "split", "budget", "fallback")),
    "incident": ("promise", (
        "batch_slow", "batch_failing", "batch_invalid", "batch_unclear", "batch_incomplete", "batch_never_started",
        "realtime_slow", "realtime_failing", "authoritative_failed", "workload_invalid", "items_failed", "provider_down",
        "approval_waits", "provider_frozen", "budget",
    )),
}
USD = sa.Numeric(20, 10)
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    for table, (column, words) in ADDED.items():
        name = op.f(f"ck_{table}_{column}_known")
        op.drop_constraint(name, table, schema="lanes")
        known = ", ".join(f"'{word}'" for word in words)
        op.create_check_constraint(name, table, f"{column} in ({known})", schema="lanes")
    _create_budget()
    op.create_table(
        "budget_spent",
        sa.Column("budget_id", sa.BigInteger(), nullable=False),
        sa.Column("began_at", MOMENT, nullable=False, comment="When the period begins"),
        sa.Column("usd", USD, nullable=False, comment="Billed"),
        sa.Column("bound_usd", USD, nullable=False, comment="The most that was billed and is not known"),
        sa.ForeignKeyConstraint(
            ["budget_id"], ["lanes.budget.id"], name=op.f("fk_budget_spent_budget_id"), ondelete="cascade"
        ),
        sa.PrimaryKeyConstraint("budget_id", "began_at", name=op.f("pk_budget_spent")),
        schema="lanes",
        comment="What counts against a budget in each period; what was added since stands in budget_use, and readers add both",
    )
    op.create_table(
        "budget_use",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("budget_id", sa.BigInteger(), nullable=False, comment="No key: a save locks no budget"),
        sa.Column("began_at", MOMENT, nullable=False, comment="When the period begins"),
        sa.Column("usd", USD, server_default=sa.text("0"), nullable=False),
        sa.Column("bound_usd", USD, server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_budget_use")),
        schema="lanes",
        comment="What each transaction adds, written with the ledger's rows; whoever takes a slice moves it into budget_spent",
    )
    op.create_index(op.f("ix_budget_use_budget_id"), "budget_use", ["budget_id"], schema="lanes")
    _create_holds()


def _create_budget() -> None:
    op.create_table(
        "budget",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("workload", sa.Text(), nullable=False),
        sa.Column("consumer", sa.Text(), nullable=True, comment="Whose items; null = all of the workload, whoever reads it"),
        sa.Column("period", sa.Text(), nullable=False, comment="day or month, from midnight in its zone on"),
        sa.Column("zone", sa.Text(), nullable=False, comment="IANA time zone"),
        sa.Column(
            "soft_usd", USD, nullable=True, comment="From here on what may wait goes to batch; null: no such limit"
        ),
        sa.Column(
            "hard_usd", USD, nullable=True, comment="Never exceeded; null: no such limit; 0: nothing is paid"
        ),
        sa.Column(
            "refused_at", MOMENT, nullable=True,
            comment="Since when less is left than was asked for; null: what was asked last was given",
        ),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("set_at", MOMENT, nullable=False),
        sa.CheckConstraint("period in ('day', 'month')", name=op.f("ck_budget_period_known")),
        sa.CheckConstraint(
            "soft_usd >= 0 and hard_usd >= 0 and soft_usd <= hard_usd", name=op.f("ck_budget_limits_in_order")
        ),
        sa.CheckConstraint("num_nonnulls(soft_usd, hard_usd) > 0", name=op.f("ck_budget_limits_given")),
        sa.ForeignKeyConstraint(["workload"], ["lanes.workload.name"], name=op.f("fk_budget_workload")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_budget")),
        schema="lanes",
        comment="What a workload, or a consumer of it, may cost in a period",
    )
    op.create_index(
        "uq_budget", "budget", ["workload", "consumer", "period"], unique=True, schema="lanes",
        postgresql_nulls_not_distinct=True,
    )


def _create_holds() -> None:
    op.create_table(
        "budget_hold",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("budget_id", sa.BigInteger(), nullable=False),
        sa.Column("holder", sa.Uuid(), nullable=True, comment="The drain whose slice it is; null: a batch's"),
        sa.Column(
            "session", sa.Integer(), nullable=True,
            comment="The drain's database session: once gone, and its claims with it, the slice is free",
        ),
        sa.Column(
            "batch_id", sa.BigInteger(), nullable=True,
            comment="The batch it is kept for, until that is collected or released",
        ),
        sa.Column(
            "usd", USD, nullable=False, comment="The most that its holder can still spend or has spent and not saved"
        ),
        sa.Column("taken_at", MOMENT, nullable=False),
        sa.CheckConstraint("num_nonnulls(holder, batch_id) = 1", name=op.f("ck_budget_hold_one_holder")),
        sa.ForeignKeyConstraint(["batch_id"], ["lanes.batch.id"], name=op.f("fk_budget_hold_batch_id")),
        sa.ForeignKeyConstraint(
            ["budget_id"], ["lanes.budget.id"], name=op.f("fk_budget_hold_budget_id"), ondelete="cascade"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_budget_hold")),
        schema="lanes",
        comment="What is kept of a budget for calls and batches under way",
    )
    for of in ("holder", "batch_id"):
        op.create_index(
            f"uq_budget_hold_{of}", "budget_hold", ["budget_id", of], unique=True, schema="lanes",
            postgresql_where=sa.text(f"{of} is not null"),
        )


def downgrade() -> None:
    raise RuntimeError("restore a backup: older code knows no budgets and would spend beyond them")
