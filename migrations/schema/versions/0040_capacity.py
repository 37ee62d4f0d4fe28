"""What the provider's limits leave is known to all drains."""

import sqlalchemy as sa
from alembic import op

revision = "0040"
down_revision = "0038"

Moment = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "capacity",
        sa.Column("account", sa.Text(), nullable=False, comment="The provider account whose limit it is"),
        sa.Column("model", sa.Text(), nullable=False, comment="As it was asked for"),
        sa.Column(
            "kind", sa.Text(), nullable=False,
            comment="requests, input_tokens (without cached ones), output_tokens, or tokens: both",
        ),
        sa.Column("limit_", sa.BigInteger(), nullable=False, comment="A minute"),
        sa.Column("remaining", sa.BigInteger(), nullable=False, comment="Of it, at seen_at"),
        sa.Column("reset_at", Moment, nullable=False, comment="When all of it is there again, if nobody takes any"),
        sa.Column("seen_at", Moment, nullable=False, comment="When an answer told so; the newest wins"),
        sa.CheckConstraint(
            "kind in ('requests', 'input_tokens', 'output_tokens', 'tokens')", name=op.f("ck_capacity_kind_known")
        ),
        sa.PrimaryKeyConstraint("account", "model", "kind", name=op.f("pk_capacity")),
        schema="lanes", prefixes=["UNLOGGED"], postgresql_with={"fillfactor": 50},
        comment="The provider's limits a minute and what they left, as one drain saw it last: all share it; lost in a crash",
    )


def downgrade() -> None:
    op.drop_table("capacity", schema="lanes")
