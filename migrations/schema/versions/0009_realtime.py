"""The real-time lane: whose session holds a claim, what failed lately, and incidents counted in calls."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

UNIT = "minutes, percent, seconds, items{} or fields"


def upgrade() -> None:
    op.add_column(
        "work",
        sa.Column(
            "session", sa.Integer(), nullable=True,
            comment="Database session of its claimer: once gone, the claim is lost",
        ),
        schema="lanes",
    )
    op.create_index("ix_work_claimed", "work", ["id"], schema="lanes", postgresql_where=sa.text("state = 'claimed'"))
    op.create_index(
        "ix_item_failed", "item", ["workload", "failed_at"], schema="lanes",
        postgresql_where=sa.text("failed_at is not null"),
    )
    op.create_table(
        "outage",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("account", sa.Text(), nullable=False, comment="The provider account that is not answered"),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("faulted_at", sa.DateTime(timezone=True), nullable=False, comment="When the last call faulted"),
        sa.Column(
            "faults", sa.Integer(), nullable=False, comment="Calls in a row without an answer, as one drain saw it last"
        ),
        sa.Column("why", sa.Text(), nullable=False, comment="What the last of them met"),
        sa.Column(
            "over_at", sa.DateTime(timezone=True), nullable=True,
            comment="When it was answered again and all that waited was asked; null: watch ends it",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_outage"),
        schema="lanes",
        comment="A model of an account that answered nobody for a while",
    )
    op.create_index(
        "uq_outage_open", "outage", ["account", "model"], unique=True, schema="lanes",
        postgresql_where=sa.text("over_at is null"),
    )
    op.create_index("ix_outage_over", "outage", ["model", "over_at"], schema="lanes")
    op.alter_column(
        "incident", "unit", comment=UNIT.format(", calls"), existing_comment=UNIT.format(""), schema="lanes",
        existing_type=sa.Text(), existing_nullable=False,
    )


def downgrade() -> None:
    raise RuntimeError("restore a backup: older code does not know what this database holds")
