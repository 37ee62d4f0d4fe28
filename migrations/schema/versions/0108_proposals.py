"""Keep the rollouts that the advice proposes, until a person decides them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0108"
down_revision = "0107"
sql_in_force = "abc83606d11d"  # migrations/schema/current/ after this revision


def upgrade() -> None:
    op.create_table(
        "proposal",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("workload", sa.Text(), nullable=False),
        sa.Column("consumer", sa.Text(), nullable=False),
        sa.Column("playbook", sa.Text(), nullable=False),
        sa.Column("content", JSONB(), nullable=False),
        sa.Column("figures", JSONB(), nullable=False),
        sa.Column("state", sa.Text(), server_default=sa.text("'open'"), nullable=False),
        sa.Column("who", sa.Text()),
        sa.Column("why", sa.Text()),
        sa.Column("proposed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("rollout_id", sa.BigInteger()),
        sa.CheckConstraint(
            "state in ('open', 'approved', 'declined', 'withdrawn')",
            name=op.f("ck_proposal_state_known"),
        ),
        sa.CheckConstraint(
            "isfinite(proposed_at) and isfinite(at)", name=op.f("ck_proposal_finite")
        ),
        sa.ForeignKeyConstraint(
            ["rollout_id"], ["lanes.rollout.id"], name=op.f("fk_proposal_rollout_id")
        ),
        sa.ForeignKeyConstraint(
            ["workload"], ["lanes.workload.name"], name=op.f("fk_proposal_workload")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_proposal")),
        schema="lanes",
    )
    op.create_index(
        "uq_proposal_open",
        "proposal",
        ["workload", "consumer"],
        unique=True,
        schema="lanes",
        postgresql_where=sa.text("state = 'open'"),
    )
    op.create_index(
        op.f("ix_proposal_workload_consumer_id"),
        "proposal",
        ["workload", "consumer", "id"],
        schema="lanes",
    )


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
