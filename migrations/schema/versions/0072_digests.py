"""A response is told from another one of the same name."""

import sqlalchemy as sa
from alembic import op

revision = "0072"
down_revision = "0071"

# Files of migrations/schema/current/ that change with this migration, as they are then.
puts_in_force: dict[str, str] = {}


def upgrade() -> None:
    op.add_column(
        "response",
        sa.Column(
            "digest", sa.Text(), nullable=True,
            comment="Tells it from another response of the same name, which is booked apart; null: from before it was kept",
        ),
        schema="lanes",
    )


def downgrade() -> None:
    op.drop_column("response", "digest", schema="lanes")
