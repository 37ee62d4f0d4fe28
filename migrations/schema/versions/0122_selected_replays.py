"""Keep with a replay which items it selects, and how many it leaves out."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0122"
down_revision = "0121"
sql_in_force = "6f4e19d9e179"  # migrations/schema/current/ after this revision


def upgrade() -> None:
    for name, kind, default in (
        ("selection", JSONB(), "{}"),
        ("skipped", sa.Integer(), "0"),
        ("erased", sa.Integer(), "0"),
    ):
        added = sa.Column(name, kind, nullable=False, server_default=default)
        op.add_column("generation", added, schema="lanes")
    op.create_index(
        "ix_item_forgotten",
        "item",
        ["workload", "forgotten_at"],
        schema="lanes",
        postgresql_where=sa.text("forgotten_at is not null"),
    )


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
