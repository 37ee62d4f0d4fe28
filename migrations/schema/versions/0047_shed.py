"""What was shed is found by when it was: a gate counts it, and the report says what came of it."""

import sqlalchemy as sa
from alembic import op

revision = "0047"
down_revision = "0046"


def upgrade() -> None:
    op.create_index("ix_route_shed", "route", ["decided_at"], schema="lanes", postgresql_where=sa.text("reason = 'shed'"))


def downgrade() -> None:
    op.drop_index("ix_route_shed", "route", schema="lanes")
