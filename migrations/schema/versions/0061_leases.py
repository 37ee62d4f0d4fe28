"""The lease alone tells that a claim is held, and what is urgent has an index of its own."""

import sqlalchemy as sa
from alembic import op

revision = "0061"
down_revision = "0060"

# Files of migrations/schema/current/ that change with this migration, as they are then.
puts_in_force: dict[str, str] = {}


def upgrade() -> None:
    op.execute("alter table lanes.work drop column session")
    op.add_column(
        "work",
        sa.Column(
            "urgent", sa.Boolean, nullable=False, server_default=sa.text("false"),
            comment="Its item was urgent when it was routed",
        ),
        schema="lanes",
    )
    op.execute(
        "update lanes.work w set urgent = true from lanes.item i"
        " where i.id = w.item_id and i.urgent and w.state in ('ready', 'claimed')"
    )
    op.create_index(
        "ix_work_urgent", "work", ["lane", "workload", "rank_at", "id"], schema="lanes",
        postgresql_where=sa.text("state = 'ready' and urgent"),
    )


def downgrade() -> None:
    raise RuntimeError("restore a backup, or go on with the columns as they are: older code claims with a session")
