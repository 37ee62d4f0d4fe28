"""A page of items has room for what becomes of them, so that an answer changes no index."""

from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    op.execute("alter table lanes.item set (fillfactor = 50)")


def downgrade() -> None:
    op.execute("alter table lanes.item reset (fillfactor)")
