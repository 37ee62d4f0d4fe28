"""A route says with which probability a batch is back by the due time, and how long batches took is found by when they left."""

import sqlalchemy as sa
from alembic import op

revision = "0038"
down_revision = "0036"

# Files of migrations/schema/current/ that change with this migration, as they are then.
puts_in_force = {"routing/route_log": "369b18e1cb51"}

ASKED = "How surely a batch must be back for an item that is due, 0.5 to 0.999"
STATED = "That a batch is back by the due time, as it was stated; null: none was weighed"


def upgrade() -> None:
    op.add_column("route", sa.Column("probability", sa.Double(), nullable=True, comment=STATED), schema="lanes")
    op.create_index(
        "ix_route_stated", "route", ["decided_at"], schema="lanes",
        postgresql_where=sa.text("probability is not null and lane = 'batch'"),
    )
    # No version from before says otherwise.
    op.add_column(
        "version", sa.Column("confidence", sa.Double(), nullable=False, server_default="0.95", comment=ASKED), schema="lanes"
    )
    op.alter_column("version", "confidence", server_default=None, schema="lanes")
    op.create_index("ix_batch_submitted_at", "batch", ["submitted_at"], schema="lanes")


def downgrade() -> None:
    raise RuntimeError("restore a backup: what routes stated would be lost")
