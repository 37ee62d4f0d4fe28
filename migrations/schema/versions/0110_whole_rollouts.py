"""Let a rollout be judged by the items of all of its steps."""

import sqlalchemy as sa
from alembic import op

revision = "0110"
down_revision = "0109"
sql_in_force = "79222d7c73a5"  # migrations/schema/current/ after this revision


def upgrade() -> None:
    added = sa.Column("routes_at_start", sa.BigInteger, nullable=False, server_default="0")
    op.add_column("rollout", added, schema="lanes")
    # what was routed under the earlier steps of an open rollout is not known
    op.execute("update lanes.rollout set routes_at_start = routes_before")


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
