"""A batch keeps by when it was stated to be back as it left: what is stated next is corrected by what became of it."""

import sqlalchemy as sa
from alembic import op

revision = "0065"
down_revision = "0064"


def upgrade() -> None:
    op.add_column(
        "batch",
        sa.Column(
            "stated_back_at",
            sa.DateTime(timezone=True),
            comment="By when it was stated to be back with 95 in 100 as it left; null: older than this column",
        ),
        schema="lanes",
    )


def downgrade() -> None:
    op.drop_column("batch", "stated_back_at", schema="lanes")
