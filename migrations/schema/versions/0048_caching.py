"""Whether calls mark what they share for the provider's cache is decided by what was measured, and kept with it."""

import sqlalchemy as sa
from alembic import op

revision = "0048"
down_revision = "0047"

Moment = sa.DateTime(timezone=True)
ZERO = sa.text("0")


def upgrade() -> None:
    op.create_table(
        "caching",
        sa.Column("version_id", sa.BigInteger(), nullable=False),
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column(
            "marks", sa.Text(), nullable=False, comment="Which calls mark what they share: none, some (to find out) or all"
        ),
        sa.Column("why", sa.Text(), nullable=False, comment="By what it was measured or expected to pay, or not to"),
        sa.Column(
            "pays_from", sa.Double(), nullable=False,
            comment="The hit rate from which on it pays, by the prices; infinity: never",
        ),
        sa.Column("since", Moment, nullable=False, comment="Since when it marks so"),
        sa.Column("decided_at", Moment, nullable=False, comment="When that was looked at last"),
        sa.Column(
            "hit_rate", sa.Double(), nullable=True, comment="Measured last: the part of the cached tokens that was read"
        ),
        sa.Column("calls", sa.Integer(), nullable=False, server_default=ZERO, comment="In about so many calls"),
        sa.Column("losses", sa.Integer(), nullable=False, server_default=ZERO, comment="How often in a row it did not pay"),
        sa.Column(
            "again_at", Moment, nullable=True,
            comment="It is not tried again before; null: when it promises to pay",
        ),
        sa.CheckConstraint("lane in ('realtime', 'batch')", name=op.f("ck_caching_lane_known")),
        sa.CheckConstraint("marks in ('none', 'some', 'all')", name=op.f("ck_caching_marks_known")),
        sa.ForeignKeyConstraint(["version_id"], ["lanes.version.id"], name=op.f("fk_caching_version_id")),
        sa.PrimaryKeyConstraint("version_id", "lane", name=op.f("pk_caching")),
        schema="lanes",
        comment="Whether the calls of a version's lane mark what they share for the provider's cache; drains and submit decide",
    )
    op.add_column(
        "batch",
        sa.Column(
            "marked_requests", sa.Integer(), nullable=False, server_default=ZERO,
            comment="Of its requests: marked what they share for the provider's cache",
        ),
        schema="lanes",
    )


def downgrade() -> None:
    op.drop_column("batch", "marked_requests", schema="lanes")
    op.drop_table("caching", schema="lanes")
