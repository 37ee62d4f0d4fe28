"""Packed items are also answered alone, in a sample; how many share a call is decided by that. Tries say how items gathered."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0049"
down_revision = "0048"

# Files of migrations/schema/current/ that change with this migration, as they are then.
puts_in_force = {
    "doors/apply_amendment": "22ebced68207",
    "figures/count_attempts": "045687c2e8f9",
    "figures/lane_latency": "e8b669b569f1",
}

KINDS = (
    "route", "attempt", "call", "result", "agreement", "correction", "buffer", "gathered", "batch", "request", "carried",
    "item", "asked", "due", "urgent", "first", "read", "answer", "try", "compared", "label",
)
LANES = "lane in ('realtime', 'batch')"
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    known = ", ".join(map(repr, KINDS))
    for table in ("figure", "figure_spread", "figure_delta"):
        name = op.f(f"ck_{table}_kind_known")
        op.drop_constraint(name, table, schema="lanes")
        op.create_check_constraint(name, table, f"kind in ({known})", schema="lanes")
    op.add_column(
        "attempt",
        sa.Column("gathered_ms", sa.Integer(), comment="How long it was in a window before it was asked; null: in none"),
        schema="lanes",
    )
    why = "Why it left the window: full, pressed, over or hopeless (nobody else was expected)"
    op.add_column("attempt", sa.Column("left_because", sa.Text(), comment=why), schema="lanes")
    # No row from before has anything to check.
    left = "left_because in ('full', 'pressed', 'over', 'hopeless')"
    op.create_check_constraint(
        op.f("ck_attempt_left_because_known"), "attempt", left, schema="lanes", postgresql_not_valid=True
    )
    op.execute("alter table lanes.attempt validate constraint ck_attempt_left_because_known")
    _create_checks()
    _create_sizes()


def _create_checks() -> None:
    op.create_table(
        "pack_check",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("item_id", sa.BigInteger(), nullable=False),
        sa.Column("work_id", sa.BigInteger(), nullable=False, comment="The work that a packed call answered"),
        sa.Column("version_id", sa.BigInteger(), nullable=False),
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("pack", sa.Integer(), nullable=False, comment="How many items shared that call"),
        sa.Column("twice", sa.Boolean(), nullable=False, comment="Whether it is answered alone a second time"),
        sa.Column("asked_at", MOMENT, nullable=False),
        sa.Column(
            "alone", postgresql.JSONB(), nullable=True,
            comment="What it said alone, kept until it has said so a second time",
        ),
        sa.Column("agrees", sa.Boolean(), nullable=True, comment="Whether it said the same alone; null: not yet"),
        sa.Column("compared_at", MOMENT, nullable=True),
        sa.Column(
            "repeats", sa.Boolean(), nullable=True,
            comment="Whether it said the same alone again; null: not asked, or not yet",
        ),
        sa.Column("repeated_at", MOMENT, nullable=True),
        sa.CheckConstraint(LANES, name=op.f("ck_pack_check_lane_known")),
        sa.ForeignKeyConstraint(["item_id"], ["lanes.item.id"], name=op.f("fk_pack_check_item_id")),
        sa.ForeignKeyConstraint(["version_id"], ["lanes.version.id"], name=op.f("fk_pack_check_version_id")),
        sa.ForeignKeyConstraint(["work_id"], ["lanes.work.id"], name=op.f("fk_pack_check_work_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pack_check")),
        schema="lanes",
        comment="Packed items that are also answered alone, by shadows that move nothing",
    )
    op.create_index("uq_pack_check_work", "pack_check", ["work_id"], unique=True, schema="lanes")
    op.create_index("ix_pack_check_item", "pack_check", ["item_id"], schema="lanes")
    for what in ("compared", "repeated"):
        op.create_index(
            f"ix_pack_check_{what}", "pack_check", ["version_id", "lane", f"{what}_at"], schema="lanes",
            postgresql_where=sa.text(f"{what}_at is not null"),
        )


def _create_sizes() -> None:
    op.create_table(
        "pack_size",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("workload", sa.Text(), nullable=False),
        sa.Column("version_id", sa.BigInteger(), nullable=False, comment="The one that was looked at"),
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False, comment="For as long as the lane asks it"),
        sa.Column("size", sa.Integer(), nullable=False, comment="How many items may share a call from then on"),
        sa.Column("allowed", sa.Integer(), nullable=False, comment="How many the workload allowed"),
        sa.Column("hurt", sa.Integer(), nullable=True, comment="The size that hurt; null: none did, it grew"),
        sa.Column(
            "packed_n", sa.Integer(), nullable=False, comment="Packed items that were compared with their answers alone"
        ),
        sa.Column("packed_agreed", sa.Integer(), nullable=False, comment="Of those, how many agreed"),
        sa.Column("alone_n", sa.Integer(), nullable=False, comment="Items that were answered alone twice"),
        sa.Column("alone_agreed", sa.Integer(), nullable=False, comment="Of those, how many agreed"),
        sa.Column("why", sa.Text(), nullable=False, comment="The decision as a sentence"),
        sa.Column("decided_at", MOMENT, nullable=False),
        sa.CheckConstraint(LANES, name=op.f("ck_pack_size_lane_known")),
        sa.ForeignKeyConstraint(["version_id"], ["lanes.version.id"], name=op.f("fk_pack_size_version_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pack_size")),
        schema="lanes",
        comment="Append-only decisions by evidence; the newest of a workload, lane and model is in force",
    )
    op.create_index(
        op.f("ix_pack_size_workload_lane_model_id"), "pack_size", ["workload", "lane", "model", "id"], schema="lanes"
    )


def downgrade() -> None:
    raise RuntimeError("restore a backup: older code knows no windows in its figures")
