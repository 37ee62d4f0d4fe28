"""A workload says which answers it announces, and an item whose sender asked for an acknowledgement is known by it.

The versions that exist announce each answer, as they did.
"""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0018"

# Files of migrations/schema/current/ that change with this migration, as they are then.
puts_in_force = {"doors/admit": "7ab3d03fe400"}

ANNOUNCES = "Which answers are told one by one: each, realtime (of that lane) or summary (none)"
ACK = "Its sender asked to be told of it: accepted, and answered"


def upgrade() -> None:
    op.add_column(
        "version", sa.Column("announces", sa.Text(), server_default="each", nullable=False, comment=ANNOUNCES), schema="lanes"
    )
    op.alter_column("version", "announces", server_default=None, schema="lanes")
    op.create_check_constraint(
        op.f("ck_version_announces_known"), "version", "announces in ('each', 'realtime', 'summary')", schema="lanes"
    )
    op.add_column(
        "item", sa.Column("ack", sa.Boolean(), server_default=sa.text("false"), nullable=False, comment=ACK), schema="lanes"
    )


def downgrade() -> None:
    raise RuntimeError("restore a backup: older code publishes versions without this column")
