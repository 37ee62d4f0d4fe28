"""Claimed work leaves the index of what can be claimed: a claim writes one tree less, and what is over leaves one place there."""

import sqlalchemy as sa
from alembic import op

revision = "0036"
down_revision = "0035"

COLUMNS = ["lane", "workload", "rank_at", "id"]


def upgrade() -> None:
    _where("state = 'ready'")


def downgrade() -> None:
    _where("state in ('ready', 'claimed')")


def _where(condition: str) -> None:
    op.drop_index("ix_work_claimable", "work", schema="lanes")
    op.create_index("ix_work_claimable", "work", COLUMNS, schema="lanes", postgresql_where=sa.text(condition))
