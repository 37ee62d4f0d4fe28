"""A workload says which answers it announces, an item whose sender asked to be told of it is known by it, and events go out
in an order of precedence, at a pace that everybody who publishes shares. A batch's size and hash are those of the body as it is
sent.

The versions that exist announce each answer, as they did.
"""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"

# Files of migrations/schema/current/ that change with this migration, as they are then.
puts_in_force = {"doors/admit": "aa3f17784472"}

ANNOUNCES = "Which answers are told one by one: each, realtime (of that lane) or summary (none)"
ACK = "Its sender asked to be told of it: accepted, and answered"

PRECEDENCE = """
case when not starts_with(event, 'lanes.item.') then 0
     when event = 'lanes.item.answered' and not payload ? 'ack' then 2
     else 1 end
"""
FIRST = "Who goes first: 0 what is told of a lane, 1 of an item, 2 answers that nobody asked to be told of"
PACED = "Those taken last fill the time until then; null: none were"

OF_BODY = (
    ("bytes", sa.BigInteger(), "Size of the body of its create", "Size of the request bodies, as JSON"),
    ("body_hash", sa.Text(), "SHA-256 of the body of its create", "SHA-256 of the request bodies"),
)


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
    op.add_column(
        "event_outbox",
        sa.Column("precedence", sa.SmallInteger(), sa.Computed(PRECEDENCE, persisted=True), nullable=False, comment=FIRST),
        schema="lanes",
    )
    op.create_index(
        "ix_event_outbox_first", "event_outbox", ["precedence", "id"], schema="lanes",
        postgresql_where=sa.text("precedence < 2"),
    )
    op.add_column(
        "publisher", sa.Column("paced_until", sa.DateTime(timezone=True), nullable=True, comment=PACED), schema="lanes"
    )
    for name, type_, comment, before in OF_BODY:
        op.alter_column("batch", name, existing_type=type_, comment=comment, existing_comment=before, schema="lanes")


def downgrade() -> None:
    raise RuntimeError("restore a backup: older code publishes versions without this column")
