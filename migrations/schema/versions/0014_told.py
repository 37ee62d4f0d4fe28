"""Where an item stands follows its work, and items that fell back to a batch are found."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.create_index(
        "ix_route_fallback", "route", ["decided_at"], schema="lanes", postgresql_where=sa.text("reason = 'fallback'")
    )


def downgrade() -> None:
    raise RuntimeError("restore a backup: older code does not know what this database holds")
